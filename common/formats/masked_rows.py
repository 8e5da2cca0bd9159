"""Rows of arrays that are written in any order, by several processes, killed at any moment and resumed.

One NAME.npy for each array, created in full size at the start and filled in place, with done.npy, one byte per row:
0 missing, 1 present, 2 skipped (its values stay 0). Until all are present the files have the suffix .partial, so no
file under its final name is incomplete. Rows are written a unit at a time: a range that one process makes.
"""

import math
import os

PRESENT, SKIPPED = 1, 2
HEADER = 128  # bytes of the .npy header; numpy leaves room for any number of rows


class MaskedRows:
    """Arrays (count, width) in one folder, filled in place.

    widths: {name: values per row}.  dtype: of all arrays.  per_unit: rows of a unit; the last may have fewer.
    """

    def __init__(self, folder, widths, dtype, count, per_unit):
        import numpy as np

        self.folder, self.widths, self.dtype = folder, widths, np.dtype(dtype)
        self.count, self.per_unit = count, per_unit
        self._streams = {}

    def prepare(self):
        """Create the files in full size, or enlarge those of a shorter run; in one process, before any writes."""
        from common.files import system_errors

        folder = self.folder
        with system_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for path, shape, dtype in self._files():
                final, partial = path, _partial(path)
                if final.exists() and _npy_rows(final) != self.count:
                    os.replace(final, partial)
                if not final.exists() and _npy_rows(partial) != self.count:
                    _resize(partial, shape, dtype)

    def _files(self):
        """Return [(path, shape, dtype)]; the mask comes last: once it has its final name, all others have theirs."""
        arrays = [(self.folder / f"{name}.npy", (self.count, width), self.dtype) for name, width in self.widths.items()]
        return [*arrays, (self.folder / "done.npy", (self.count,), "uint8")]

    def _stream(self, path):
        """Return a descriptor of a file under its current name."""
        if path not in self._streams:
            self._streams[path] = os.open(path if path.exists() else _partial(path), os.O_RDWR)
        return self._streams[path]

    def rows_there(self, unit):
        """Return the number of good rows of a unit that is complete, else None."""
        import numpy as np

        start, stop = unit * self.per_unit, min((unit + 1) * self.per_unit, self.count)
        stream = self._stream(self._files()[-1][0])
        mask = np.frombuffer(os.pread(stream, stop - start, HEADER + start), np.uint8)
        return int((mask == PRESENT).sum()) if mask.all() else None

    def write(self, unit, rows, arrays):
        """Write the {name: (n, width)} of a unit's good rows, then the mask; rows: their places in the unit."""
        import numpy as np

        from common.files import system_errors

        start = unit * self.per_unit
        mask = np.full(min(self.per_unit, self.count - start), SKIPPED, np.uint8)
        rows = np.asarray(rows, np.int64)
        mask[rows] = PRESENT
        *files, (done, _, _) = self._files()
        for path, shape, dtype in files:
            values = np.ascontiguousarray(arrays[path.stem], dtype)
            width = shape[1] * self.dtype.itemsize
            with system_errors(path):
                for first, stop in _runs(rows):
                    _write_all(self._stream(path), values[first:stop], HEADER + (start + int(rows[first])) * width)
        with system_errors(done):
            _write_all(self._stream(done), mask, HEADER + start)

    def finish(self):
        """Give the complete files their final names, the mask last; in one process, after all writes."""
        for stream in self._streams.values():
            os.fsync(stream)
            os.close(stream)
        self._streams.clear()
        for path, _, _ in self._files():
            if not path.exists():
                os.replace(_partial(path), path)

    def blocks(self, name, rows=64):
        """Yield an array's rows in order, at most `rows` at a time."""
        import numpy as np

        stream, width = self._stream(self.folder / f"{name}.npy"), self.widths[name]
        for start in range(0, self.count, rows):
            count = min(rows, self.count - start)
            data = os.pread(stream, count * width * self.dtype.itemsize, HEADER + start * width * self.dtype.itemsize)
            yield np.frombuffer(data, self.dtype).reshape(count, width)

    def remove(self):
        """Remove the folder, where the rows were a step on the way to another file."""
        import shutil

        for stream in self._streams.values():
            os.close(stream)
        self._streams.clear()
        shutil.rmtree(self.folder)

    def outputs(self):
        """Return the files of a finished run."""
        return [path for path, _, _ in self._files()]


def _partial(path):
    return path.with_name(f"{path.name}.partial")


def _runs(rows):
    """Yield (first, stop) of the stretches of consecutive numbers in `rows`."""
    import numpy as np

    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    edges = [0, *breaks.tolist(), len(rows)]
    yield from ((first, stop) for first, stop in zip(edges, edges[1:]) if stop > first)


def _write_all(stream, array, offset):
    """Write an array's bytes at an offset, in as many calls as the system needs."""
    data = memoryview(array).cast("B")
    while len(data):
        written = os.pwrite(stream, data, offset)
        data, offset = data[written:], offset + written


def _npy_rows(path):
    """Return the number of rows that a .npy file says it has and is long enough for, or None."""
    from common.formats.npy import npy_header

    try:
        with open(path, "rb") as stream:
            shape, _, dtype = npy_header(stream)
            whole = stream.tell() + math.prod(shape) * dtype.itemsize == os.fstat(stream.fileno()).st_size
        return shape[0] if whole else None
    except (OSError, ValueError, EOFError):
        return None


def _resize(path, shape, dtype):
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
        os.ftruncate(stream, HEADER + int(np.prod(shape)) * dtype.itemsize)
        os.pwrite(stream, text.getvalue(), 0)
    finally:
        os.close(stream)
