"""Rows of .npz files: the same as numpy's own reading, in blocks and by slices, with damage found."""

import io
import os
import zipfile

import numpy as np
import pytest

from common.errors import InputError
from common.files import write_npz
from common.formats.npz import NpzRows, iterate_npz_rows, npz_names, npz_place, npz_shape, write_npz_rows
from common.formats.rows import FileRows

ROWS = np.random.default_rng(0).standard_normal((1000, 3, 2)).astype(np.float32)


@pytest.fixture(params=["plain", "compressed", "ours"])
def stored(tmp_path, request):
    path = tmp_path / "rows.npz"
    if request.param == "ours":
        write_npz(path, other=np.arange(5), rows=ROWS)
    else:
        {"plain": np.savez, "compressed": np.savez_compressed}[request.param](path, other=np.arange(5), rows=ROWS)
    return path


def test_blocks_are_the_rows_in_order(stored):
    blocks = list(iterate_npz_rows(stored, "rows", 300))
    assert [len(block) for block in blocks] == [300, 300, 300, 100]
    np.testing.assert_array_equal(np.concatenate(blocks), ROWS)
    assert npz_shape(stored, "rows") == (ROWS.shape, ROWS.dtype)
    assert sorted(npz_names(stored)) == ["other", "rows"]


def lying(path, rows):
    """Write an .npz whose array `rows` has 8 rows of 4 numbers and a header that says `rows`; another one follows."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (rows, 4)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rows.npy", header.getvalue() + np.arange(32, dtype=np.float32).tobytes())
        archive.writestr("other.npy", header.getvalue() + bytes(200))


@pytest.mark.parametrize("rows", [6, 9, 10])
def test_a_header_that_says_other_rows_than_there_are_is_refused(rows, tmp_path):
    """Two rows more would be read from the next array: they are shorter than the header."""
    path = tmp_path / "lying.npz"
    lying(path, 8)
    with NpzRows(path, "rows") as right:
        np.testing.assert_array_equal(right[:], np.arange(32, dtype=np.float32).reshape(8, 4))
    lying(path, rows)
    for read in (lambda: NpzRows(path, "rows"), lambda: npz_place(path, "rows"), lambda: npz_shape(path, "rows"),
                 lambda: list(iterate_npz_rows(path, "rows"))):
        with pytest.raises(InputError, match=r"lying.npz: .*an array float32 .* has 128 "):
            read()


@pytest.mark.parametrize(("change", "told"), [(-4, "has 7,996 of 8,000 bytes"), (4, "has 8,004 bytes")])
def test_rows_of_a_npy_of_another_length_than_its_header_says_are_refused(change, told, tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, ROWS[:, 0])
    np.testing.assert_array_equal(FileRows(path)[5:7], ROWS[5:7, 0])
    os.truncate(path, path.stat().st_size + change)
    with pytest.raises(InputError, match=f"rows.npy: cannot be read as a .npy array .*{told}"):
        FileRows(path)


def test_slices_are_the_rows(stored):
    with NpzRows(stored, "rows") as rows:
        for part in (slice(0, 10), slice(995, 2000), slice(400, 400), slice(-3, None), slice(10, 20)):
            np.testing.assert_array_equal(rows[part], ROWS[part])
    with NpzRows(stored, "rows", limit=100) as rows:
        assert rows.shape == (100, 3, 2)
        np.testing.assert_array_equal(rows[90:], ROWS[90:100])


def test_rows_written_in_blocks_read_back_with_numpy(tmp_path):
    paths = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for path, size in zip(paths, (7, 400)):
        blocks = (ROWS[start : start + size] for start in range(0, 1000, size))
        write_npz_rows(path, "rows", ROWS.shape, np.float32, blocks, kind=np.array("some text"))
    with np.load(paths[0]) as archive:
        np.testing.assert_array_equal(archive["rows"], ROWS)
        assert str(archive["kind"]) == "some text"
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_failed_writer_leaves_nothing(tmp_path):
    def blocks():
        yield ROWS[:10]
        raise InputError("a broken image")

    with pytest.raises(InputError):
        write_npz_rows(tmp_path / "a.npz", "rows", ROWS.shape, np.float32, blocks())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["truncated", "flipped", "foreign", "empty"])
def test_damage_is_an_input_error(stored, damage):
    data = bytearray(stored.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 255
    stored.write_bytes({"truncated": data[: len(data) // 2], "flipped": data, "foreign": b"PNG" * 50,
                        "empty": b""}[damage])
    with pytest.raises(InputError, match="rows.npz"):
        list(iterate_npz_rows(stored, "rows"))


def test_missing_arrays_and_objects_are_named(stored, tmp_path):
    with pytest.raises(InputError, match="'pool_3' is not in the file, which has other, rows"):
        npz_shape(stored, "pool_3")
    with pytest.raises(InputError, match="no such file"):
        npz_names(tmp_path / "none.npz")
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object), b=np.float32(1),
             c=np.asfortranarray(np.ones((3, 2))))
    for name, what in (("a", "Python objects"), ("b", "one value"), ("c", "columns first")):
        with pytest.raises(InputError, match=what):
            npz_shape(tmp_path / "objects.npz", name)


def test_headers_are_read_in_several_threads_at_once():
    """Python 3.11 parses in one thread at a time; small collections make threads take turns within the parser."""
    import gc
    import io
    import sys
    import threading

    from common.formats.npy import npy_header

    class Cycle:
        def __init__(self):
            self.me = self

        def __del__(self):
            sum(range(50))

    def read():
        for _ in range(400):
            Cycle()
            found.append(npy_header(io.BytesIO(text)))

    stream, found = io.BytesIO(), []
    rows = np.zeros(3, [(f"field_{number}", "f4") for number in range(20)])  # shorter headers are remembered
    np.save(stream, rows)
    text, interval, thresholds = stream.getvalue(), sys.getswitchinterval(), gc.get_threshold()
    threads = [threading.Thread(target=read) for _ in range(6)]
    try:
        sys.setswitchinterval(1e-6)
        gc.set_threshold(20, 2, 2)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)
    assert found == [(rows.shape, False, rows.dtype)] * 2400
