"""Whose files are whose: what lies in the folder of a data set and no record of it lists is never removed or replaced,
and what is listed is there when a run ends well."""

import json
import shutil
import subprocess
import sys
import tarfile

import pytest

from common.locks import lock_file
from tests.tools.commands import ROOT, call_tool, environment, refusal_of, results_of
from tests.tools.extract_subimages.photos import SMALL, TOOL, contents, extract, make_photos, photo, refuse, write

SINGLE = ("--mode", "single", "--crop_sz", "64", "--step", "32", "--resize_final_img", "1")
PAIR = ("--mode", "pair", "--crop_sz", "64", "--step", "64", "--pair_scale", "2", "--n_thread", "0")


def pairs(place, count=2):
    """Write `count` photos and their halves; returns the words that name them."""
    for index in range(count):
        write(place / "high" / f"{index}.png", photo(index, 128, 192))
        write(place / "low" / f"{index}.png", photo(index, 64, 96))
    return ("--input_folder", place / "high", "--pair_folder", place / "low", *PAIR)


def pair(place, *words):
    """Run mode pair on `pairs`, into place / out; returns its results."""
    return results_of(TOOL, *pairs(place), "--save_folder", place / "out", *words)


def foreign_files(folder):
    """Put files of names that the tool uses, or might, into a folder; returns their contents."""
    names = ("HR/mine.png", "LR/mine.png", "geometry/mine.jsonl", "shard-000007.tar", "shard-000007.jsonl",
             "mine_s001.png", "a_l00000_s999.jpg", "cache.pth", "inspect.png", "mine_left/centers.pt", "notes.txt",
             "a_left/notes.txt")
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b'{"mine": 1}\n')
    return dict.fromkeys(names, b'{"mine": 1}\n')


def run(place, words):
    """Run the tool with what each mode needs."""
    if "pair" in words:
        return pair(place, *words[2:])
    return extract(make_photos(place / "in", 2), place / "out", *words)


@pytest.mark.parametrize("words", [(), SINGLE, ("--mode", "pair"), ("--mode", "square"), ("--layout", "packed"),
                                   ("--layout", "parquet"), ("--layout", "virtual"), ("--naming", "original")])
def test_S1_overwrite_removes_what_the_record_lists_and_no_more(words, tmp_path):
    run(tmp_path, words)
    fresh = contents(tmp_path / "out")
    mine = foreign_files(tmp_path / "out")
    run(tmp_path, (*words, "--overwrite"))
    assert {name: (tmp_path / "out" / name).read_bytes() for name in mine} == mine
    assert {name: value for name, value in contents(tmp_path / "out").items() if name not in mine} == fresh
    if "pair" not in words:
        extract(tmp_path / "in", tmp_path / "out", "--mode", "square", "--imgsize", "8", "8", "--overwrite")
        assert {name for name in contents(tmp_path / "out") if name not in mine} == {
            "a.png", "b.png", "geometry/a.jsonl", "geometry/b.jsonl", "skipped.csv"}


def test_S1_an_input_among_the_outputs_is_refused(tmp_path):
    pairs(tmp_path)
    (tmp_path / "z").mkdir()
    shutil.copytree(tmp_path / "high", tmp_path / "z" / "HR")
    shutil.copytree(tmp_path / "low", tmp_path / "z" / "LR")
    before = contents(tmp_path / "z")
    words = ("--input_folder", tmp_path / "z" / "HR", "--pair_folder", tmp_path / "z" / "LR", *PAIR)
    for more in ((), ("--overwrite",), ("--overwrite", "--dry_run")):
        assert "lies among the outputs" in refusal_of(TOOL, *words, "--save_folder", tmp_path / "z", *more)
    masks = ("--use_masking", "--mask_path", tmp_path / "z" / "LR")
    assert "lies among the outputs" in refuse(tmp_path / "high", tmp_path / "z", *masks)
    assert "holds HR, and no record says" in refuse(tmp_path / "high", tmp_path / "z", "--overwrite")
    assert contents(tmp_path / "z") == before


def test_S1_a_dry_run_lists_what_would_go(tmp_path):
    extract(make_photos(tmp_path / "in", 2), tmp_path / "out")
    mine, before = foreign_files(tmp_path / "out"), contents(tmp_path / "out")
    ended = call_tool(TOOL, "--input_folder", tmp_path / "in", "--save_folder", tmp_path / "out", *SMALL, "--overwrite",
                      "--dry_run")
    listed = {line.partition("would remove ")[2] for line in ended.err.splitlines() if "would remove" in line}
    assert f"{tmp_path / 'out' / 'b_left'}" in listed
    assert f"{tmp_path / 'out' / 'a_left' / 'ref.jpg'}" in listed
    assert not listed & {str(tmp_path / "out" / name) for name in mine}
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize(("words", "name"), [((), "c_left/mine.png"), (("--mode", "square"), "c.png"),
                                             (SINGLE, "c_l00000_s001.jpg")])
def test_S1_a_new_output_never_takes_the_place_of_a_foreign_file(words, name, tmp_path):
    folder = make_photos(tmp_path / "in", 2)
    extract(folder, tmp_path / "out", *words)
    (tmp_path / "out" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "out" / name).write_bytes(b"mine")
    make_photos(folder, 3)
    assert "is in the way: no record of this data set lists it" in refuse(folder, tmp_path / "out", *words)
    assert (tmp_path / "out" / name).read_bytes() == b"mine"
    (tmp_path / "out" / name).unlink()
    assert extract(folder, tmp_path / "out", *words)["extracted"] == 3


@pytest.mark.parametrize(("record", "line"), [
    ({"tool": "compute_fid", "command": "compute_fid", "options": {}, "status": "done"}, "outputs of compute_fid"),
    ({"mine": 1}, "not the record of a run")])
def test_S2_another_tools_record_is_refused(record, line, tmp_path):
    folder = make_photos(tmp_path / "in", 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text(json.dumps(record))
    (tmp_path / "out" / "HR").mkdir()
    before = contents(tmp_path / "out", without=())
    for words in ((), ("--overwrite",), ("--mode", "square", "--overwrite"), ("--layout", "packed", "--dry_run")):
        assert line in refuse(folder, tmp_path / "out", *words)
    assert contents(tmp_path / "out", without=()) == before


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """A packed set and one in parquet, each of three shards, and their photos."""
    place = tmp_path_factory.mktemp("shards")
    for index, name in enumerate("abc"):
        write(place / "in" / f"{name}.png", photo(index, 400, 400))
    for layout in ("packed", "parquet"):
        extract(place / "in", place / layout, *packing(layout))
    return place


def packing(layout):
    """Return the words that make a shard of each photo."""
    return ("--layout", layout, "--format", "png", "--step", "16", "16", "--shard_mb", "1")


def cut(path):
    path.write_bytes(path.read_bytes()[:-1500])


@pytest.mark.parametrize("layout", ["packed", "parquet"])
@pytest.mark.parametrize("damage", [lambda path: path.unlink(), cut, lambda path: cut(path.with_suffix(".jsonl")),
                                    lambda path: path.with_suffix(".jsonl").unlink()])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_S3_a_lost_or_damaged_shard_is_made_again(number, damage, layout, shards, tmp_path):
    shutil.copytree(shards / layout, tmp_path / "out")
    whole = contents(tmp_path / "out")
    path = sorted((tmp_path / "out").glob("shard-*[rt]"))[number]
    assert path.suffix == {"packed": ".tar", "parquet": ".parquet"}[layout]
    damage(path)
    results = extract(shards / "in", tmp_path / "out", *packing(layout))
    assert results["extracted"] == 3
    assert contents(tmp_path / "out") == whole


def test_S4_two_runs_at_once_one_is_refused(tmp_path):
    folder = make_photos(tmp_path / "in", 2)
    (tmp_path / "out").mkdir()
    held = lock_file(tmp_path / "out" / ".run.json.lock", tmp_path / "out")
    assert "another process is writing into this folder" in refuse(folder, tmp_path / "out")
    held.close()
    extract(folder, tmp_path / "fresh")
    command = [sys.executable, "-m", f"tools.{TOOL}", "--input_folder", folder, "--save_folder", tmp_path / "out",
               *SMALL, "--quiet"]
    both = [subprocess.Popen([*map(str, command)], cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True)
            for _ in range(2)]
    ended = [(process.communicate()[1], process.returncode) for process in both]
    assert any(status == 0 for _, status in ended)
    assert all(status == 0 or "another process is writing" in line for line, status in ended)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_S9_flat_tiles_of_a_photo_that_shrank_or_broke_go(tmp_path):
    folder = make_photos(tmp_path / "in", 2)
    for words in (SINGLE, ("--mode", "square", "--imgsize", "32", "32")):
        out = tmp_path / words[1]
        make_photos(folder, 2)
        extract(folder, out, *words)
        write(folder / "a.jpg", photo(0, 80, 90))
        results = extract(folder, out, *words)
        extract(folder, tmp_path / f"fresh_{words[1]}", *words)
        assert contents(out) == contents(tmp_path / f"fresh_{words[1]}")
        assert results["tiles"] == len([path for path in out.iterdir() if path.suffix in (".jpg", ".png")])
        (folder / "a.jpg").write_bytes(b"no photo any more")
        extract(folder, out, *words)
        assert not list(out.glob("a*"))
        assert list(out.glob("b*"))


def test_S15_references_are_no_samples(shards, tmp_path):
    """What webdataset yields: it passes over names that begin with `__x__/`, and groups by all before the first dot."""
    import re

    import pyarrow.parquet

    samples = {}
    with tarfile.open(shards / "packed" / "shard-000000.tar") as archive:
        for name in archive.getnames():
            if not re.match(r"__[^/]*__($|/)", name):
                key, ending = re.match(r"^((?:.*/|)[^.]+)[.]([^/]*)$", name).groups()
                samples.setdefault(key, set()).add(ending)
    assert len(samples) > 100
    assert set(map(frozenset, samples.values())) == {frozenset({"png", "json"})}
    rows = pyarrow.parquet.read_table(shards / "parquet" / "shard-000000.parquet").to_pylist()
    assert len(rows) == len(samples)
    assert all(row["id"] is not None for row in rows)
    assert sum(row["reference"] is not None for row in rows) == 1


@pytest.mark.parametrize("words", [(), SINGLE, ("--layout", "virtual")])
def test_S18_a_tile_that_was_cut_short_is_made_again(words, tmp_path):
    folder = make_photos(tmp_path / "in", 2)
    extract(folder, tmp_path / "out", *words)
    whole = contents(tmp_path / "out")
    for length in (0, 300):
        path = sorted(path for path in (tmp_path / "out").rglob("*.jpg") if path.name != "ref.jpg")[1]
        path.write_bytes(path.read_bytes()[:length])
        extract(folder, tmp_path / "out", *words)
        assert contents(tmp_path / "out") == whole
