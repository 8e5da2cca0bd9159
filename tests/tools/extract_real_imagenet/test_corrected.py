"""A run that bad input ends leaves nothing that stops the corrected command, and keeps what was done."""

import os
import zipfile

import numpy as np
import pytest

from tests.common.datasets.imagenet_files import jpeg, write_batches
from tests.tools.activation_networks import save_network
from tests.tools.commands import call_tool, refusal_of, results_of
from tests.tools.extract_real_imagenet.runs import NETWORK, classes_of
from tests.tools.train_edm.runs import NETWORK as TRAINED

TRAIN = (*TRAINED, "--npz_dir", "npz", "--class_map", "none", "--steps", "2", "--batch_size", "4",
         "--samples_per_class", "0", "--device", "cpu", "--output_dir", "out")
EXTRACT = (*NETWORK, "--npz_dir", "npz", "--batch_size", "4")


def damage(path):
    """Write a deflated npz whose image data are damaged: its headers and labels are whole."""
    with np.load(path) as arrays:
        data, labels = arrays["data"], arrays["labels"]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in (("data", data), ("labels", labels)):
            with archive.open(f"{name}.npy", "w") as stream:
                np.lib.format.write_array(stream, array)
    zero_the_end(path)


def zero_the_end(path):
    """Zero bytes near the end of the images' entry."""
    content = bytearray(path.read_bytes())
    end = content.index(b"PK\x03\x04", content.index(b"data.npy")) - 100
    content[end - 60 : end] = bytes(60)
    path.write_bytes(content)


def refused_then_corrected(tool, words, correct, what, left=()):
    """A refusal that leaves these entries of the current folder, then the corrected command."""
    before = set(os.listdir())
    ended = call_tool(tool, *words)
    assert (ended.status, ended.out) == (2, ""), ended
    assert what in ended.err
    assert set(os.listdir()) - before - {".genprobe_cache"} == set(left)
    correct()
    return results_of(tool, *words)


@pytest.mark.parametrize("form", [(), ("--format", "npy")])
def test_A16_a_corrupt_deflate_leaves_nothing(workplace, form):
    pixels, _ = write_batches(workplace / "npz", (60, 60, 60), form="deflated")
    path = workplace / "npz" / "train_data_batch_2.npz"
    good = path.read_bytes()
    damage(path)
    assert len(good) != path.stat().st_size
    correct = lambda: path.write_bytes(good)  # noqa: E731
    assert refused_then_corrected("extract_real_imagenet", (*EXTRACT, *form), correct, "train_data_batch_2.npz")
    assert len(classes_of()) == len(pixels)
    damage(path)
    assert refused_then_corrected("train_edm", TRAIN, correct, "train_data_batch_2.npz")["steps"] == 2


def test_A16_a_source_without_a_readable_image_leaves_nothing(workplace):
    path = workplace / "tree" / "val" / "n01440764" / "a.JPEG"
    path.parent.mkdir(parents=True)
    path.write_bytes(jpeg()[:150])
    words = (*NETWORK, "--imagenet_dir", "tree")
    found = refused_then_corrected("extract_real_imagenet", words, lambda: path.write_bytes(jpeg()),
                                   "no readable image")
    assert found["num_samples"] == 1


@pytest.mark.parametrize("tool", ["extract_real_imagenet", "generate_dataset"])
def test_A16_a_broken_network_leaves_nothing(workplace, tool):
    import torch

    from common.networks.adm_weights import save_adm
    from tests.common.networks.adm_makers import small_network

    write_batches(workplace / "npz")
    broken = small_network(label_dim=1000)
    torch.nn.init.constant_(broken.model.map_layer1.bias, 1e38)
    save_adm(workplace / "network.safetensors", broken)
    words = EXTRACT if tool == "extract_real_imagenet" else (*NETWORK, "--model", "imagenet", "--num_samples", "6")
    refused_then_corrected(tool, words, lambda: save_network(workplace / "network.safetensors", label_dim=1000),
                           "NaN or infinity")


def test_A16_what_was_done_before_stays(workplace):
    write_batches(workplace / "npz", (60, 60, 60), form="deflated")
    words = (*EXTRACT, "--samples_per_file", "4")
    assert results_of("extract_real_imagenet", *words, "--num_samples", "4")["num_samples"] == 4
    done = (workplace / "data/activations/imagenet_real/batch_000000.npz").read_bytes()
    path = workplace / "npz" / "train_data_batch_2.npz"
    good = path.read_bytes()
    zero_the_end(path)
    assert "train_data_batch_2.npz" in refusal_of("extract_real_imagenet", *words, "--quiet")
    assert (workplace / "data/activations/imagenet_real/batch_000000.npz").read_bytes() == done
    path.write_bytes(good)
    assert results_of("extract_real_imagenet", *words)["num_samples"] == 180
