"""`inspect`: whole data sets pass, each kind of damage is named."""

import json
import shutil

import numpy as np
import pytest

from common.datasets.dlas.chunked.centers import centers_bytes, read_centers
from tests.tools.commands import refusal_of, results_of
from tests.tools.extract_subimages.photos import TOOL, extract, make_photos, photo, write


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A data set of three photos."""
    folder = tmp_path_factory.mktemp("whole")
    make_photos(folder / "in", 3)
    extract(folder / "in", folder / "out")
    return folder / "out"


def test_a_whole_data_set(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "out")
    results = results_of(TOOL, "inspect", tmp_path / "out")
    assert (results["folders"], results["tiles"], results["problems"]) == (3, 102, [])
    assert results["sizes"] == {"32x32": 102}
    assert results["scales"] == {"32 px": 75, "64 px": 27}
    assert results["references"] == {"32x32": 3}
    from PIL import Image

    picture = np.asarray(Image.open(results["picture"]))
    assert picture.shape[1] > 1000
    assert picture.std() > 20


def damage_missing(folder):
    (folder / "00000004.jpg").unlink()


def damage_extra(folder):
    shutil.copy(folder / "00000001.jpg", folder / "00000099.jpg")


def damage_truncated(folder):
    path = folder / "00000005.jpg"
    path.write_bytes(path.read_bytes()[:200])


def damage_range(folder):
    (folder / "centers.pt").write_bytes(centers_bytes({**read_centers(folder / "centers.pt"), 3: ((400, 5), 9)}))


def damage_centers(folder):
    (folder / "centers.pt").write_bytes(b"junk")


def damage_no_centers(folder):
    (folder / "centers.pt").unlink()


def damage_reference(folder):
    (folder / "ref.jpg").unlink()


def damage_sidecar(folder):
    path = folder / "geometry.jsonl"
    lines = path.read_text().splitlines()
    tile = json.loads(lines[2])
    lines[2] = json.dumps({**tile, "width": tile["width"] + 1})
    path.write_text("\n".join(lines) + "\n")


def damage_sidecar_cut(folder):
    path = folder / "geometry.jsonl"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")


def damage_size(folder):
    write(folder / "00000002.jpg", photo(0, 16, 16))


@pytest.mark.parametrize(("damage", "told"), [
    (damage_missing, "b_left: tile 00000004 is missing"), (damage_extra, "b_left: tile 00000099 is not in centers.pt"),
    (damage_truncated, "b_left/00000005.jpg: cannot be read"),
    (damage_range, "centre 400, 5 with width 9 of tile 3 lies outside"),
    (damage_centers, "b_left/centers.pt: cannot be"),
    (damage_no_centers, "b_left: centers.pt is missing"),
    (damage_reference, "b_left/ref.jpg: is missing"), (damage_sidecar, "tile 2: centers.pt and the geometry differ"),
    (damage_sidecar_cut, "geometry.jsonl is broken"), (damage_size, "has 16x16, the geometry tells 32x32"),
])
def test_damage_is_named(damage, told, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "out")
    damage(tmp_path / "out" / "b_left")
    assert told in refusal_of(TOOL, "inspect", tmp_path / "out", "--quiet")


def test_a_data_set_of_the_original_has_no_geometry(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "out")
    for path in (tmp_path / "out").rglob("geometry.jsonl"):
        path.unlink()
    results = results_of(TOOL, "inspect", tmp_path / "out", "--preview", "1")
    assert (results["tiles"], results["scales"]) == (102, {})


@pytest.mark.parametrize("layout", ["packed", "parquet", "virtual"])
def test_other_layouts(layout, tmp_path):
    make_photos(tmp_path / "in", 2)
    extract(tmp_path / "in", tmp_path / "out", "--layout", layout, "--preview", "1")
    assert results_of(TOOL, "inspect", tmp_path / "out")["tiles"] == 68
    assert (tmp_path / "out" / "preview.png").stat().st_size > 10_000
    place = next(iter((tmp_path / "out").glob("shard-*.[tp]a*")), tmp_path / "out" / "a_left" / "square.jpg")
    data = bytearray(place.read_bytes())
    place.write_bytes(data[: len(data) // 2])
    assert "cannot be read" in refusal_of(TOOL, "inspect", tmp_path / "out", "--quiet")


def test_nothing_to_look_at(tmp_path):
    assert "no chunk folder" in refusal_of(TOOL, "inspect", tmp_path)
    assert "no such folder" in refusal_of(TOOL, "inspect", tmp_path / "none")


@pytest.mark.parametrize("words", [("--mode", "single"), ("--mode", "square"), ("--mode", "pair")])
def test_S20_the_flat_modes_outputs_are_checked_too(words, tmp_path):
    from tests.tools.extract_subimages.test_ownership import SINGLE, pair

    if "pair" in words:
        results = pair(tmp_path)
    else:
        words = SINGLE if "single" in words else words
        results = extract(make_photos(tmp_path / "in", 2), tmp_path / "out", *words)
    report = results_of(TOOL, "inspect", tmp_path / "out")
    assert (report["tiles"], report["problems"]) == (results["tiles"], [])
    first = sorted(path for path in (tmp_path / "out").rglob("*.*") if path.suffix in (".png", ".jpg"))[0]
    name = first.relative_to(tmp_path / "out").as_posix()
    write(first, photo(0, 5, 7))
    assert f"{name}: has 5x7, the geometry tells" in refusal_of(TOOL, "inspect", tmp_path / "out", "--quiet")
    first.write_bytes(b"")
    assert f"{name}: cannot be read" in refusal_of(TOOL, "inspect", tmp_path / "out", "--quiet")
    first.unlink()
    for more in ((), ("--nodecode",)):
        assert f"{name}: is missing" in refusal_of(TOOL, "inspect", tmp_path / "out", "--quiet", *more)
    (tmp_path / "out" / "geometry" / sorted(path.name for path in (tmp_path / "out" / "geometry").iterdir())[0]) \
        .write_text('{"half')
    assert "is broken" in refusal_of(TOOL, "inspect", tmp_path / "out", "--quiet")


def test_S20_a_read_only_data_set_gets_its_report(whole, monkeypatch):
    from common.errors import InputError
    from tools.extract_subimages import inspection

    def refuse(folder):
        raise InputError("no permission to write", where=folder, do="Choose another place")

    monkeypatch.setattr(inspection, "check_writable", refuse)
    results = results_of(TOOL, "inspect", whole)
    assert results["picture"] is None
    assert results["tiles"] > 0
    assert "no permission to write" in refusal_of(TOOL, "inspect", whole, "--quiet", "--output", whole / "x.png")
