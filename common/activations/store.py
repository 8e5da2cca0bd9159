"""Writing activations a unit at a time, in either form; a unit is a range of samples that is written as one.

- NpzForm, the published one: activations/MODEL/batch_<unit>.npz, one array per layer, rows of good samples only.
- NpyForm, the fast one: one LAYER.npy for all samples, created in full size at the start and filled in place, with
  done.npy, one byte per sample: 0 missing, 1 present, 2 skipped (its row stays 0). Until all are present the files have
  the suffix .partial, so no file under its final name is incomplete.

Both can be written by several processes (disjoint units), killed at any moment and resumed.
"""

import math
import os

from common.activations.layout import batch_name

PRESENT, SKIPPED = 1, 2
HEADER = 128  # bytes of the .npy header; numpy leaves room for any number of rows


class NpzForm:
    """Batches of activations as .npz, deflated as in the original or stored."""

    name = "npz"

    def __init__(self, tree, widths, dtype, count, per_unit, compressed=True):
        """widths: {layer: values per row}, in the order in which layers run.  count: total number of samples."""
        self.tree, self.widths, self.dtype, self.compressed = tree, widths, dtype, compressed
        self.count, self.per_unit = count, per_unit

    def prepare(self):
        """Create the folder."""
        from common.files import system_errors

        with system_errors(self.tree.activations):
            self.tree.activations.mkdir(parents=True, exist_ok=True)

    def path(self, unit):
        """Return a unit's file."""
        return self.tree.activations / f"{batch_name(unit)}.npz"

    def rows_there(self, unit):
        """Return the number of rows of a complete unit, else None (from its headers)."""
        from common.errors import InputError
        from common.formats.npz import npz_shape

        path = self.path(unit)
        if not path.exists():
            return None
        try:
            shapes = [npz_shape(path, layer) for layer in self.widths]
        except InputError:
            return None
        rows = shapes[0][0][0]
        good = all(shape == (rows, width) and dtype == self.dtype
                   for (shape, dtype), width in zip(shapes, self.widths.values()))
        return rows if good else None

    def write(self, unit, rows, arrays):
        """Write the {layer: (n, D)} of a unit's good samples; rows: their places in the unit."""
        from common.files import write_npz

        write_npz(self.path(unit), self.compressed, **{layer: arrays[layer] for layer in self.widths})

    def close(self):
        """Do nothing: no file stays open."""

    def finish(self):
        """Do nothing: units are final as written."""

    def place(self, position, row):
        """Return (activation_path, batch_index) of the sample at a position, the `row`-th good one of its unit."""
        return f"{self.tree.relative(self.tree.activations)}/{batch_name(position // self.per_unit)}", row

    def outputs(self):
        """Return the files of a finished run."""
        return [self.path(unit) for unit in range(-(-self.count // self.per_unit))]


class NpyForm:
    """One .npy of all samples for each layer, filled in place."""

    name = "npy"

    def __init__(self, tree, widths, dtype, count, per_unit):
        import numpy as np

        self.tree, self.widths, self.dtype = tree, widths, np.dtype(dtype)
        self.count, self.per_unit = count, per_unit
        self._streams = {}

    def prepare(self):
        """Create the files in full size, or enlarge those of a shorter run; in one process, before any writes.

        Samples whose rows a damaged or missing file has lost are marked as missing first.
        """
        from common.files import system_errors

        folder = self.tree.activations
        with system_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            *layers, (done, _, _) = self._files()
            self._forget(done, min(_rows_held(path, shape, dtype) for path, shape, dtype in layers))
            for path, shape, dtype in self._files():
                final, partial = path, _partial(path)
                if final.exists() and _npy_rows(final) != self.count:
                    os.replace(final, partial)
                if not final.exists() and _npy_rows(partial) != self.count:
                    _resize(partial, shape, dtype)

    def _forget(self, done, rows):
        """Mark the samples from number `rows` on as missing."""
        if done.exists() and os.path.getsize(done) > HEADER + rows:
            os.replace(done, _partial(done))
        done = _partial(done)
        if done.exists() and (lost := os.path.getsize(done) - HEADER - rows) > 0:
            with open(done, "r+b") as stream:
                stream.seek(HEADER + rows)
                stream.write(bytes(lost))
                stream.flush()
                os.fsync(stream.fileno())

    def _files(self):
        """Return [(path, shape, dtype)]; the mask comes last: once it has its final name, all others have theirs."""
        folder = self.tree.activations
        layers = [(folder / f"{layer}.npy", (self.count, width), self.dtype) for layer, width in self.widths.items()]
        return [*layers, (folder / "done.npy", (self.count,), "uint8")]

    def close(self):
        """Close the files."""
        while self._streams:
            os.close(self._streams.popitem()[1])

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
        good = (mask == PRESENT) | (mask == SKIPPED)
        return int((mask == PRESENT).sum()) if len(mask) == stop - start and good.all() else None

    def write(self, unit, rows, arrays):
        """Write the {layer: (n, D)} of a unit's good samples, then the mask; rows: their places in the unit."""
        import numpy as np

        from common.files import system_errors

        start = unit * self.per_unit
        mask = np.full(min(self.per_unit, self.count - start), SKIPPED, np.uint8)
        rows = np.asarray(rows, np.int64)
        mask[rows] = PRESENT
        *layers, (done, _, _) = self._files()
        for path, shape, dtype in layers:
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
        self.close()
        for path, _, _ in self._files():
            if not path.exists():
                os.replace(_partial(path), path)

    def place(self, position, row):
        """Return (activation_path, batch_index) of the sample at a position: the folder of the layers, and its row."""
        return self.tree.relative(self.tree.activations), position

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


def _rows_held(path, shape, dtype):
    """Return how many rows of this shape and dtype a layer's file has, under either name."""
    import numpy as np

    from common.formats.npy import npy_header

    path = path if path.exists() else _partial(path)
    try:
        with open(path, "rb") as stream:
            found, columns, kind = npy_header(stream)
            size = os.fstat(stream.fileno()).st_size - stream.tell()
    except (OSError, ValueError, EOFError):
        return 0
    row_bytes = math.prod(shape[1:]) * np.dtype(dtype).itemsize
    return size // row_bytes if (found[1:], kind, columns) == (shape[1:], np.dtype(dtype), False) else 0


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
