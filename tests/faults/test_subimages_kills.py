"""Killed at random moments and started again, extract_subimages ends with the bytes of an uninterrupted run."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.datasets.dlas.chunked.centers import read_centers
from tests.tools.extract_subimages.photos import contents, write

ROOT = Path(__file__).parents[2]
KILLS = 20
# name: flags beside the folders
JOBS = {
    "folders": ("--layout", "folders"),
    "original": ("--naming", "original"),
    "packed": ("--layout", "packed", "--shard_mb", "2"),
    "parquet": ("--layout", "parquet", "--shard_mb", "2"),
    "virtual": ("--layout", "virtual", "--format", "png", "--png_level", "9"),
    "single": ("--mode", "single", "--crop_sz", "128", "--step", "64", "--thres_sz", "0", "--format", "png",
               "--resize_final_img", "1"),
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of 24 photos and two broken files."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for index in range(24):
        coarse = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
        write(folder / f"photo_{index:02d}.jpg", cv2.resize(coarse, (900 + index, 700), interpolation=cv2.INTER_CUBIC))
    (folder / "photo_07a.jpg").write_bytes(b"broken")
    (folder / "photo_11a.png").write_bytes(b"broken, too")
    return folder


def start(photos, target, workers, words):
    """Start the tool in a process of its own."""
    command = [sys.executable, "-m", "tools.extract_subimages", "--input_folder", str(photos), "--save_folder",
               str(target), "--quiet",
               "--n_thread", str(workers), *words]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE,
                            text=True)


def finish(process):
    """Wait for a process that must end well."""
    _, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")


def check_whole(target):
    """Whatever has its final name is complete: tiles decode, no folder is without its centers.pt."""
    for folder in target.iterdir() if target.exists() else []:
        if folder.is_dir() and not folder.name.startswith(".") and folder.name != "geometry":
            assert read_centers(folder / "centers.pt")
            assert (folder / "ref.jpg").exists()
            for path in (*folder.glob("*.jpg"), *folder.glob("*.png")):
                assert cv2.imread(str(path)) is not None, path
    for path in (*target.glob("*.jpg"), *target.glob("*.png")):
        assert cv2.imread(str(path)) is not None, path


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", JOBS)
def test_killed_at_random_moments_it_ends_with_the_same_bytes(name, workers, photos, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    finish(start(photos, tmp_path / "first", workers, JOBS[name]))  # warms the disk's cache
    began = time.monotonic()
    finish(start(photos, whole, workers, JOBS[name]))
    seconds = time.monotonic() - began
    expected, moments, hits = contents(whole), random.Random(f"{name}{workers}"), 0
    while hits < KILLS:
        process = start(photos, cut, workers, JOBS[name])
        time.sleep(moments.uniform(0.1, 1.0) * seconds)
        process.send_signal(signal.SIGKILL)
        _, err = process.communicate()
        check_whole(cut)
        if process.returncode == -signal.SIGKILL:
            hits += 1
        else:  # done before the kill came: begin anew
            assert (process.returncode, err) == (0, "")
            assert contents(cut) == expected
            shutil.rmtree(cut)
    time.sleep(0.5)  # workers of the last killed run finish the photo they are at
    finish(start(photos, cut, workers, JOBS[name]))
    assert contents(cut) == expected
    assert list(cut.rglob(".*")) == []


def test_sigterm_ends_with_the_command_to_go_on(photos, tmp_path):
    process = start(photos, tmp_path / "out", 2, ())
    while not list((tmp_path / "out").glob("*_left")):
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.startswith("interrupted; progress saved, resume with: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "out" / ".unfinished").exists()
    check_whole(tmp_path / "out")
    finish(start(photos, tmp_path / "out", 2, ()))
    finish(start(photos, tmp_path / "fresh", 2, ()))
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")
