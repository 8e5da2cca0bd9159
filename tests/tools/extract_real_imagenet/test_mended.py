"""What is missing or torn in a finished run's tree is made again by the same command, with the same bytes."""

import os

import pytest

from tests.common.datasets.imagenet_files import write_batches, write_tree
from tests.tools.activation_networks import contents
from tests.tools.commands import results_of
from tests.tools.extract_real_imagenet.runs import NETWORK

GENERATE = ("generate_dataset", "--model", "imagenet", *NETWORK, "--num_samples", "10", "--batch_size", "4")
TREE = ("extract_real_imagenet", *NETWORK, "--imagenet_dir", "tree", "--batch_size", "3")
COMMANDS = {
    "npz": ("extract_real_imagenet", *NETWORK, "--npz_dir", "npz", "--batch_size", "4"),
    "npz, network's size": ("extract_real_imagenet", *NETWORK, "--npz_dir", "npz", "--batch_size", "4", "--images",
                            "network", "--noreconstructions"),
    "npy": ("extract_real_imagenet", *NETWORK, "--npz_dir", "npz", "--batch_size", "4", "--format", "npy"),
    "tree": TREE, "tree, npy": (*TREE, "--format", "npy"), "generated": GENERATE,
    "generated, npy": (*GENERATE, "--format", "npy"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_A14_what_is_torn_or_deleted_is_mended_by_the_same_command(workplace, name):
    write_batches(workplace / "npz")
    write_tree(workplace / "tree")
    results = results_of(*COMMANDS[name])
    expected = contents(workplace / "data")
    for file in sorted(expected):
        if not file.endswith(("0.png", "0.JPEG", ".npz", ".npy", ".json")):
            continue  # enough pictures
        path, size = workplace / "data" / file, len(expected[file])
        for length in (None, size // 2):
            if length is None:
                path.unlink()
            else:
                os.truncate(path, length)
            assert {**results_of(*COMMANDS[name]), "images_per_second": 0} == {**results, "images_per_second": 0}, file
            assert contents(workplace / "data") == expected, (file, length)


@pytest.mark.parametrize("length", [0, 60, 128, 9000, 50_000])
@pytest.mark.parametrize(("source", "first", "all"), [("npz", 9, 18), ("tree, npy", 4, 6)])
def test_A14_rows_that_were_lost_are_not_taken_for_zeros_when_a_set_grows(workplace, source, first, all, length):
    write_batches(workplace / "npz")
    write_tree(workplace / "tree")
    words = (*COMMANDS[source], "--format", "npy", "--num_samples")
    results_of(*words, first)
    os.truncate(workplace / "data/activations/imagenet_real/activations.npy", length)
    results_of(*words, all)
    results_of(*words, all, "--output_dir", "whole")
    assert contents(workplace / "data") == contents(workplace / "whole")
