"""Rows of arrays in .npz files, a block at a time: memory does not grow with the number of rows.

`np.load` reads a whole array. Here `iterate_npz_rows` streams it once, `NpzRows` reads any rows again and again, and
`write_npz_rows` writes an array whose rows are still being made.
"""

import mmap
import shutil
import tempfile
import zipfile
from contextlib import contextmanager

from common.errors import InputError
from common.files import atomic_path
from common.formats.npy import check_length, npy_header
from common.formats.zips import member_start, open_zip, zip_errors

BROKEN = "cannot be read: it is not a complete .npz file"
WINDOW = 4 << 20  # bytes that `columns` maps at a time: a map's pages count as the process's memory


def _broken_file(path):
    """Turn what a damaged or foreign file raises into an InputError about `path`."""
    return zip_errors(path, BROKEN)


def npz_names(path):
    """Return the names of the arrays in an .npz file. Raises InputError when it is missing or damaged."""
    with open_zip(path, BROKEN) as archive:
        return [entry.removesuffix(".npy") for entry in archive.namelist()]


def npz_shape(path, name):
    """Return (shape, dtype) of one array without reading it. Raises InputError when it is not there."""
    with _open_member(path, name) as (stream, shape, dtype):
        return shape, dtype


def npz_place(path, name):
    """Return (shape, dtype, offset) of one array: where its first row lies in the file, None in a compressed entry.

    Only headers are read; for an uncompressed entry the file is known to be long enough.
    Raises InputError when the file is missing or damaged, or lacks the array.
    """
    with _open_member(path, name) as (member, shape, dtype):
        start = _place_in_file(path, name)
        if start is None:
            return shape, dtype, None
        return shape, dtype, start + member.tell()


@contextmanager
def _open_member(path, name):
    """Yield (stream behind the .npy header, shape, dtype) of one array."""
    names = npz_names(path)
    if name not in names:
        raise InputError(f"array '{name}' is not in the file, which has {', '.join(names) or 'nothing'}", where=path,
                         do="Give a file of the expected kind")
    with _broken_file(path), open_zip(path, BROKEN) as archive, archive.open(f"{name}.npy") as stream:
        shape, dtype = _read_header(stream, path, name)
        check_length(shape, dtype, archive.getinfo(f"{name}.npy").file_size - stream.tell())
        yield stream, shape, dtype


def _read_header(stream, path, name):
    """Return (shape, dtype) from a .npy header. Raises InputError for objects and for arrays in columns."""
    shape, columns_first, dtype = npy_header(stream)
    if dtype.hasobject or not shape or (columns_first and len(shape) > 1):
        kind = "Python objects" if dtype.hasobject else "columns first" if shape else "one value"
        raise InputError(f"array '{name}' holds {kind}, not rows", where=path,
                         do="Save numpy.ascontiguousarray(array) with numpy.savez")
    return shape, dtype


def iterate_npz_rows(path, name, rows=4096):
    """Yield an array's rows in order, at most `rows` at a time; stored and compressed entries alike.

    Raises InputError when the file is missing, truncated or damaged (its check sum is compared), or lacks the array.
    """
    import numpy as np

    with _open_member(path, name) as (stream, shape, dtype):
        row_bytes = dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))
        for start in range(0, shape[0], rows):
            count = min(rows, shape[0] - start)
            data = stream.read(count * row_bytes)
            if len(data) != count * row_bytes:
                raise EOFError(f"'{name}' ends after {start} of {shape[0]} rows")
            yield np.frombuffer(data, dtype).reshape(count, *shape[1:])
        stream.read(1)  # reaching the end makes zipfile compare the check sum


class NpzRows:
    """The rows of one array of an .npz file: `rows[start:stop]` reads just these.

    An uncompressed entry (numpy.savez) is read in place. Reading rather than mapping, because the pages of a map count
    as the process's memory. A compressed entry is unpacked once into an unnamed temporary file.
    Use as a context manager. Raises InputError as iterate_npz_rows does; check sums are compared only by the latter.
    """

    def __init__(self, path, name, limit=None):
        """Open array `name`; only its first `limit` rows are seen, all of them without a limit."""
        self.path, self.name = path, name
        with _open_member(path, name) as (member, shape, self.dtype):
            self.shape = (shape[0] if limit is None else min(limit, shape[0]), *shape[1:])
            start = _place_in_file(path, name)
            if start is not None:
                self._stream, self._start = open(path, "rb"), start + member.tell()
            else:
                self._stream, self._start = tempfile.TemporaryFile(), 0
                shutil.copyfileobj(member, self._stream, 1 << 20)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        """Return rows of a slice (step 1) as a new array."""
        import numpy as np

        start, stop, step = rows.indices(len(self))
        assert step == 1
        row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        array = np.empty((max(stop - start, 0), *self.shape[1:]), self.dtype)
        with _broken_file(self.path):
            self._stream.seek(self._start + start * row_bytes)
            if self._stream.readinto(array.reshape(-1).view(np.uint8)) != array.nbytes:
                raise EOFError(f"'{self.name}' ends before row {stop}")
        return array

    def columns(self, index):
        """Return columns (N, K) of the array seen as (N, D); index: (K,) integers in 0..D - 1.

        A few rows at a time are mapped, of which only the columns' own cache lines are read.
        """
        import numpy as np

        index, width = np.asarray(index), int(np.prod(self.shape[1:], dtype=np.int64))
        found, row_bytes = np.empty((len(self), len(index)), self.dtype), width * self.dtype.itemsize
        step = max(1, WINDOW // row_bytes)
        with _broken_file(self.path):
            for start in range(0, len(self), step):
                count, place = min(step, len(self) - start), self._start + start * row_bytes
                base = place - place % mmap.ALLOCATIONGRANULARITY
                length = place - base + count * row_bytes  # beyond the file's end it is a ValueError
                with mmap.mmap(self._stream.fileno(), length, access=mmap.ACCESS_READ, offset=base) as window:
                    rows = np.frombuffer(window, self.dtype, count * width, place - base).reshape(count, width)
                    np.take(rows, index, axis=1, out=found[start : start + count], mode="clip")
                    del rows  # a window with a view into it cannot be closed
        return found

    def close(self):
        """Close the file; a temporary one goes with it."""
        self._stream.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def _place_in_file(path, name):
    """Return where an uncompressed entry's bytes start in the .npz file, or None for a compressed entry."""
    with open_zip(path, BROKEN) as archive, open(path, "rb") as stream:
        entry = archive.getinfo(f"{name}.npy")
        if entry.compress_type != zipfile.ZIP_STORED:
            return None
        return member_start(stream, entry)


def write_npz_rows(path, name, shape, dtype, blocks, more=(), **arrays):
    """Write an uncompressed .npz, atomically, whose array `name` comes from an iterator of row blocks.

    shape, dtype: of the whole array, known beforehand.  more: [(name, shape, dtype, blocks)] of further such arrays.
    arrays: small ones.  Equal arrays give equal bytes.
    """
    import numpy as np

    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for streamed in ((name, shape, dtype, blocks), *more):
            _write_rows(archive, *streamed)
        for other, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{other}.npy"), "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)


def _write_rows(archive, name, shape, dtype, blocks):
    """Write one array of a zip from its row blocks."""
    import numpy as np

    dtype = np.dtype(dtype)
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": tuple(shape)}
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        count = 0
        for block in blocks:
            assert block.shape[1:] == tuple(shape[1:])
            stream.write(np.ascontiguousarray(block, dtype).tobytes())
            count += len(block)
        assert count == shape[0], f"{count} rows came, {shape[0]} were announced"
