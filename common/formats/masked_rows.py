"""Rows of .npy files that are written in place and in any order, and arrays of them in a folder with a mask.

The files have their full size from the start, so several processes can write, and a killed run goes on.
"""

import math
import os
import shutil
from pathlib import Path

HEADER = 128  # bytes of the .npy header; numpy leaves room for any number of rows
MASK = "done.mask"


class MaskedRows:
    """Arrays (count, width) in a folder of their own, on the way to another file.

    NAME.npy for each array, and done.mask with one byte per row: 0 missing, 1 present. Rows are written a unit at a
    time, a range that one process makes.
    widths: {name: values per row}.  dtype: of all arrays.  per_unit: rows of a unit; the last may have fewer.
    """

    def __init__(self, folder, widths, dtype, count, per_unit):
        import numpy as np

        self.folder, self.widths, self.dtype = Path(folder), widths, np.dtype(dtype)
        self.count, self.per_unit = count, per_unit
        self._streams = {}

    def prepare(self):
        """Create the files where an earlier run has not; in one process, before any writes."""
        from common.files import system_errors, write_bytes

        mask = self.folder / MASK
        with system_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, width in self.widths.items():
                path, size = self._path(name), HEADER + self.count * width * self.dtype.itemsize
                if not path.exists() or path.stat().st_size != size:
                    mask.unlink(missing_ok=True)
                    resize_npy(path, (self.count, width), self.dtype)
        if not mask.exists() or mask.stat().st_size != self.count:
            write_bytes(mask, bytes(self.count))

    def _path(self, name):
        return self.folder / (MASK if name is None else f"{name}.npy")

    def _stream(self, name=None):
        """Return a descriptor of an array's file, of the mask without a name."""
        if name not in self._streams:
            self._streams[name] = os.open(self._path(name), os.O_RDWR)
        return self._streams[name]

    def is_complete(self, unit):
        """True when all rows of a unit are there."""
        start, stop = unit * self.per_unit, min((unit + 1) * self.per_unit, self.count)
        return os.pread(self._stream(), stop - start, start) == b"\x01" * (stop - start)

    def write(self, unit, arrays):
        """Write the {name: (n, width)} of a whole unit, then its part of the mask."""
        import numpy as np

        from common.files import system_errors

        start = unit * self.per_unit
        for name, width in self.widths.items():
            values = np.ascontiguousarray(arrays[name], self.dtype)
            with system_errors(self._path(name)):
                write_all(self._stream(name), values, HEADER + start * width * self.dtype.itemsize)
        with system_errors(self._path(None)):
            write_all(self._stream(), b"\x01" * len(values), start)

    def blocks(self, name, rows=64):
        """Yield an array's rows in order, at most `rows` at a time; read, since mapped pages count as memory."""
        import numpy as np

        row_bytes = self.widths[name] * self.dtype.itemsize
        for start in range(0, self.count, rows):
            count = min(rows, self.count - start)
            data = os.pread(self._stream(name), count * row_bytes, HEADER + start * row_bytes)
            yield np.frombuffer(data, self.dtype).reshape(count, -1)

    def remove(self):
        """Remove the folder."""
        while self._streams:
            os.close(self._streams.popitem()[1])
        shutil.rmtree(self.folder)


def runs(rows):
    """Yield (first, stop) of the stretches of consecutive numbers in `rows`."""
    import numpy as np

    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    edges = [0, *breaks.tolist(), len(rows)]
    yield from ((first, stop) for first, stop in zip(edges, edges[1:]) if stop > first)


def write_all(stream, array, offset):
    """Write an array's bytes at an offset, in as many calls as the system needs."""
    data = memoryview(array).cast("B")
    while len(data):
        written = os.pwrite(stream, data, offset)
        data, offset = data[written:], offset + written


def resize_npy(path, shape, dtype):
    """Set the shape of a .npy file: a header of fixed length, then rows, new ones 0 (holes until they are written)."""
    import io

    import numpy as np

    text = io.BytesIO()
    dtype = np.dtype(dtype)
    np.lib.format.write_array_header_1_0(
        text, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    )
    assert len(text.getvalue()) == HEADER
    stream = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        os.ftruncate(stream, HEADER + math.prod(shape) * dtype.itemsize)
        os.pwrite(stream, text.getvalue(), 0)
    finally:
        os.close(stream)
