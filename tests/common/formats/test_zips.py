"""Zip archives: whatever is damaged is one InputError, and none unfolds to more than it can honestly hold."""

import io
import struct
import zipfile

import numpy as np
import pytest

from common.datasets.imagenet.tree import ZipFiles
from common.datasets.sets.zip import ZipStore, zip_names
from common.errors import InputError
from common.files import read_npz
from common.formats.checkpoints import load_torch
from common.formats.npz import NpzRows, iterate_npz_rows, npz_place
from common.formats.rows import FileRows
from common.formats.zips import member_start, open_zip, zip_errors


def stored(path, compression=zipfile.ZIP_DEFLATED):
    """Write an archive of two arrays and a picture's name."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name in ("x.npy", "y.npy"):
            stream = io.BytesIO()
            np.save(stream, np.arange(600.0).reshape(100, 6))
            archive.writestr(name, stream.getvalue())
        archive.writestr("a.png", b"picture" * 50)
    return path.read_bytes()


def everything(path):
    """Read an archive as each of its readers does."""
    for read in (lambda: read_npz(path), lambda: list(iterate_npz_rows(path, "x")), lambda: npz_place(path, "y"),
                 lambda: NpzRows(path, "x")[3:7], lambda: [ZipStore(path, [name]).read(0) for name in zip_names(path)],
                 lambda: ZipFiles(path).names(None), lambda: load_torch(path)):
        try:
            read()
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017 - not all damage meets every reader


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_R3_any_damage_is_an_input_error(compression, tmp_path):
    """Every byte of the directory, and some of the rest, changed."""
    path = tmp_path / "a.npz"
    whole = stored(path, compression)
    everything(path)
    directory = whole.index(b"PK\x01\x02")
    rng = np.random.default_rng(0)
    for place in [*range(directory - 100, len(whole), 3), *rng.integers(0, len(whole), 60)]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ int(rng.integers(1, 256))]) + whole[place + 1 :])
        everything(path)


@pytest.mark.parametrize(("field", "value"), [
    (6, struct.pack("<H", 255)),  # version needed: NotImplementedError
    (8, struct.pack("<H", 0x0801)),  # encrypted: RuntimeError
    (42, struct.pack("<I", 0xFFFFFFF0)),  # offset: OSError or BadZipFile
    (46, b"\xff"),  # a name that is not UTF-8: UnicodeDecodeError
])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_R3_fields_that_zipfile_trips_over(compression, field, value, tmp_path):
    path = tmp_path / "a.npz"
    whole = bytearray(stored(path, compression))
    entry = whole.index(b"PK\x01\x02")
    if field == 46:
        whole[entry + 9] |= 8  # names are UTF-8
    whole[entry + field : entry + field + len(value)] = value
    path.write_bytes(whole)
    for read in (lambda: read_npz(path), lambda: list(iterate_npz_rows(path, "x"))):
        with pytest.raises(InputError, match="not a complete .npz file"):
            read()


def test_R6_small_files_do_not_unfold_to_huge_ones(tmp_path):
    """10 GB of zeros in 10 MB; and names that all stand for the same bytes."""
    whole = bytearray(stored(tmp_path / "a.npz"))
    entry = whole.index(b"PK\x01\x02")
    whole[entry + 20 : entry + 28] = struct.pack("<2I", 10 << 20, (4 << 30) - 2)
    (tmp_path / "bomb.npz").write_bytes(whole)
    with pytest.raises(InputError, match="'x.npy' unfolds from 10,485,760 to 4,294,967,294 bytes"):
        read_npz(tmp_path / "bomb.npz")
    whole = stored(tmp_path / "a.npz", zipfile.ZIP_STORED)
    entry, end = whole.index(b"PK\x01\x02"), whole.rindex(b"PK\x05\x06")
    first = whole[entry : whole.index(b"PK\x01\x02", entry + 4)]
    names = [first[:46] + f"{number}.npy".encode() + first[51:] for number in range(5)]
    tail = whole[end : end + 8] + struct.pack("<2H2IH", 5, 5, len(b"".join(names)), entry, 0)
    (tmp_path / "same.npz").write_bytes(whole[:entry] + b"".join(names) + tail)
    with pytest.raises(InputError, match="its members overlap"):
        read_npz(tmp_path / "same.npz")


@pytest.mark.parametrize("header", [b"{'descr': '<f8', 'fortran_order': False, 'shape': (10**12,), }", b"{'descr': (((",
                                    b"{'descr': '<f8', 'fortran_order': False, 'shape': (-3,), }", b"'''",
                                    b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"])
def test_R5_headers_that_are_no_python_or_lie(header, tmp_path):
    header = header.ljust(117) + b"\n"
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(80)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", data)
    (tmp_path / "a.npy").write_bytes(data)
    for read in (lambda: read_npz(tmp_path / "a.npz"), lambda: list(iterate_npz_rows(tmp_path / "a.npz", "x")),
                 lambda: FileRows(tmp_path / "a.npy")):
        with pytest.raises(InputError, match="cannot be read"):
            read()


def test_R3_what_the_system_refuses_keeps_its_own_words(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        open_zip(tmp_path / "none.zip")
    with pytest.raises(InputError, match="no space left"), zip_errors("file"):
        raise OSError(28, "full")
    with pytest.raises(InputError, match="error of the disk"), zip_errors("file"):
        raise OSError(5, "hardware")
    with pytest.raises(OSError, match="no device"), zip_errors("file"):
        raise OSError(19, "no device")


def test_a_member_that_ends_behind_the_file_is_refused(tmp_path):
    stored(tmp_path / "a.npz", zipfile.ZIP_STORED)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        entry, size = archive.getinfo("a.png"), (tmp_path / "a.npz").stat().st_size
        start = member_start(archive.fp, entry)
        entry.compress_size = size - start
        assert member_start(archive.fp, entry) == start
        entry.compress_size += 1
        with pytest.raises(zipfile.BadZipFile, match="ends behind the file"):
            member_start(archive.fp, entry)
