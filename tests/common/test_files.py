"""A file under its final name is complete, and what the system refuses is told in one line."""

import errno
import json
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from common import files
from common.errors import InputError, as_input_error

WRITERS = {
    "bytes": lambda path: files.write_bytes(path, b"new" * 1000),
    "json": lambda path: files.write_json(path, {"a": 1}),
    "npz": lambda path: files.write_npz(path, x=np.arange(100_000)),
    "png": lambda path: files.write_png(path, np.zeros((8, 8, 3), np.uint8)),
}


def listing(folder):
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("kind", WRITERS)
def test_a_write_leaves_the_file_and_nothing_else(kind, tmp_path):
    WRITERS[kind](tmp_path / "new" / "out")
    assert listing(tmp_path / "new") == ["out"]


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_keeps_the_earlier_file(kind, tmp_path):
    """The temporary file is made to lead to /dev/full, where every write meets ENOSPC."""
    path = tmp_path / "out"
    path.write_bytes(b"earlier")
    (tmp_path / f".out.{os.getpid()}{files.TEMPORARY}").symlink_to("/dev/full")
    with pytest.raises(InputError, match="out: no space left on the disk. Free some space"):
        WRITERS[kind](path)
    assert listing(tmp_path) == ["out"]
    assert path.read_bytes() == b"earlier"


@pytest.mark.parametrize(("number", "said"), [
    (errno.ENOSPC, "no space left"), (errno.EROFS, "read-only file system"), (errno.EACCES, "permission denied"),
    (errno.EDQUOT, "disk quota exceeded"),
])
@pytest.mark.parametrize("kind", WRITERS)
def test_a_refused_rename_keeps_the_earlier_file(kind, number, said, tmp_path, monkeypatch):
    path = tmp_path / "out"
    path.write_bytes(b"earlier")

    def refuse(source, target):
        raise OSError(number, os.strerror(number), str(target))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InputError, match=said):
        WRITERS[kind](path)
    monkeypatch.undo()
    assert listing(tmp_path) == ["out"]
    assert path.read_bytes() == b"earlier"


@pytest.mark.parametrize("cache", [None, "cache"])
def test_a_cache_that_cannot_be_written_says_where_another_is_set(cache, monkeypatch):
    if cache is None:
        monkeypatch.delenv("GENPROBE_CACHE", raising=False)
    else:
        monkeypatch.setenv("GENPROBE_CACHE", cache)
    folder = cache or ".genprobe_cache"
    for place in (folder, f"{folder}/hashes/1.json"):
        error = as_input_error(PermissionError(errno.EACCES, "Permission denied", place))
        assert str(error) == f"{place}: permission denied. Set GENPROBE_CACHE to a folder that you may write to."
    for other in ("out", f"{folder}s/1.json"):
        error = as_input_error(PermissionError(errno.EACCES, "Permission denied", other))
        assert "GENPROBE_CACHE" not in str(error)


def test_a_read_only_place_is_named(tmp_path, monkeypatch):
    def refuse(self, *_, **__):
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(InputError, match="run.json: read-only file system. Choose an output folder"):
        files.write_json(tmp_path / "new" / "run.json", {})
    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(InputError, match="read-only file system"):
        files.check_writable(tmp_path)


def test_a_failure_while_writing_keeps_the_earlier_file(tmp_path):
    path = tmp_path / "out.txt"
    files.write_text(path, "earlier")

    def fail():
        with files.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "earlier"
    assert listing(tmp_path) == ["out.txt"]


def test_an_output_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="a part of the path is a file"):
        files.check_writable(tmp_path / "file" / "run")
    with pytest.raises(InputError):
        files.write_text(tmp_path / "file" / "x", "")


def test_check_writable_leaves_nothing(tmp_path):
    files.check_writable(tmp_path / "a" / "b")
    assert listing(tmp_path) == []


def test_leftovers_go_and_files_stay(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / ".x.npz.123.part").write_text("half")
    (tmp_path / "x.part").write_text("a user's own")
    (tmp_path / ".y.npz.123.part").write_text("half")
    files.remove_leftovers(tmp_path)
    assert listing(tmp_path / "inner") == [".x.npz.123.part"]  # perhaps of another job that is at work there
    files.remove_leftovers(tmp_path, [tmp_path / "inner"])
    assert listing(tmp_path / "inner") == []
    assert listing(tmp_path) == ["inner", "x.part"]


def test_the_same_arrays_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        files.write_npz(tmp_path / f"{name}.npz", x=np.arange(10), y=np.float32(2))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    read = files.read_npz(tmp_path / "a.npz", required=("x",))
    assert list(read) == ["x"]
    assert np.array_equal(read["x"], np.arange(10))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_all_kinds_are_read_as_numpy_reads_them(save, tmp_path):
    arrays = {"number": np.float64(3), "text": np.array("abc"), "none": np.zeros((0, 3), ">f4"),
              "columns": np.asfortranarray(np.arange(12).reshape(3, 4)), "long": np.arange(99999)}
    save(tmp_path / "a.npz", **arrays)
    for _ in range(2):  # the second time headers are known
        read = files.read_npz(tmp_path / "a.npz")
        assert list(read) == list(arrays)
        for name, array in arrays.items():
            assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)
            assert np.array_equal(read[name], array)
            assert read[name].flags.writeable


def test_json_has_no_nan(tmp_path):
    files.write_json(tmp_path / "a.json",
                     {"x": float("nan"), "y": np.float64(2), "z": np.arange(2), "p": tmp_path, 3: {1}})
    read = json.loads((tmp_path / "a.json").read_text())
    assert read == {"x": None, "y": 2.0, "z": [0, 1], "p": str(tmp_path), "3": [1]}


def broken_npz(folder):
    """Yield (name, bytes, what is said) of npz files that cannot be used."""
    files.write_npz(folder / "whole.npz", x=np.arange(1000))
    whole = (folder / "whole.npz").read_bytes()
    np.savez(folder / "objects.npz", x=np.array([{}], dtype=object))
    np.save(folder / "single.npy", np.arange(3))
    yield "truncated", whole[:-40], "not a complete .npz"
    yield "flipped", whole[:90] + bytes([whole[90] ^ 255]) + whole[91:], "cannot be read"
    yield "empty", b"", "cannot be read"
    yield "text", b"hello", "cannot be read"
    yield "objects", (folder / "objects.npz").read_bytes(), "holds Python objects"
    yield "single", (folder / "single.npy").read_bytes(), "single .npy array"
    yield "other", whole, "array 'wanted' is not in the file, which has x"


def test_broken_npz_files_are_named(tmp_path):
    for name, data, said in broken_npz(tmp_path):
        path = tmp_path / f"{name}_case.npz"
        path.write_bytes(data)
        with pytest.raises(InputError, match=said) as caught:
            files.read_npz(path, required=("wanted",) if name == "other" else ("x",))
        assert str(caught.value).startswith(str(path))
    with pytest.raises(InputError, match="no such file"):
        files.read_npz(tmp_path / "none.npz")


def test_broken_json_is_named(tmp_path):
    (tmp_path / "a.json").write_text('{"x": ')
    with pytest.raises(InputError, match="a.json: not valid JSON"):
        files.read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('{"x": 1, "y": [{"deep": 1, "z": 2, "deep": 1}]}')
    with pytest.raises(InputError, match="a.json: not valid JSON .the key 'deep' is repeated"):
        files.read_json(tmp_path / "a.json")


def test_fingerprints_tell_files_apart(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.fingerprint(tmp_path / "a") == {"name": "a", "bytes": 3, "sha256": sha256}
    assert files.fingerprint(tmp_path)["entries"] == 1


def test_a_line_that_a_stopped_run_may_have_added_is_there_once(tmp_path):
    path = tmp_path / "metrics.txt"
    for before, after in (("", "a: 1\nb: 2\n"), ("x\n", "x\na: 1\nb: 2\n"), ("x\na: 1", "x\na: 1\nb: 2\n"),
                          ("a: 1\nb: 2\n", "a: 1\nb: 2\n")):
        path.write_text(before)
        files.append_text(path, "a: 1\nb: 2\n", again=True)
        assert path.read_text() == after
    files.append_text(path, "a: 1\nb: 2\n")
    assert path.read_text() == 2 * "a: 1\nb: 2\n"


def test_what_killed_writes_left_of_a_file_goes_and_nothing_else(tmp_path):
    job = tmp_path / "job"
    mine, others = [".map.csv.7.part", ".map [b].csv.7.part", ".x_1.png.9.part"], [".other.csv.7.part", ".map.csv.part"]
    for name in [*mine, *others]:
        (tmp_path / name).touch()
    job.mkdir()
    (job / ".run.json.3.part").touch()
    files.remove_leftovers(job, names=["../map.csv", str(tmp_path / "map [b].csv"), "../x_*.png", "../gone/x.csv"])
    assert sorted(path.name for path in tmp_path.rglob("*.part")) == sorted(others)


def test_of_a_file_without_a_job_what_living_processes_write_stays(tmp_path):
    for number in (os.getpid(), 2 ** 30):
        (tmp_path / f".page.html.{number}.part").touch()
    files.remove_abandoned(tmp_path / "page.html")
    assert [path.name for path in tmp_path.iterdir()] == [f".page.html.{os.getpid()}.part"]


def reads():
    """Return {who reads what lies in a folder of images: the call that gets the path}."""
    from common.datasets.imagenet.tree import FolderFiles
    from common.datasets.latents import FFHQCorruptedDataset
    from common.images.decode import open_pillow

    return {"tree": lambda path: FolderFiles(path.parent).read(path.name),
            "latents": lambda path: FFHQCorruptedDataset(path.parent, None, None, filelist=[path.name])[0],
            "pillow": open_pillow}


@pytest.mark.parametrize("reader", ["tree", "latents", "pillow"])
def test_S17_a_pipe_among_images_is_not_waited_for(reader, tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    writer = threading.Timer(20, lambda: os.close(os.open(tmp_path / "a.jpg", os.O_WRONLY | os.O_NONBLOCK)))
    writer.daemon = True  # ends a wait, which the time then shows
    writer.start()
    began = time.monotonic()
    try:
        with pytest.raises((InputError, OSError), match="pipe|No such device"):
            reads()[reader](tmp_path / "a.jpg")
    finally:
        writer.cancel()
    assert time.monotonic() - began < 15
