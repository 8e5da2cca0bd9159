"""What an extraction records and how its files are stored: equal runs are equal, old folders go on as they began."""

import json
import os
import zipfile

import numpy as np
import pytest

from common.activations import open_activations
from common.locks import lock_file
from tests.common.datasets.imagenet_files import write_batches, write_tree
from tests.tools.activation_networks import contents
from tests.tools.commands import refusal_of, results_of
from tests.tools.extract_real_imagenet.runs import NETWORK, extract, info

EXTRACT = ("extract_real_imagenet", *NETWORK, "--batch_size", "4")


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP",
                                  b"BM" + bytes(60), b"II*\0" + bytes(9)])
def test_A11_equal_runs_are_equal_where_an_image_cannot_be_read(workplace, data):
    write_tree(workplace / "tree")
    (workplace / "tree/val/n03255030/broken.JPEG").write_bytes(data)
    for out in ("one", "two"):
        extract("--imagenet_dir", "tree", out=out)
        filler = [object() for _ in range(1000)]  # so that the same address does not come again
        assert filler
    assert contents(workplace / "one") == contents(workplace / "two")
    ((name, why),) = info("one")["left_out"]
    assert name == "val/n03255030/broken.JPEG"
    assert "0x" not in why


@pytest.mark.parametrize("tool", [("extract_real_imagenet", "--npz_dir", "npz"),
                                  ("generate_dataset", "--model", "imagenet", "--num_samples", "6")])
def test_A12_a_second_run_at_once_is_refused_and_touches_nothing(workplace, tool):
    write_batches(workplace / "npz")
    words = (*tool, *NETWORK, "--batch_size", "4")
    model = "imagenet" if tool[0] == "generate_dataset" else "imagenet_real"
    results_of(*words)
    folder = workplace / "data" / "activations" / model
    (folder / ".batch_000009.npz.1.part").write_bytes(b"the other's")
    (folder / "batch_000000.npz").unlink()  # so that there is work to do
    before = contents(workplace / "data")
    place = workplace / "data" / "metadata" / model
    with lock_file(place / ".run.json.lock", place):
        assert "another process is writing into this folder" in refusal_of(*words)
        assert {name: data for name, data in contents(workplace / "data").items() if "lock" not in name} == before
        os.unlink(place / ".run.json.lock")
    results_of(*words)
    assert not list(folder.glob(".*.part"))


@pytest.mark.parametrize("tool", [("extract_real_imagenet", "--npz_dir", "npz"),
                                  ("generate_dataset", "--model", "imagenet", "--num_samples", "2")])
@pytest.mark.parametrize("word", ["weights/network.safetensors", "weights/net*"])
def test_A7_the_checkpoint_in_the_metadata_is_a_path(workplace, tool, word):
    write_batches(workplace / "npz")
    os.mkdir("weights")
    os.rename("network.safetensors", "weights/network.safetensors")
    results_of(*tool, "--checkpoint_path", word, "--device", "cpu")
    (path,) = (workplace / "data" / "metadata").glob("*/dataset_info.json")
    assert json.loads(path.read_text())["checkpoint"] == "weights/network.safetensors"


def compression(out="data"):
    """Return how each activation file is compressed."""
    return {path.name: {entry.compress_type for entry in zipfile.ZipFile(path).infolist()}
            for path in open_activations(out, "imagenet_real").tree.activations.glob("*.npz")}


def test_A20_files_are_stored_and_compressed_on_request(workplace):
    write_batches(workplace / "npz")
    words = (*EXTRACT, "--npz_dir", "npz")
    results_of(*words)
    results_of(*words, "--compress", "--output_dir", "small")
    assert {kind for kinds in compression().values() for kind in kinds} == {zipfile.ZIP_STORED}
    assert {kind for kinds in compression("small").values() for kind in kinds} == {zipfile.ZIP_DEFLATED}
    for layer in ("encoder_bottleneck", "midblock"):
        np.testing.assert_array_equal(open_activations("data", "imagenet_real").rows(layer)[:],
                                      open_activations("small", "imagenet_real").rows(layer)[:])
    with np.load("data/activations/imagenet_real/batch_000000.npz") as arrays:
        assert sorted(arrays) == ["encoder_bottleneck", "midblock"]
    assert "has compress False, this command has True" in refusal_of(*words, "--compress")
    assert "only npz files are compressed" in refusal_of(*words, "--compress", "--format", "npy", "--output_dir", "n")


def test_A20_folders_that_began_compressed_go_on_so(workplace):
    write_batches(workplace / "npz")
    words = (*EXTRACT, "--npz_dir", "npz", "--num_samples")
    results_of(*words, 10, "--compress")
    record = workplace / "data/metadata/imagenet_real/run.json"
    told = json.loads(record.read_text())
    del told["options"]["compress"], told["request"]["compress"]
    record.write_text(json.dumps(told))
    results_of(*words, 14)  # its record of the earlier version knew no choice
    results_of(*words, 18)  # its record says compressed
    assert {kind for kinds in compression().values() for kind in kinds} == {zipfile.ZIP_DEFLATED}
    results_of(*words, 18, "--compress", "--output_dir", "once")
    assert contents(workplace / "data") == contents(workplace / "once")
