"""Small photos for tests, made from numbers, and what a folder holds."""

import hashlib
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from tests.tools.commands import call_tool, refusal_of, results_of

TOOL = "extract_subimages"
SMALL = ("--crop_sz", "32,64", "--step", "32", "48", "--thres_sz", "8", "--min_size", "64", "--n_thread", "0")
TIMES = ("run.json",)  # files that hold times


@cache
def photo(seed=0, height=150, width=220):
    """Return (height, width, 3) uint8 of smooth colours with some structure, the same for a seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def write(path, pixels, *flags):
    """Write an image by its ending; returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels, list(flags))
    return path


def make_photos(folder, count=3):
    """Write `count` different JPEG photos a.jpg, b.jpg, ... and return the folder."""
    for index in range(count):
        write(folder / f"{'abcdefghij'[index]}.jpg", photo(index, 150 + 7 * index, 220 - 5 * index))
    return folder


def extract(source, target, *words):
    """Run the tool; it must end well and be quiet. Returns its results."""
    return results_of(TOOL, "--input_folder", source, "--save_folder", target, *SMALL, *words)


def refuse(source, target, *words):
    """Run the tool; it must refuse with one line, which is returned."""
    return refusal_of(TOOL, "--input_folder", source, "--save_folder", target, *SMALL, "--quiet", *words)


def call(*words):
    """Run the tool with these words alone."""
    return call_tool(TOOL, *words)


def contents(folder, without=TIMES):
    """Return {path below: hash} of every file but those that hold times."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*")) if path.is_file() and path.name not in without
    }


def read(path):
    """Return the pixels of an image file as stored, float64."""
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.float64)
