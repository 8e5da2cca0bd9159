"""Whether an input is the one that outputs were made of: another one of the same name, size and older time is not."""

import os

import numpy as np
import pytest

from tests.tools.commands import results_of
from tests.tools.extract_subimages.photos import TOOL, contents, extract, make_photos, photo, refuse, write
from tests.tools.extract_subimages.test_ownership import PAIR, SINGLE

OLD = 946_684_800 * 10**9


def raw(path, seed, height=150, width=220, stamp=None):
    """Write a photo as PPM, whose size does not depend on its pixels, with an old time; returns the path."""
    write(path, photo(seed, height, width))
    os.utime(path, ns=(OLD, OLD if stamp is None else stamp))
    return path


def replace(path, seed, **size):
    """Put another photo of the same size in bytes and an older time into the place of one, as mv does."""
    before = path.stat().st_size
    aside = path.with_name(f"aside{path.suffix}")
    raw(aside, seed, stamp=OLD - 10**9, **size)
    assert aside.stat().st_size == before
    os.replace(aside, path)


@pytest.mark.parametrize("words", [(), SINGLE, ("--mode", "square"), ("--layout", "virtual"), ("--naming", "original")])
def test_S8_a_replaced_photo_of_equal_size_and_older_time_is_noticed(words, tmp_path):
    for index, name in enumerate("ab"):
        raw(tmp_path / "in" / f"{name}.ppm", index)
    extract(tmp_path / "in", tmp_path / "out", *words)
    replace(tmp_path / "in" / "a.ppm", 7)
    results = extract(tmp_path / "in", tmp_path / "out", *words)
    assert results["already_there"] == 1
    extract(tmp_path / "in", tmp_path / "fresh", *words)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


@pytest.mark.parametrize("words", [(), SINGLE])
def test_S8_another_folder_of_equal_names_sizes_and_times_is_noticed(words, tmp_path):
    for index, name in enumerate(("one", "two")):
        raw(tmp_path / name / "a.ppm", index)
    extract(tmp_path / "one", tmp_path / "out", *words)
    extract(tmp_path / "two", tmp_path / "out", *words)
    extract(tmp_path / "two", tmp_path / "fresh", *words)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_S8_a_replaced_low_resolution_photo_is_noticed(tmp_path):
    raw(tmp_path / "high" / "a.ppm", 1, 128, 192)
    raw(tmp_path / "low" / "a.ppm", 1, 64, 96)
    words = ("--input_folder", tmp_path / "high", "--pair_folder", tmp_path / "low", *PAIR)
    results_of(TOOL, *words, "--save_folder", tmp_path / "out")
    replace(tmp_path / "low" / "a.ppm", 7, height=64, width=96)
    results_of(TOOL, *words, "--save_folder", tmp_path / "out")
    results_of(TOOL, *words, "--save_folder", tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_S8_a_replaced_mask_is_noticed(tmp_path):
    raw(tmp_path / "in" / "a.ppm", 1)
    words = ("--use_masking", "--mask_path", tmp_path / "masks")
    mask = np.repeat([[0, 255]], 2, axis=0).astype(np.uint8)
    path = tmp_path / "masks" / "a.ppm.png"
    write(path, mask)
    os.utime(path, ns=(OLD, OLD))
    extract(tmp_path / "in", tmp_path / "out", *words)
    write(path, 255 - mask)
    os.utime(path, ns=(OLD, OLD - 10**9))
    extract(tmp_path / "in", tmp_path / "out", *words)
    extract(tmp_path / "in", tmp_path / "fresh", *words)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")
    path.unlink()
    assert extract(tmp_path / "in", tmp_path / "out", *words)["tiles"] == 34


@pytest.mark.parametrize("layout", ["packed", "parquet"])
def test_S8_a_photo_in_a_finished_shard_that_changes_is_refused_and_a_touched_one_is_not(layout, tmp_path):
    folder = tmp_path / "in"
    for index, name in enumerate("ab"):
        raw(folder / f"{name}.ppm", index)
    (folder / "broken.jpg").write_bytes(b"x")
    extract(folder, tmp_path / "out", "--layout", layout)
    before = contents(tmp_path / "out")
    os.utime(folder / "a.ppm")
    assert extract(folder, tmp_path / "out", "--layout", layout)["already_there"] == 2
    assert contents(tmp_path / "out") == before
    replace(folder / "b.ppm", 7)
    assert "b.ppm: has changed since it went into a shard" in refuse(folder, tmp_path / "out", "--layout", layout)
    extract(folder, tmp_path / "out", "--layout", layout, "--overwrite")


def test_S8_a_photo_that_was_broken_when_its_shard_was_made_is_not_lost(tmp_path):
    folder = make_photos(tmp_path / "in", 2)
    good = (folder / "a.jpg").read_bytes()
    (folder / "a.jpg").write_bytes(b"x")
    extract(folder, tmp_path / "out", "--layout", "packed")
    (folder / "a.jpg").write_bytes(good)
    assert "a.jpg: can be read now" in refuse(folder, tmp_path / "out", "--layout", "packed")
    assert extract(folder, tmp_path / "out", "--layout", "packed", "--overwrite")["extracted"] == 2
