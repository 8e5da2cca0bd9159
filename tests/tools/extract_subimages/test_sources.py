"""Which files are photos, and what is said of those that are none."""

import io
import os

from PIL import Image

from tests.tools.commands import results_of
from tests.tools.extract_subimages.photos import SMALL, TOOL, call, extract, make_photos, photo, write


def test_S5_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    folder = make_photos(tmp_path / "in", 1)
    make_photos(folder / "sub" / "locked", 2)
    plain = os.scandir

    def scandir(path="."):
        if not isinstance(path, int) and os.path.basename(path) == "locked":
            raise PermissionError(13, "Permission denied", path)
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    results = extract(folder, tmp_path / "out")
    assert (results["extracted"], results["skipped"]) == (1, {"unreadable folder": 1})
    assert results["skipped_files"] == ["sub/locked"]
    assert "sub/locked,unreadable folder" in (tmp_path / "out" / "skipped.csv").read_text()


def test_S5_one_unreadable_file_does_not_refuse_a_run_with_dedup(tmp_path, monkeypatch):
    import builtins

    folder = make_photos(tmp_path / "in", 2)
    (folder / "c.jpg").write_bytes((folder / "a.jpg").read_bytes())
    plain = builtins.open

    def locked(path, *words, **more):
        if str(path).endswith("a.jpg"):
            raise PermissionError(13, "Permission denied", path)
        return plain(path, *words, **more)

    monkeypatch.setattr(builtins, "open", locked)
    results = extract(folder, tmp_path / "out", "--dedup")
    assert (results["extracted"], results["skipped"]) == (2, {"unreadable": 1})


def test_S6_images_of_other_names_are_named(tmp_path):
    folder = make_photos(tmp_path / "in", 1)
    names = {}
    for kind in ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "AVIF", "PPM"):
        stream = io.BytesIO()
        Image.fromarray(photo()).save(stream, kind)
        names[f"{kind}.unknown"] = stream.getvalue()
    for name, data in {**names, "no_suffix": names["JPEG.unknown"], "notes.txt": b"no image", "data.csv": b"a,b\n",
                       "model.pt": b"PK\3\4", "BMW.txt": b"BMW is a maker of cars"}.items():
        (folder / name).write_bytes(data)
    results = extract(folder, tmp_path / "out")
    assert results["skipped"] == {"file type not read": 9}
    assert sorted(results["skipped_files"]) == sorted([*names, "no_suffix"])
    assert results["other_files"] == 4


def test_S6_images_of_other_kinds_are_named_by_their_ending_or_their_beginning(tmp_path):
    folder = make_photos(tmp_path / "in", 1)
    named = {"a.tga": b"", "a.ico": b"", "a.pbm": b"", "a.rw2": b"", "p4": b"P4\n8 1\n\0", "p6": b"P6 1 1 255 abc",
             "comment": b"P3#x\n1 1 255 1 2 3", "xcf": b"gimp xcf v011\0", "jxr": b"II\xbc\x01"}
    for name, data in {**named, "Plan.txt": b"P4 is a plan", "P2P.md": b"P2P networks"}.items():
        (folder / name).write_bytes(data)
    results = extract(folder, tmp_path / "out")
    assert sorted(results["skipped_files"]) == sorted(named)
    assert results["skipped"] == {"file type not read": len(named)}


def test_S6_further_pages_are_counted(tmp_path):
    pages = [Image.fromarray(photo(seed)[..., ::-1]) for seed in range(3)]
    (tmp_path / "in").mkdir()
    pages[0].save(tmp_path / "in" / "a.tif", save_all=True, append_images=pages[1:])
    write(tmp_path / "in" / "b.png", photo())
    for _ in range(2):  # again, answered from the geometry
        results = extract(tmp_path / "in", tmp_path / "out")
        assert results["notes"] == {"with further pages or frames, of which the first was taken": 1}
        (tmp_path / "out" / "skipped.csv").unlink()
    ended = call("--input_folder", tmp_path / "in", "--save_folder", tmp_path / "out", *SMALL)
    assert "1 photo with further pages" in ended.err


def test_S17_only_regular_files_are_read(tmp_path):
    folder = make_photos(tmp_path / "in", 1)
    os.mkfifo(folder / "f.jpg")
    os.mkfifo(folder / "g")
    results = extract(folder, tmp_path / "out")
    assert results["skipped"] == {"no regular file": 1}
    assert results["other_files"] == 1


def test_S16_names_that_are_not_utf8_go_into_every_layout(tmp_path):
    folder = make_photos(tmp_path / "in", 2)
    os.rename(os.fsencode(folder / "a.jpg"), os.fsencode(folder) + b"/\xff\xe9.jpg")
    for layout in ("folders", "virtual", "packed", "parquet"):
        results = extract(folder, tmp_path / layout, "--layout", layout)
        assert (results["extracted"], results["tiles"]) == (2, 68)
        assert results_of(TOOL, "inspect", tmp_path / layout, "--preview", "0")["tiles"] == 68
        from common.datasets.dlas.options import create_dataset

        data = create_dataset({"mode": "single_image_extensible", "paths": str(tmp_path / layout), "scale": 2,
                               "target_size": 32, "need_ref": True, "needs_metadata": True})
        assert len([data[index] for index in range(len(data))]) == 68
