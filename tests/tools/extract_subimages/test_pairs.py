"""Pairs, and what BasicSR's users have beside tiles: low resolution made here, names, meta_info.txt, LMDB."""

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from common.datasets.dlas.options import create_dataloader, create_dataset
from common.errors import InputError
from common.images.imresize import imresize
from tests.tools.commands import ROOT, refusal_of, results_of
from tests.tools.extract_subimages.photos import TOOL, call, contents, photo, read, write
from tools.extract_subimages.tiling import tile_windows

CUT = ("--mode", "pair", "--crop_sz", "48", "--step", "24", "--thres_sz", "0", "--n_thread", "0")
BASICSR = ("--naming", "basicsr")


def photos(folder, count=2):
    """Write `count` photos 0001.png, ..., whose sides are not multiples of 12; returns the folder."""
    for index in range(count):
        write(folder / f"{index + 1:04d}.png", photo(index, 151 + index, 221))
    return folder


def pair(tmp_path, *words, to="out"):
    """Run mode pair on `photos`; returns the results."""
    source = tmp_path / "in"
    if not source.exists():
        photos(source)
    return results_of(TOOL, "--input_folder", source, "--save_folder", tmp_path / to, *CUT, *words)


def test_low_resolution_is_made_by_the_library_s_bicubic_from_the_whole_photo(tmp_path):
    results = pair(tmp_path, "--make_lr", "2", "3", "4", *BASICSR)
    assert results["notes"] == {"cut to a multiple of the scales": 2}
    out, number = tmp_path / "out", 0
    whole = cv2.imread(str(tmp_path / "in/0001.png"))
    whole = whole[: 151 // 12 * 12, : 221 // 12 * 12]
    tops = [*range(0, 144 - 48 + 1, 24)]
    lefts = [*range(0, 216 - 48 + 1, 24)]
    for top in tops:
        for left in lefts:
            number += 1
            tile = f"0001_s{number:03d}.png"
            assert np.array_equal(read(out / "HR" / tile), whole[top : top + 48, left : left + 48])
            for scale in (2, 3, 4):
                low = np.rint(np.clip(imresize(whole, 1 / scale), 0, 255))
                y, x, side = top // scale, left // scale, 48 // scale
                assert np.array_equal(read(out / f"LR/X{scale}" / tile), low[y : y + side, x : x + side])
    assert results["tiles"] == 2 * number * 4
    assert {path.name for path in (out / "HR").iterdir()} == {path.name for path in (out / "LR/X3").iterdir()}
    assert call("inspect", out, "--quiet").status == 0


def test_made_pairs_resume_answer_and_refuse_other_scales(tmp_path):
    pair(tmp_path, "--make_lr", "2", "4", *BASICSR, "--meta_info")
    before = contents(tmp_path / "out")
    assert pair(tmp_path, "--make_lr", "2", "4", *BASICSR, "--meta_info")["tiles"]
    (tmp_path / "out/LR/X4/0002_s003.png").unlink()
    assert pair(tmp_path, "--make_lr", "2", "4", *BASICSR, "--meta_info")["already_there"] == 1
    assert contents(tmp_path / "out") == before
    words = ("--input_folder", tmp_path / "in", "--save_folder", tmp_path / "out", *CUT, "--quiet")
    assert "has make_lr [2, 4], this command has [2]" in refusal_of(TOOL, *words, "--make_lr", "2", *BASICSR)
    assert "has naming basicsr" in refusal_of(TOOL, *words, "--make_lr", "2", "4")
    dry = call(*words[:-1], "--make_lr", "4", "--dry_run", "--save_folder", tmp_path / "new", "--meta_info", "--json")
    count = sum(path.startswith(("HR", "LR/X4")) for path in before)
    assert f"into {count} tiles" in dry.err
    assert "write meta_info.txt" in dry.err
    assert not (tmp_path / "new").exists()


def test_a_killed_run_of_made_pairs_ends_with_the_same_bytes(tmp_path):
    photos(tmp_path / "in", 6)
    pair(tmp_path, "--make_lr", "2", *BASICSR, "--meta_info", to="whole")
    words = ("--input_folder", tmp_path / "in", "--save_folder", tmp_path / "out", *CUT, "--make_lr", "2", *BASICSR)
    process = subprocess.Popen([sys.executable, "-m", f"tools.{TOOL}", *map(str, words), "--quiet"], cwd=ROOT)
    while process.poll() is None and not (tmp_path / "out/HR").exists():
        pass
    process.kill()
    process.wait()
    pair(tmp_path, "--make_lr", "2", *BASICSR, "--meta_info")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_grey_photos_give_grey_pairs(tmp_path):
    write(tmp_path / "in/a.png", photo(0)[..., 0])
    pair(tmp_path, "--make_lr", "3", "--meta_info", *BASICSR)
    assert read(tmp_path / "out/LR/X3/a_s001.png").shape == (16, 16)
    assert (tmp_path / "out/meta_info.txt").read_text().splitlines()[0] == "a_s001.png (48,48,1)"


def test_pairs_off_by_a_rounding_are_cut_and_others_skipped(tmp_path):
    write(tmp_path / "in/down.png", photo(0, 151, 221))  # 75 x 110
    write(tmp_path / "in/up.png", photo(1, 151, 221))  # 76 x 111
    write(tmp_path / "in/off.png", photo(2, 151, 221))
    for name, size in (("down", (75, 110)), ("up", (76, 111)), ("off", (77, 110))):
        write(tmp_path / f"low/{name}.png", photo(3, *size))
    words = ("--pair_folder", tmp_path / "low", "--pair_scale", "2")
    refused = refusal_of(TOOL, "--input_folder", tmp_path / "in", "--save_folder", tmp_path / "none", *CUT, *words,
                         "--quiet")
    assert "151x221 is not 2 times" in refused
    assert not (tmp_path / "none").exists()
    results = pair(tmp_path, *words, "--mod_crop")
    assert (results["extracted"], results["skipped"]) == (2, {"sizes do not fit": 1})
    assert results["notes"] == {"cut to a multiple of the scales": 2}
    high = [path for path in (tmp_path / "out/HR").iterdir() if path.name.startswith("up")]
    assert len(high) == len(tile_windows((150, 220), 48, 24, 0))
    assert np.array_equal(read(tmp_path / "out/LR" / "up.png_s001.png"), photo(3, 76, 111)[:24, :24])


@pytest.mark.parametrize(("words", "told"), [
    (("--mode", "pair", "--make_lr", "2", "--pair_folder", "low"), "--pair_folder: has no effect"),
    (("--mode", "pair", "--make_lr", "2", "--pair_scale", "2"), "--pair_scale: has no effect"),
    (("--mode", "pair", "--make_lr", "2", "--mod_crop"), "--mod_crop: has no effect"),
    (("--mode", "pair", "--make_lr", "7"), "480 is not a multiple of --make_lr 7"),
    (("--mode", "pair", "--make_lr", "2", "2"), "a scale is given twice"),
    (("--mode", "pair", "--make_lr", "1"), "must be at least 2"),
    (("--mode", "single", "--make_lr", "2"), "--make_lr: acts on --mode pair, which is not asked for"),
    (("--mode", "single", "--pair_scale", "2"), "--pair_scale: acts on --mode pair, which is not asked for"),
    (("--mod_crop",), "--mod_crop: acts on --mode pair, which is not asked for"),
    (("--mode", "square", *BASICSR), "--naming basicsr: mode square has no such names"),
    (("--mode", "single", "--vertical_split", *BASICSR), "the halves of a photo would have the same names"),
    (("--meta_info",), "--meta_info: only the modes"),
    (("--mode", "single", "--lmdb"), "--lmdb: its keys are names up to the first dot"),
    (("--shuffle",), "--shuffle: layout folders has no shards"),
    (("--mode", "single", "--exclusions", "x"), "--exclusions: acts on --mode multiscale, which"),
    (("--mode", "single", "--use_masking", "--mask_path", "."), "--use_masking: acts on --mode multiscale, which"),
    (("--mode", "pair", "--make_lr", "2", "--square", "none"), "--square: acts on --mode multiscale, which"),
    (("--mode", "square", "--vertical_split"), "add --mode multiscale or single"),
    (("--imgsize", "9", "9"), "--imgsize: acts on --mode square, which is not asked for. Leave it out, or"),
    (("--bottom_crop", "0.5"), "--bottom_crop: acts on --mode square"),
    (("--exclusions", '["a"', "b"), '--exclusions: no JSON list: ["a"'),
    (("--resize_final_img", "nan", "1"), "--resize_final_img: crop 256, factor nan"),
    (("--resize_final_img", "inf", "1"), "tiles have at most 65,500 pixels a side"),
    (("--layout", "packed", "--seed", "3"), "--seed: acts on --shuffle, which is not asked for"),
])
def test_flags_without_effect_are_refused(words, told, tmp_path):
    photos(tmp_path / "in", 1)
    assert told in refusal_of(TOOL, "--input_folder", tmp_path / "in", "--save_folder", tmp_path / "out", "--quiet",
                              *words)
    assert not (tmp_path / "out").exists()


def test_what_has_no_effect_is_noted_and_may_stand_in_an_options_file(tmp_path):
    """The original's dictionaries have entries that are of no use beside others."""
    source = photos(tmp_path / "in", 1)
    words = ("--mode", "square", "--imgsize", "8", "8", "--input_folder", source, "--n_thread", "0")
    ended = call(*words, "--save_folder", tmp_path / "a", "--crop_sz", "9", "--mask_path", source)
    assert ended.status == 0
    assert "--crop_sz (acts on tiles, which mode square does not cut)" in ended.err
    assert "--mask_path (acts on --use_masking)" in ended.err
    (tmp_path / "a.yml").write_text("exclusions: [[x]]\nsplit_img: true\nstep: 5\nmask_path: /nowhere\n")
    ended = call(*words, "--save_folder", tmp_path / "b", "--options", tmp_path / "a.yml")
    assert (ended.status, "without effect" in ended.err) == (0, False)
    too_small = refusal_of(TOOL, *words, "--save_folder", tmp_path / "c", "--min_size", "200", "--quiet")
    assert "too small, such as 0001.png (151x221, the smaller side must be at least 200)" in too_small


def test_names_are_the_published_ones_and_doubles_are_refused(tmp_path):
    source = photos(tmp_path / "in", 1)
    words = ("--mode", "single", "--input_folder", source, "--crop_sz", "96", "--step", "48", "--thres_sz", "0",
             "--resize_final_img", "1", "--min_size", "0", "--format", "png", "--n_thread", "0", *BASICSR)
    results_of(TOOL, *words, "--save_folder", tmp_path / "out", "--meta_info")
    listed = (tmp_path / "out/meta_info.txt").read_text().splitlines()
    assert listed == [f"0001_s{number:03d}.png (96,96,3)" for number in range(1, 13)]
    assert all((tmp_path / "out" / line.split(" ")[0]).exists() for line in listed)
    assert call("inspect", tmp_path / "out", "--quiet").status == 0
    write(source / "b/0001.jpg", photo(5))
    told = refusal_of(TOOL, *words, "--save_folder", tmp_path / "two", "--quiet")
    assert "b/0001.jpg: this photo and 0001.png would give the same names" in told
    (source / "b/0001.jpg").rename(source / "b/two words.jpg")
    assert "--meta_info: b/two words.jpg: a blank in the name" in refusal_of(
        TOOL, *words, "--save_folder", tmp_path / "two", "--quiet", "--meta_info")


@pytest.mark.parametrize(("name", "told"), [("two words.jpg", "a blank in the name"), ("a\nb.jpg", "a blank in the"),
                                            (b"\xff.jpg", "a name that is not UTF-8")])
def test_S16_names_that_a_list_cannot_hold_are_refused(name, told, tmp_path):
    source = photos(tmp_path / "in", 1)
    os.rename(source / "0001.png", os.path.join(source, os.fsdecode(name)))
    for more in (BASICSR, ()):
        line = refusal_of(TOOL, "--mode", "single", "--input_folder", source, "--save_folder", tmp_path / "out",
                          "--min_size", "0", "--n_thread", "0", "--quiet", "--meta_info", *more)
        assert told in line
    assert not (tmp_path / "out").exists()


def test_lmdb_without_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lmdb", None)
    words = ("--input_folder", photos(tmp_path / "in", 1), "--save_folder", tmp_path / "out", *CUT, "--make_lr", "2")
    assert "--lmdb: the package 'lmdb' is not installed" in refusal_of(TOOL, *words, "--lmdb", *BASICSR, "--quiet")
    (tmp_path / "x.lmdb").mkdir()
    (tmp_path / "x.lmdb/data.mdb").write_bytes(bytes(8192))
    (tmp_path / "x.lmdb/meta_info.txt").write_text("a_s001.png (48,48,3) 1\n")
    data = create_dataset({"mode": "imagefolder", "paths": str(tmp_path / "x.lmdb"), "scale": 1})
    with pytest.raises(InputError, match="the package 'lmdb' is not installed"):
        data[0]


def test_tiles_go_into_an_lmdb_of_basicsr_and_come_out_again(tmp_path):
    lmdb = pytest.importorskip("lmdb")
    pair(tmp_path, "--make_lr", "2", "4", "--lmdb", *BASICSR)
    out = tmp_path / "out"
    assert sorted(path.name for path in out.glob("*.lmdb")) == ["HR.lmdb", "LR_X2.lmdb", "LR_X4.lmdb"]
    lines = (out / "LR_X4.lmdb/meta_info.txt").read_text().splitlines()
    assert lines[0] == "0001_s001.png (12,12,3) 3"
    with lmdb.open(str(out / "LR_X4.lmdb"), readonly=True, lock=False) as base, base.begin() as reader:
        assert reader.stat()["entries"] == len(lines)
        for line in lines:
            key = line.split(".")[0]
            assert reader.get(key.encode()) == (out / f"LR/X4/{key}.png").read_bytes()
    before = (out / "HR.lmdb/data.mdb").read_bytes()
    (out / "HR/0001_s001.png").unlink()
    pair(tmp_path, "--make_lr", "2", "4", "--lmdb", *BASICSR)
    assert (out / "HR.lmdb/data.mdb").read_bytes() == before
    for mode, key in (("imagefolder", "paths"), ("multiscale", "paths"), ("stylegan2", "path"),
                      ("fullimage", "dataroot_GT")):
        options = {"mode": mode, "scale": 1, "disable_flip": True, "hq_tile_size": 6, "num_scales": 2,
                   "target_size": 48, "aug_prob": 0, key: str(out / "HR.lmdb")}
        found, files = create_dataset(options), create_dataset({**options, key: str(out / "HR")})
        assert len(found) == len(files) == len(lines)
        assert np.array_equal(found[3]["hq"].numpy(), files[3]["hq"].numpy())
    options = {"mode": "imagefolder", "scale": 1, "disable_flip": True, "paths": str(out / "HR.lmdb"), "phase": "val",
               "n_workers_eval": 2, "skip_lq": True}
    loaded = [batch["HQ_path"][0] for batch in create_dataloader(create_dataset(options), options)]
    assert loaded == [str(out / "HR.lmdb" / line.split(" ")[0]) for line in lines]
    assert call("inspect", out, "--quiet").status == 0
    (out / "HR.lmdb/data.mdb").unlink()
    (out / "HR.lmdb/data.mdb").write_bytes(before[: len(before) // 2])
    with pytest.raises(InputError, match="truncated"):
        create_dataset({"mode": "imagefolder", "paths": str(out / "HR.lmdb"), "scale": 1})[0]
