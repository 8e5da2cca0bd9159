"""Generation of images and the encoder's outputs, killed at 20 random moments, end with the bytes of one quiet run."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from common.files import TEMPORARY
from tests.kills import end, kill
from tests.tools.activation_networks import contents
from tests.tools.blobgan_networks import save_blobgan
from tests.tools.commands import ROOT, environment, torchrun_tool
from tests.tools.interval_networks import save_encoder, save_generator

KILLS, SIDE = 20, 64
JOBS = {
    "generate_ffhq": ("--stylegan_path", "../g.pt", "--num_images", "500", "--resize_factors", "1,4,8",
                      "--encoder_size", SIDE, "--noise", "seeded", "--output_base_dir", "data", "--images_per_folder",
                      "100", "--device", "cpu", "--quiet"),
    "generate_blobgan": ("../blobgan.ckpt", "-n", 400, "-t", 0.4, "--save_blobs", "--label_blobs", "-s", "data",
                         "--device", "cpu", "--quiet"),
    "generate_outputs_npz": ("--resize_factor", 4, "--image_dir", "../images/generated/1x", "--output_path",
                             "data/outputs.npz", "--base_dir", "..", "--exp_name", "e", "--device", "cpu", "--quiet"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a generator, an encoder and images; jobs run in folders below it."""
    folder = tmp_path_factory.mktemp("kills")
    save_generator(folder / "g.pt")
    save_blobgan(folder / "blobgan.ckpt")
    save_encoder(folder / "e" / "models" / "superres_alpha_0.1.pt", size=SIDE)
    end(start(folder / "made", ("generate_ffhq", "--stylegan_path", "../g.pt", "--num_images", 400, "--output_base_dir",
                                "../images", "--device", "cpu", "--quiet")))
    return folder


def start(folder, words):
    folder.mkdir(exist_ok=True)
    name, *rest = map(str, words)
    return subprocess.Popen([sys.executable, "-m", f"tools.{name}", *rest], cwd=folder,
                            env={**environment(), "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True)


def check_complete(folder):
    """Read every file under its final name in full."""
    from PIL import Image

    for path in folder.rglob("*"):
        if path.suffix == ".png" and not path.name.startswith("."):
            Image.open(path).load()
        elif path.suffix == ".npz" and not path.name.startswith("."):
            with np.load(path, allow_pickle=False) as archive:
                _ = [archive[name] for name in archive.files]


@pytest.mark.parametrize("name", JOBS)
def test_killed_at_random_moments_it_ends_with_the_same_bytes(name, place):
    whole, cut, words = place / f"{name}_whole", place / f"{name}_cut", (name, *JOBS[name])
    began = time.monotonic()
    end(start(whole, words))
    seconds, expected = time.monotonic() - began, contents(whole / "data")
    for number, before_the_end in enumerate(kill(lambda: start(cut, words), seconds, KILLS, (0.3, 0.98), name)):
        check_complete(cut)
        if number % 3 == 2 or not before_the_end:
            end(start(cut, words))
            assert contents(cut / "data") == expected
            assert not list(cut.rglob(f"*{TEMPORARY}"))
            shutil.rmtree(cut)


@pytest.mark.parametrize("name", JOBS)
def test_two_processes_give_the_bytes_of_one(name, place, monkeypatch):
    for count in (1, 2):
        folder = place / f"{name}_{count}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        ended = torchrun_tool(count, name, *JOBS[name], *(["--verify"] if name == "generate_ffhq" else []))
        assert ended.status == 0, ended.err
    assert contents(place / f"{name}_1" / "data") == contents(place / f"{name}_2" / "data")


@pytest.mark.parametrize("name", JOBS)
def test_of_two_commands_in_one_folder_one_is_refused(name, place):
    folder, words = place / f"{name}_both", (name, *JOBS[name])
    processes = [start(folder, words) for _ in range(2)]
    ends = []
    for process in processes:
        _, err = process.communicate(timeout=300)
        ends.append((process.returncode, err))
    assert sorted(status for status, _ in ends) == [0, 2], ends
    assert any("another process is writing into this folder" in err for _, err in ends)
    end(start(folder, words))
    whole = place / f"{name}_whole"
    if Path(whole).exists():
        assert contents(folder / "data") == contents(whole / "data")
