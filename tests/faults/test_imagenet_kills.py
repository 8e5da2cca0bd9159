"""Extraction and generation killed at 20 random moments end with the bytes of one quiet run, no sample lost or
doubled."""

import json
import shutil
import subprocess
import sys
import time

import pytest

from tests.common.datasets.imagenet_files import write_batches, write_tree
from tests.kills import end, kill
from tests.tools.activation_networks import contents, save_network
from tests.tools.commands import ROOT, environment, torchrun_tool

KILLS = 20
NETWORK = ("--checkpoint_path", "../network.safetensors", "--device", "cpu", "--batch_size", "5", "--quiet")
NPZ = ("tools.extract_real_imagenet", "--class_map", "none", "--num_samples", "900", *NETWORK)
JOBS = {
    "npz": (*NPZ, "--npz_dir", "../deflated"),
    "npy": (*NPZ, "--npz_dir", "../stored", "--format", "npy", "--dtype", "float16"),
    "tree": ("tools.extract_real_imagenet", "--imagenet_dir", "../tree", "--label_mode", "none", "--format", "npy",
             *NETWORK[:4],
             "--batch_size", "1", "--quiet"),
    "generate": ("tools.generate_dataset", "--model", "imagenet", "--num_samples", "300", "--method", "heun",
                 "--num_steps", "4",
                 "--format", "npy", *NETWORK),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a network and sources; jobs run in folders below it."""
    folder = tmp_path_factory.mktemp("kills")
    save_network(folder / "network.safetensors")
    for form in ("stored", "deflated"):
        write_batches(folder / form, counts=(250, 250, 400), form=form)
    write_tree(folder / "tree")
    return folder


def start(folder, words):
    folder.mkdir(exist_ok=True)
    variables = {**environment(), "PYTHONPATH": str(ROOT), "GENPROBE_CACHE": str(folder / "cache")}
    return subprocess.Popen([sys.executable, "-m", *words], cwd=folder, env=variables, stderr=subprocess.PIPE,
                            text=True)


@pytest.mark.parametrize("name", JOBS)
def test_killed_at_random_moments_it_ends_with_the_same_bytes(name, place):
    whole, cut, words = place / f"{name}_whole", place / f"{name}_cut", JOBS[name]
    began = time.monotonic()
    end(start(whole, words))
    seconds, expected = time.monotonic() - began, contents(whole / "data")
    samples = json.loads(next((whole / "data" / "metadata").glob("*/dataset_info.json")).read_text())["samples"]
    assert len({sample["sample_id"] for sample in samples}) == len(samples)
    for number, before_the_end in enumerate(kill(lambda: start(cut, words), seconds, KILLS, (0.4, 0.95), name)):
        if number % 2 == 1 or not before_the_end:
            end(start(cut, words))
            assert contents(cut / "data") == expected
            shutil.rmtree(cut)


def test_two_processes_give_the_bytes_of_one_in_the_fast_form(place, monkeypatch):
    for count in (1, 2):
        folder = place / f"processes_{count}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("GENPROBE_CACHE", str(folder / "cache"))
        ended = torchrun_tool(count, JOBS["npy"][0].removeprefix("tools."), *JOBS["npy"][1:])
        assert ended.status == 0, ended.err
    assert contents(place / "processes_1" / "data") == contents(place / "processes_2" / "data")
