"""Counterfactuals against stored statistics, and their likeness to a network of the user's."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from common.features.small_features import NAME, small_features
from common.features.statistics import Statistics, write_statistics
from common.images.pixels import rounded_bytes
from common.metrics.frechet import Gaussian, frechet_distance_between
from tests.tools.commands import refusal_of, results_of
from tests.tools.evaluate_cf.made import NAMES, make
from tests.tools.evaluate_cf.test_measures import pairs_of

MADE = {"extractor": NAME, "resolution": [16, 32], "resolution_fit": "squash", "resolution_filter": "lanczos"}


class Features(nn.Module):
    """Two outputs: a number, and four of the lower half of the picture."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return x.mean(dim=(1, 2, 3)), self.conv(x[:, :, 4:]).tanh().mean(dim=(2, 3))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of two batches, statistics "streets" of other pictures, and a program, features.pt."""
    made = make(tmp_path_factory.mktemp("references"))
    root, pixels = made.folder.parent, np.random.default_rng(0).integers(0, 256, (12, 16, 32, 3), np.uint8)
    for name, meta in (("streets", MADE), ("cropped", MADE | {"resolution": [16, 16]})):
        write_statistics(root / f"{name}_clean_{NAME}_custom_na.npz",
                         Statistics(features=small_features(pixels, "cpu"), meta=meta))
    np.savez(root / "ten.npz", mu=np.zeros(10), sigma=np.eye(10))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made.files["program"] = root / "features.pt"
        torch.jit.save(torch.jit.script(Features().eval()), made.files["program"])
    return made


@pytest.fixture(scope="module")
def evaluated(made):
    """The results of an evaluation with both."""
    return results_of("evaluate_cf", *made.words(
        "--extractor", "small", "--dataset_name", "Streets", "--stats_dir", made.folder.parent, "--similarity_model",
        made.files["program"], "--similarity_output", "1", "--similarity_range", "unit", "--similarity_size", "8", "8"))


def test_counterfactuals_are_compared_with_stored_statistics(made, evaluated):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 32, 3), np.uint8)
    stored = Gaussian.of_few(small_features(pixels, "cpu"))
    with torch.no_grad():
        own = small_features(rounded_bytes(made.gan.render(made.changed[1])), "cpu")
    entry = evaluated["attributes"][NAMES[1]]
    assert entry["frechet_reference"] == pytest.approx(frechet_distance_between(stored, Gaussian.of_few(own)), rel=1e-3)
    assert entry["reference_images"] == 12
    assert (made.folder / "metrics.txt").read_text().splitlines()[1].endswith(
        f"Frechet to the statistics {entry['frechet_reference']}")


def test_reconstructions_are_compared_with_a_file_of_statistics(made, tmp_path):
    place = made.folder.parent / f"streets_clean_{NAME}_custom_na.npz"
    results = results_of("evaluate_cf", "inversion", "--inv_path", made.folder / "all_inversions.pt",
                         "--blobgan_weights", made.files["gan"], "--dataset_path", made.files["images"], "--extractor",
                         "small", "--reference", place, "--output_dir", tmp_path / "out")
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 32, 3), np.uint8)
    own = small_features(rounded_bytes(made.pictures), "cpu")
    expected = frechet_distance_between(*(Gaussian.of_few(part) for part in (small_features(pixels, "cpu"), own)))
    assert results["frechet_reference"] == pytest.approx(expected, rel=1e-3)
    assert results["reference_images"] == 12


@pytest.mark.parametrize(("words", "what"), [
    (["--reference", "ten.npz"], "needs features to compare in"),
    (["--extractor", "small", "--reference", "ten.npz"], "128 features"),
    (["--extractor", "small", "--reference", "ten.npz", "--dataset_name", "streets"], "choose one"),
    (["--extractor", "small", "--dataset_name", "nowhere", "--stats_dir", "."], "no statistics 'nowhere'"),
    (["--extractor", "small", "--dataset_name", "cropped", "--stats_dir", "."], "not prepared alike")])
def test_statistics_that_do_not_fit_are_refused(made, monkeypatch, words, what):
    monkeypatch.chdir(made.folder.parent)
    assert what in refusal_of("evaluate_cf", *made.words(*words, "--output_dir", "other", "--dry_run"))


def test_likeness_is_the_cosine_of_a_programs_features(made, evaluated):
    program = torch.jit.load(made.files["program"])

    def features(pictures):
        return program((F.interpolate(pictures, (8, 8), mode="bilinear", antialias=True) + 1) / 2)[1]

    with torch.no_grad():
        before, real = features(made.pictures), features(made.targets)
        after = {attribute: features(made.gan.render(blobs)) for attribute, blobs in made.changed.items()}
    flips = []
    for (image, attribute, _), row in pairs_of(made.folder / "evaluation").items():
        place = made.names.index(image)
        for column, other in (("similarity", before), ("similarity_to_real", real)):
            expected = float(F.cosine_similarity(after[attribute][place], other[place], dim=0))
            assert float(row[column]) == pytest.approx(expected, abs=1e-5)
        flips += [float(row["similarity"])] if row["outcome"] == "flipped" else []
    assert evaluated["attributes"]["all"]["similarity"] == pytest.approx(np.mean(flips))
    assert min(flips) < 1 - 1e-6


@pytest.mark.parametrize(("words", "what"), [
    (["--similarity_model", "decision.tar"], "neither a TorchScript module nor"),
    (["--similarity_model", "features.pt"], "one number a picture"),
    (["--similarity_model", "features.pt", "--similarity_output", "2"], "--similarity_output 2"),
    (["--similarity_range", "unit"], "acts on --similarity_model")])
def test_programs_that_do_not_fit_are_refused(made, monkeypatch, words, what):
    monkeypatch.chdir(made.folder.parent)
    assert what in refusal_of("evaluate_cf", *made.words(*words, "--output_dir", "other", "--dry_run"))
