"""Sets that diffviews' converter makes, our fast form as its loader takes it, and the earlier fast form.

The converter: of each batch's npz, an npy of all layers side by side in sorted order, and a json whose shapes count the
batch. The loader: the first *.npy of the folder, whole; its row i belongs to sample i.
"""

import json

import numpy as np
import pytest

from common.activations import open_activations
from common.activations.layout import Tree
from common.activations.store import NpzForm
from common.errors import InputError
from tests.common.activations.test_forms import WIDTHS, fill, joined, make
from tests.common.datasets.imagenet_files import write_batches, write_tree
from tests.tools.activation_networks import contents, save_network
from tests.tools.commands import refusal_of, results_of


def convert(folder, keep=False, batches=None):
    """Convert the batches of a folder as diffviews does."""
    for path in sorted(folder.glob("*.npz"))[:batches]:
        with np.load(path) as data:
            names = sorted(data.keys())
            combined = np.concatenate([data[name] for name in names], axis=1).astype("float32")
            shapes = {name: list(data[name].shape) for name in names}
        np.save(path.with_suffix(".npy"), combined)
        told = {"layers": names, "shapes": shapes, "total_features": combined.shape[1],
                "num_samples": combined.shape[0], "dtype": "float32"}
        path.with_name(f"{path.stem}.npy.json").write_text(json.dumps(told, indent=2))
        if not keep:
            path.unlink()


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(("count", "per_unit"), [(10, 4), (3, 4), (5, 1)])
def test_A6_what_diffviews_converts_is_read(tmp_path, count, per_unit, keep):
    arrays, tree = make(count), Tree(tmp_path, "imagenet_real")
    fill(tree, NpzForm, arrays, count, per_unit)
    expected = open_activations(tmp_path, "imagenet_real").rows()[:]
    convert(tree.activations, keep)
    activations = open_activations(tmp_path, "imagenet_real")
    assert (activations.layers, activations.form) == (sorted(WIDTHS), "flat")
    np.testing.assert_array_equal(activations.rows()[:], expected)
    np.testing.assert_array_equal(activations.rows()[1:count - 1], expected[1:count - 1])
    for layer in WIDTHS:
        np.testing.assert_array_equal(activations.rows(layer)[:], arrays[layer])


def test_A6_many_blocks_and_narrow_layers(tmp_path, monkeypatch):
    arrays, tree = make(10), Tree(tmp_path, "imagenet_real")
    arrays["wide"] = np.random.default_rng(3).standard_normal((10, 200)).astype(np.float32)
    monkeypatch.setitem(WIDTHS, "wide", 200)
    monkeypatch.setattr("common.activations.read.PIECE", 2000)
    fill(tree, NpzForm, arrays, 10, 4)
    convert(tree.activations)
    activations = open_activations(tmp_path, "imagenet_real")
    np.testing.assert_array_equal(activations.rows()[:], joined(arrays))
    np.testing.assert_array_equal(activations.rows("midblock")[2:9], arrays["midblock"][2:9])


def test_A6_a_conversion_that_was_broken_off_or_damaged_is_named(tmp_path):
    tree = Tree(tmp_path, "imagenet_real")
    fill(tree, NpzForm, make(10), 10, 4)
    convert(tree.activations, batches=2)
    with pytest.raises(InputError, match="no converted file of sample 8"):
        open_activations(tmp_path, "imagenet_real").rows()[:]
    convert(tree.activations)
    good = (tree.activations / "batch_000001.npy.json").read_text()
    for change in ({"layers": []}, {"layers": [["midblock"]]}, {"layers": ["midblock", 3]},
                   {"layers": ["midblock", "midblock"]}, {"shapes": {}}, {"shapes": [1]},
                   {"total_features": 11}, {"total_features": "x"},
                   {"shapes": {"midblock": [4, -6], "encoder_bottleneck": [4, 4]}}):
        (tree.activations / "batch_000001.npy.json").write_text(json.dumps({**json.loads(good), **change}))
        with pytest.raises(InputError, match="batch_000001"):
            open_activations(tmp_path, "imagenet_real").rows()[:]
    (tree.activations / "batch_000001.npy.json").write_text(good)
    path = tree.activations / "batch_000002.npy"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="batch_000002.npy: ends before row 2"):
        open_activations(tmp_path, "imagenet_real").rows()[:]


@pytest.fixture
def workplace(own_folder):
    save_network(own_folder / "network.safetensors", label_dim=1000)
    write_batches(own_folder / "npz")
    write_tree(own_folder / "tree")
    return own_folder


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GENPROBE_CACHE", raising=False)
    return tmp_path


EXTRACT = ("extract_real_imagenet", "--checkpoint_path", "network.safetensors", "--device", "cpu", "--batch_size", "4")


@pytest.mark.parametrize("source", [("--npz_dir", "npz"), ("--imagenet_dir", "tree")])
def test_A6_diffviews_loads_all_layers_of_our_fast_form(workplace, source):
    """The tree has a picture that cannot be read: its row must not stand between the others."""
    results_of(*EXTRACT, *source, "--format", "npy")
    results_of(*EXTRACT, *source, "--output_dir", "published")
    folder = workplace / "data/activations/imagenet_real"
    (path,) = folder.glob("*.npy")
    expected = open_activations("published", "imagenet_real")
    np.testing.assert_allclose(np.load(path), expected.rows()[:], rtol=1e-4, atol=1e-5)
    told = json.loads((folder / f"{path.name}.json").read_text())
    layers, width = ["encoder_bottleneck", "midblock"], expected.rows().shape[1]
    assert told == {"layers": layers, "shapes": {layer: [expected.num_samples, width // 2] for layer in layers},
                    "total_features": width, "num_samples": expected.num_samples, "dtype": "float32"}
    ours = open_activations("data", "imagenet_real")
    assert [record["sample_id"] for record in ours.records] == [record["sample_id"] for record in expected.records]
    for layer in layers:
        np.testing.assert_allclose(ours.rows(layer)[:], expected.rows(layer)[:], rtol=1e-4, atol=1e-5)


def test_A6_a_set_with_skipped_images_grows(workplace):
    words = (*EXTRACT[:-1], "2", "--imagenet_dir", "tree", "--format", "npy", "--num_samples")
    for number in (3, 4, 5, 6):
        results_of(*words, number)
        results_of(*words, number, "--output_dir", f"once{number}")
        assert contents(workplace / "data") == contents(workplace / f"once{number}")


def test_A6_sets_of_the_earlier_layout_are_read_answered_and_not_extended(workplace):
    words = (*EXTRACT, "--npz_dir", "npz", "--format", "npy", "--num_samples")
    results = results_of(*words, 10)
    expected = open_activations("data", "imagenet_real").rows()[:]
    folder = workplace / "data/activations/imagenet_real"
    for column, layer in enumerate(("encoder_bottleneck", "midblock")):
        np.save(folder / f"{layer}.npy", np.hsplit(expected, 2)[column])
    np.save(folder / "done.npy", np.ones(10, np.uint8))
    for name in ("activations.npy", "activations.npy.json", "done.mask"):
        (folder / name).unlink()
    record = workplace / "data/metadata/imagenet_real/run.json"
    told = json.loads(record.read_text())
    names = ("encoder_bottleneck.npy", "midblock.npy", "done.npy")
    told["files"] = ["dataset_info.json", *(f"../../activations/imagenet_real/{name}" for name in names)]
    del told["options"]["compress"], told["sizes"]
    record.write_text(json.dumps(told))
    before = contents(workplace / "data")
    np.testing.assert_array_equal(open_activations("data", "imagenet_real").rows()[:], expected)
    assert results_of(*words, 10) == results
    assert "begun in the earlier layout" in refusal_of(*words, 12)
    assert contents(workplace / "data") == before
    assert json.loads(record.read_text())["status"] == "done"
    results_of(*words, 12, "--overwrite")
    assert not (folder / "done.npy").exists()
