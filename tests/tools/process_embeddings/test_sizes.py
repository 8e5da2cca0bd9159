"""process_embeddings on very small and very large values, and on few samples."""

import pickle
from unittest import mock

import numpy as np
import pytest

from tests.tools.commands import refusal_of, results_of
from tests.tools.process_embeddings.trees import clusters, write_tree
from tools.process_embeddings import embed
from tools.process_embeddings.reduce import common_scale, fit_scaler

NAMES = ["ant", "bee", "cat"]
NUMBERS = ("trustworthiness", "auc", "own_neighbours", "coverage_of_a_by_b", "coverage_of_b_by_a")


@pytest.fixture
def quick(monkeypatch):
    """Principal components in place of UMAP."""
    monkeypatch.setattr(embed, "fit_map", lambda features, *rest: (mock.sentinel.map, features[:, :2].copy()))
    monkeypatch.setattr(embed, "as_published", lambda reducer, seed: None)


def measured(folder, size, *words):
    """Return the results of a map of two sets whose values are of a size."""
    for number, model in enumerate(("imagenet_real", "imagenet")):
        layers, labels, images = clusters(40, 3, number, number * 1.0)
        layers = {name: rows.astype(np.float32) * np.float32(size) for name, rows in layers.items()}
        write_tree(folder / f"{size}", model, layers, labels, NAMES, images, input_mode="clean", label_mode="none")
    sets = [f"{folder / str(size)}:{model}" for model in ("imagenet_real", "imagenet")]
    return results_of("process_embeddings", "--models", *sets, "--no_normalize", "--no_explorer", "--output_dir",
                      folder / f"map{size}", *words)


@pytest.mark.parametrize("words", [(), ("--pca", "0")])
def test_A4_values_of_any_size_give_the_numbers_of_ordinary_ones(quick, tmp_path, words):
    ordinary = measured(tmp_path, 1, *words)
    for size in (1e-30, 3e37):
        results = measured(tmp_path, size, *words)
        assert [results[name] for name in NUMBERS] == pytest.approx([ordinary[name] for name in NUMBERS], abs=0.01)
        assert "as their squares are beyond single precision" in "".join(results["notes"])
    assert "single precision" not in "".join(ordinary["notes"])


def test_A4_the_scale_of_extreme_values_is_written_down(quick, tmp_path):
    measured(tmp_path, 1e-30, "--pickle")
    (path,) = (tmp_path / "map1e-30").glob("*.pkl")
    with np.load(path.with_suffix(".npz")) as model:
        features, scale = model["features"], model["scale"]
    assert len({*scale.tolist()}) == 1
    assert np.log2(scale[0]) == round(np.log2(scale[0]))
    held = pickle.loads(path.read_bytes())  # noqa: S301 (our own)
    layers, _, _ = clusters(40, 3, 0, 0.0)
    rows = np.concatenate([layers[name].reshape(40, -1) for name in sorted(layers)], axis=1).astype(np.float32) * 1e-30
    reduced = held["pca_reducer"].transform(held["scaler"].transform(rows.astype(np.float64)))
    np.testing.assert_allclose(features[:40], reduced, atol=1e-4)


def test_ordinary_values_are_left_as_they_are():
    rows = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32) * 1e6
    assert (fit_scaler(rows, normalize=False).scale == 1).all()
    assert [common_scale(size) for size in (0, 1, 3e-11, 2.0**-60, 1.5 * 2.0**80)] == [1, 1, 1, 2.0**-60, 2.0**80]


def test_few_samples_are_counted_in_words(quick, tmp_path):
    layers, labels, images = clusters(6, 3, 0)
    write_tree(tmp_path, "imagenet_real", layers, labels, NAMES, images)
    words = ("--model", "imagenet_real", "--data_dir", tmp_path, "--output_dir", tmp_path / "map")
    assert "error: --max_samples 1: 1 sample is too few for a map of 2 dimensions. Use at least 5." in \
        refusal_of("process_embeddings", *words, "--max_samples", 1)
    write_tree(tmp_path, "imagenet", {name: rows[:2] for name, rows in layers.items()}, labels[:2], NAMES, images[:2])
    assert "error: 2 samples are too few" in refusal_of("process_embeddings", "--model", "imagenet", *words[2:])
