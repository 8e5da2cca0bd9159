"""Rows of features wherever they lie: an array, or anything with `shape` and slices of rows (step 1)."""

import os

import numpy as np

from common.errors import InputError
from common.formats.npy import check_length, npy_header
from common.formats.npz import NpzRows, iterate_npz_rows, npz_shape

BLOCK = 1024  # rows read at a time: 16 MB of 2048 features in float64


class FileRows:
    """The rows of a two-dimensional float array in an .npz or .npy file, opened when first asked for.

    `shape` is known at once; `rows[start:stop]` reads just these.  An .npz entry is named by `name`, a .npy file holds
    one array (name None).  Raises InputError for a missing or damaged file and for an array of another kind.
    """

    def __init__(self, path, name=None):
        self.path, self.name, self._open = path, name, None
        if name is None:
            self._open = _map_npy(path)
            self.shape, self.dtype = self._open.shape, self._open.dtype
        else:
            self.shape, self.dtype = npz_shape(path, name)
        if len(self.shape) != 2 or self.dtype.kind != "f" or 0 in self.shape:
            raise InputError(f"{self.label} is {self.dtype} {tuple(self.shape)}, expected floats (images, features)",
                             where=path, do="Give a file of features, one row per image")
        self.dtype = native(self.dtype)

    @property
    def label(self):
        """How messages call the array."""
        return "the array" if self.name is None else f"'{self.name}'"

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        if self._open is None:
            self._open = NpzRows(self.path, self.name)
        return np.asarray(self._open[rows]).astype(self.dtype, copy=False)

    def check(self):
        """Read all rows once. Raises InputError naming the first row with NaN or infinity, or for a damaged file."""
        first = 0
        for block in iterate_npz_rows(self.path, self.name) if self.name is not None else blocks(self):
            bad = ~np.isfinite(block).all(axis=1)
            if bad.any():
                raise InputError(f"row {first + int(bad.argmax())} of {self.label} holds NaN or infinity",
                                 where=self.path,
                                 do="Look at that image, or make the features again")
            first += len(block)

    def close(self):
        """Close the file, if it is open; another slice opens it again."""
        if self.name is not None and self._open is not None:
            self._open.close()
            self._open = None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def __del__(self):
        if hasattr(self, "_open"):
            self.close()


class FirstRows:
    """The first `count` rows of other rows, read in place."""

    def __init__(self, rows, count):
        self._rows, self.shape = rows, (min(count, rows.shape[0]), *rows.shape[1:])

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        start, stop, step = rows.indices(len(self))
        assert step == 1
        return np.asarray(self._rows[start:stop])

    def close(self):
        """Close what the rows come from."""
        if hasattr(self._rows, "close"):
            self._rows.close()


def native(dtype):
    """Return a float type as this machine computes with it: other byte orders in its own, long doubles as float64."""
    return np.dtype(np.float64) if dtype.itemsize > 8 else dtype.newbyteorder("=")


def _map_npy(path):
    """Return the array of a .npy file, mapped; a damaged one is an InputError."""
    from common.files import system_errors

    try:
        with system_errors(path), open(path, "rb") as stream:
            shape, columns_first, dtype = npy_header(stream)
            if dtype.hasobject:
                raise ValueError("it holds Python objects")
            check_length(shape, dtype, os.fstat(stream.fileno()).st_size - stream.tell())
            return np.memmap(stream, dtype, "r", stream.tell(), shape, "F" if columns_first else "C")
    except (ValueError, EOFError, OverflowError) as error:
        raise InputError(f"cannot be read as a .npy array ({error})", where=path,
                         do="Make or copy the file again") from error


def blocks(rows, size=None):
    """Yield the rows in order, `size` (BLOCK) at a time, as arrays of their own type."""
    size = size or BLOCK
    for start in range(0, rows.shape[0], size):
        yield np.asarray(rows[start : start + size])


def gather(rows, index):
    """Return float64 rows in the order of index (n,); a file is asked for each distinct row once."""
    if isinstance(rows, np.ndarray):
        return rows[index].astype(np.float64)
    distinct, inverse = np.unique(index, return_inverse=True)
    return np.concatenate([rows[i : i + 1] for i in distinct]).astype(np.float64)[inverse]


def check_same_width(rows1, rows2):
    """Raise InputError unless both sets of features are (n, D) with the same D."""
    if len(rows1.shape) != 2 or len(rows2.shape) != 2:
        raise InputError(f"features have shapes {tuple(rows1.shape)} and {tuple(rows2.shape)}, expected (images, "
                         f"features)")
    if rows1.shape[1] != rows2.shape[1]:
        raise InputError(f"features are {rows1.shape[1]} and {rows2.shape[1]} wide",
                         do="Compare features of the same network")
