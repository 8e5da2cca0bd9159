"""Geometry files that are lost or torn, photos and partners that go away: nothing is left over, nothing is blocked."""

import os
import shutil
import signal
from contextlib import contextmanager

import numpy as np
import pytest

from common.datasets.dlas.options import create_dataset
from tests.tools.commands import refusal_of, results_of
from tests.tools.extract_subimages.photos import TOOL, call, contents, extract, make_photos, photo, refuse, write
from tests.tools.extract_subimages.test_ownership import SINGLE, pair, pairs

SQUARE = ("--mode", "square", "--imgsize", "32", "32")
DAMAGES = {"lost": lambda path: path.unlink(), "emptied": lambda path: path.write_bytes(b""),
           "cut in its list": lambda path: path.write_bytes(path.read_bytes()[:-20])}


@contextmanager
def seconds(limit=20):
    """Fail where the body takes longer."""
    def late(*_):
        raise AssertionError("still waiting")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(limit)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("words", [(), SINGLE, SQUARE])
def test_S18_a_lost_or_torn_geometry_is_made_again(words, damage, tmp_path):
    """As a power cut may leave it; the file of another photo whose name begins alike stays, and so does the user's."""
    folder = make_photos(tmp_path / "in", 1)
    write(folder / "a_s001.jpg", photo(5, 151, 221))
    extract(folder, tmp_path / "out", *words)
    whole = contents(tmp_path / "out")
    (tmp_path / "out" / "a_mine.png").write_bytes(b"mine")
    geometry = tmp_path / "out" / ("geometry/a.jsonl" if words else "a_left/geometry.jsonl")
    for more in ((), ("--overwrite",)):
        DAMAGES[damage](geometry)
        if damage != "lost" or words:
            assert call("inspect", tmp_path / "out", "--output", tmp_path / "i.png", "--quiet").status == 2
        extract(folder, tmp_path / "out", *words, *more)
        assert contents(tmp_path / "out") == whole | {"a_mine.png": contents(tmp_path / "out")["a_mine.png"]}
    assert (tmp_path / "out" / "a_mine.png").read_bytes() == b"mine"


def test_S18_a_photo_of_the_users_beside_a_torn_geometry_is_no_tile(tmp_path):
    folder = make_photos(tmp_path / "in", 1)
    extract(folder, tmp_path / "out", *SINGLE)
    for ending in ("jpg", "png"):
        (tmp_path / "out" / f"a.{ending}").write_bytes(b"mine")
    whole = contents(tmp_path / "out")
    for more in ((), ("--overwrite",)):
        DAMAGES["emptied"](tmp_path / "out/geometry/a.jsonl")
        extract(folder, tmp_path / "out", *SINGLE, *more)
        assert contents(tmp_path / "out") == whole


@pytest.mark.parametrize(("words", "name"), [((), "a_left/00000002.jpg"), ((), "a_left/geometry.jsonl"),
                                             (SINGLE, "geometry/a.jsonl"), (SQUARE, "a.png"),
                                             (("--layout", "packed"), "shard-000000.tar")])
def test_S18_what_inspect_advises_mends_files_of_the_same_length(words, name, tmp_path):
    folder = make_photos(tmp_path / "in", 2)
    extract(folder, tmp_path / "out", *words)
    whole, path = contents(tmp_path / "out"), tmp_path / "out" / name
    path.write_bytes(bytes(path.stat().st_size))
    line = refusal_of(TOOL, "inspect", tmp_path / "out", "--preview", "0", "--quiet")
    assert "Remove what is broken, then run the same extract_subimages command again." in line
    path.unlink()
    extract(folder, tmp_path / "out", *words)
    assert contents(tmp_path / "out") == whole


@pytest.mark.parametrize("damage", ["emptied", "cut in its list"])
def test_S18_a_torn_geometry_of_pairs_is_made_again(damage, tmp_path):
    pair(tmp_path)
    whole = contents(tmp_path / "out")
    for more in ((), ("--overwrite",)):
        DAMAGES[damage](tmp_path / "out/geometry/0.png.jsonl")
        pair(tmp_path, *more)
        assert contents(tmp_path / "out") == whole


def test_S1_a_new_pair_never_takes_the_place_of_a_foreign_file(tmp_path):
    pair(tmp_path)
    for name in ("HR/2.png_s001.png", "LR/2.png_s001.png"):
        (tmp_path / "out" / name).write_bytes(b"mine")
        words = pairs(tmp_path, 3)
        line = refusal_of(TOOL, *words, "--save_folder", tmp_path / "out", "--quiet")
        assert f"{name}: is in the way: no record of this data set lists it" in line
        assert (tmp_path / "out" / name).read_bytes() == b"mine"
        (tmp_path / "out" / name).unlink()


@pytest.mark.parametrize(("words", "lost"), [
    ((), "b_left"), (("--layout", "packed"), "shard-000000.tar"), (("--layout", "parquet"), "shard-000000.parquet"),
    (SINGLE, "b_l00000_s002.jpg"), (SQUARE, "geometry/b.jsonl")])
def test_S20_what_the_record_lists_and_is_lost_is_named(words, lost, tmp_path):
    folder = make_photos(tmp_path / "in", 2)
    extract(folder, tmp_path / "out", *words)
    path = tmp_path / "out" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    line = refusal_of(TOOL, "inspect", tmp_path / "out", "--preview", "0", "--quiet")
    assert "1 problems: " in line
    assert f"{lost}: is missing" in line or "geometry: 1 file for 2 photos" in line
    assert "Errno" not in line


def test_S3_photos_whose_paths_are_alike_once_flat_have_a_geometry_each(tmp_path):
    for index, name in enumerate(("sub/c.jpg", "sub__c.jpg")):
        write(tmp_path / "in" / name, photo(index))
    words = (*SQUARE, "--keep_folder")
    extract(tmp_path / "in", tmp_path / "out", *words)
    assert len(list((tmp_path / "out" / "geometry").iterdir())) == 2
    next((tmp_path / "out" / "sub").glob("c~*.png")).unlink()
    assert extract(tmp_path / "in", tmp_path / "out", *words)["already_there"] == 1


def test_S8_a_list_of_tiles_that_is_there_follows_them(tmp_path):
    folder, words = make_photos(tmp_path / "in", 1), (*SINGLE, "--naming", "basicsr")
    extract(folder, tmp_path / "out", *words, "--meta_info")
    make_photos(folder, 2)
    results = extract(folder, tmp_path / "out", *words)
    lines = (tmp_path / "out" / "meta_info.txt").read_text().splitlines()
    assert len(lines) == results["tiles"] == len(list((tmp_path / "out").glob("*.jpg")))
    extract(folder, tmp_path / "other", *words)
    (tmp_path / "other" / "meta_info.txt").write_text("mine")
    line = refuse(folder, tmp_path / "other", *words, "--meta_info")
    assert "is in the way: no record says what wrote it. Choose another folder, or move it away." in line


@pytest.mark.parametrize("words", [SINGLE, SQUARE, (*SINGLE, "--naming", "original")])
def test_S9_flat_tiles_of_a_photo_that_is_gone_are_named(words, tmp_path):
    folder = make_photos(tmp_path / "in", 2)
    extract(folder, tmp_path / "out", *words)
    (folder / "a.jpg").unlink()
    results = extract(folder, tmp_path / "out", *words)
    assert (results["extracted"], results["orphans"]) == (1, ["a"])
    make_photos(folder, 2)
    assert extract(folder, tmp_path / "out", *words)["orphans"] == []


def test_S9_a_half_that_loses_its_tiles_loses_its_folder(tmp_path):
    folder, mask = make_photos(tmp_path / "in", 2), np.full((60, 100), 255, np.uint8)
    masks = tmp_path / "masks"
    words = ("--vertical_split", "--square", "none", "--use_masking", "--mask_path", masks)
    write(masks / "a.jpg.png", mask)
    assert extract(folder, tmp_path / "out", *words)["chunks"] == 4
    mask[:, :50] = 0
    write(masks / "a.jpg.png", mask)
    results = extract(folder, tmp_path / "out", *words)
    extract(folder, tmp_path / "fresh", *words)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")
    assert results["orphans"] == []


def test_S8_a_partner_that_is_gone_takes_its_tiles_with_it(tmp_path):
    pair(tmp_path)
    (tmp_path / "low" / "1.png").unlink()
    words = pairs(tmp_path, 0)
    results = results_of(TOOL, *words, "--save_folder", tmp_path / "out")
    assert results["skipped"] == {"no partner": 1}
    results_of(TOOL, *words, "--save_folder", tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_S8_two_photos_that_could_be_the_partner_are_refused(tmp_path):
    words = (*pairs(tmp_path), "--save_folder", tmp_path / "out", "--quiet")
    write(tmp_path / "low" / "1.jpg", photo(7, 64, 96))
    assert call(*words).status == 0  # the same name goes first
    (tmp_path / "high" / "1.png").rename(tmp_path / "high" / "1.webp")
    assert "1.jpg and 1.png in" in refusal_of(TOOL, *words)


def test_S5_a_folder_of_partners_that_cannot_be_listed_is_refused(tmp_path, monkeypatch):
    words, plain = (*pairs(tmp_path), "--save_folder", tmp_path / "out", "--quiet"), os.scandir
    (tmp_path / "low" / "locked").mkdir()

    def scandir(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert "low/locked: this folder cannot be read. Check the permissions." in refusal_of(TOOL, *words)


def test_S1_a_picture_takes_the_place_of_no_other_file(own_folder):
    """--output of `items` and `inspect`: not of the configuration that is read, of a tile, or among the images."""
    extract(make_photos(own_folder / "in", 1), "out")
    (own_folder / "train.json").write_text(
        '{"datasets": {"a": {"mode": "single_image_extensible", "paths": "out", "target_size": 32, "scale": 1}, '
        '"b": {"mode": "imagefolder", "paths": "in", "scale": 1, "target_size": 32}}}')
    before = contents(own_folder, without=("genprobe_index.json",))
    for words, told in ((("items", "train.json", "--output", "train.json"), "is in the way: this file is not a PNG"),
                        (("items", "train.json", "--output", "in"), "this is a folder"),
                        (("items", "train.json", "--block", "b", "--output", "in/new.png"), "lies in in, where it"),
                        (("inspect", "out", "--output", "train.json"), "is in the way: this file is not a PNG"),
                        (("inspect", "out", "--output", "out/a_left/new.png"), "is a part of the data set")):
        assert told in refusal_of(TOOL, *words, "--quiet")
    assert contents(own_folder, without=("genprobe_index.json",)) == before
    for _ in range(2):
        assert call("items", "train.json", "--output", "out/items.png", "--num", "1", "--quiet").status == 0


def test_S18_a_chunk_behind_a_link_is_made_again(tmp_path):
    folder = make_photos(tmp_path / "in", 1)
    extract(folder, tmp_path / "out")
    whole = contents(tmp_path / "out")
    (tmp_path / "out" / "a_left").rename(tmp_path / "elsewhere")
    (tmp_path / "out" / "a_left").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "00000002.jpg").unlink()
    extract(folder, tmp_path / "out")
    assert contents(tmp_path / "out") == whole
    assert (tmp_path / "elsewhere" / "00000001.jpg").exists()


def test_S3_a_reader_tells_of_a_lost_shard(tmp_path):
    for index in range(3):
        write(tmp_path / "in" / f"{index}.png", photo(index, 400, 400))
    extract(tmp_path / "in", tmp_path / "out", "--layout", "packed", "--format", "png", "--step", "16", "16",
            "--shard_mb", "1")
    (tmp_path / "out" / "shard-000001.tar").unlink()
    with pytest.warns(UserWarning, match="shard-000001 is missing"):
        create_dataset({"mode": "single_image_extensible", "paths": str(tmp_path / "out"), "target_size": 32,
                        "scale": 1})


def test_S17_a_pipe_for_a_mask_or_a_tile_is_not_waited_for(tmp_path):
    folder = make_photos(tmp_path / "in", 2)
    (tmp_path / "masks").mkdir()
    os.mkfifo(tmp_path / "masks" / "a.jpg.png")
    with seconds():
        results = extract(folder, tmp_path / "out", "--use_masking", "--mask_path", tmp_path / "masks")
        assert results["skipped"] == {"unreadable mask": 1}
        os.mkfifo(tmp_path / "out" / "b_left" / "00009999.jpg")
        line = refusal_of(TOOL, "inspect", tmp_path / "out", "--preview", "0", "--quiet")
    assert "00009999.jpg: cannot be read (a pipe, socket or device, a file was expected)" in line
    assert "b.jpg" not in refuse(tmp_path / "in" / "none", tmp_path / "x")
