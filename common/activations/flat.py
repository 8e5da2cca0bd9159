"""The fast form: one .npy of all samples and layers, as `diffviews convert` makes and loads them.

activations.npy: a row for each good sample, its layers concatenated in the order of their names; activations.npy.json
describes it, and done.mask has one byte per sample: 0 missing, 1 present, 2 skipped. While samples are missing the
files have the suffix .partial, and a sample's row is its position; at the end the rows of skipped samples are left out.

It can be written by several processes (disjoint units), killed at any moment and resumed. Where a file is there under
both names, the partial one counts.
"""

import os
from functools import cached_property

from common.errors import InputError
from common.formats.masked_rows import HEADER, resize_npy, runs, write_all

PRESENT, SKIPPED = 1, 2
PIECE = 1 << 26  # bytes copied at a time


class NpyForm:
    """One .npy of all samples, filled in place."""

    name = "npy"

    def __init__(self, tree, widths, dtype, count, per_unit):
        """widths: {layer: values per row}.  count: total number of samples."""
        import numpy as np

        self.tree, self.widths, self.dtype = tree, widths, np.dtype(dtype)
        self.count, self.per_unit = count, per_unit
        self.total = sum(widths.values())
        self.row_bytes = self.total * self.dtype.itemsize
        self.path, self.mask_path = tree.activations / "activations.npy", tree.activations / "done.mask"
        self._streams = {}

    def old_layout(self):
        """Return a file of the layout of earlier versions, one .npy for each layer, or None."""
        names = (self.tree.activations / name for name in ("done.npy", "done.npy.partial"))
        return next((path for path in names if path.exists()), None)

    def prepare(self):
        """Create the files in full size, or enlarge those of a shorter run; in one process, before any writes.

        Samples whose rows a damaged or missing file has lost are marked as missing first.
        """
        import numpy as np

        from common.files import system_errors

        self.close()
        with system_errors(self.tree.activations):
            self.tree.activations.mkdir(parents=True, exist_ok=True)
            mask = self._read_mask()
            present = np.flatnonzero(mask == PRESENT)
            partial = _partial(self.path)
            if not partial.exists():
                held = self._rows_held(self.path)
                if len(mask) == self.count and mask.all() and held == len(present):
                    return
                mask[present[held:]] = 0
                self._expand(present[:held])
            mask[self._rows_held(partial) :] = 0
            self._write_mask(np.concatenate([mask, np.zeros(max(self.count - len(mask), 0), np.uint8)]))
            resize_npy(partial, (self.count, self.total), self.dtype)

    def _expand(self, positions):
        """Turn the final file, whose rows are the samples at these positions, into the partial one."""
        partial = _partial(self.path)
        if len(positions) == 0 or positions[-1] == len(positions) - 1:
            if self.path.exists():
                os.replace(self.path, partial)
            return
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        resize_npy(temporary, (int(positions[-1]) + 1, self.total), self.dtype)
        self._copy(self.path, temporary, positions, spread=True)
        os.replace(temporary, partial)
        self.path.unlink()

    def _copy(self, source, target, positions, spread):
        """Copy rows 0, 1, ... of a file to the rows `positions` of another (spread), or the other way round."""
        with open(source, "rb") as reader, open(target, "r+b") as writer:
            for first, stop in runs(positions):
                start = int(positions[first])
                places = [HEADER + row * self.row_bytes for row in ((first, start) if spread else (start, first))]
                left = (stop - first) * self.row_bytes
                while left:
                    data = os.pread(reader.fileno(), min(left, PIECE), places[0])
                    if not data:
                        raise InputError("ends before its last row", where=source, do="Run the same command again")
                    write_all(writer.fileno(), data, places[1])
                    places, left = [place + len(data) for place in places], left - len(data)
            os.fsync(writer.fileno())

    def _read_mask(self):
        """Return the mask of an earlier run, (n,) uint8 with n at most the number of samples."""
        import numpy as np

        path = self._current(self.mask_path)
        mask = np.frombuffer(path.read_bytes() if path.exists() else b"", np.uint8)[: self.count].copy()
        mask[mask > SKIPPED] = 0
        return mask

    def _write_mask(self, mask):
        from common.files import write_bytes

        write_bytes(_partial(self.mask_path), mask.tobytes())
        self.mask_path.unlink(missing_ok=True)

    def _rows_held(self, path):
        """Return how many whole rows a file has, 0 for one that is missing or of another kind."""
        from common.formats.npy import npy_header

        try:
            with open(path, "rb") as stream:
                shape, columns, kind = npy_header(stream)
                size = os.fstat(stream.fileno()).st_size - stream.tell()
        except (OSError, ValueError, EOFError):
            return 0
        same = (shape[1:], kind, columns) == ((self.total,), self.dtype, False)
        return min(size // self.row_bytes, shape[0]) if same else 0

    def _current(self, path):
        """Return a file's current path: the partial one, if it is there."""
        partial = _partial(path)
        return partial if partial.exists() else path

    def _stream(self, path):
        """Return a descriptor of a file under its current name."""
        if path not in self._streams:
            self._streams[path] = os.open(self._current(path), os.O_RDWR)
        return self._streams[path]

    def _marks(self, unit):
        """Return (n,) uint8: the mask of a unit."""
        import numpy as np

        start, stop = unit * self.per_unit, min((unit + 1) * self.per_unit, self.count)
        marks = np.frombuffer(os.pread(self._stream(self.mask_path), stop - start, start), np.uint8)
        return np.concatenate([marks, np.zeros(stop - start - len(marks), np.uint8)])

    def rows_there(self, unit):
        """Return the number of good rows of a unit that is complete, else None."""
        if not self._current(self.mask_path).exists():
            return None
        marks = self._marks(unit)
        return int((marks == PRESENT).sum()) if marks.all() else None

    def write(self, unit, rows, arrays):
        """Write the {layer: (n, D)} of a unit's good samples, then the mask; rows: their places in the unit."""
        import numpy as np

        from common.files import system_errors

        start = unit * self.per_unit
        marks = np.full(min(self.per_unit, self.count - start), SKIPPED, np.uint8)
        rows = np.asarray(rows, np.int64)
        marks[rows] = PRESENT
        places = start + rows
        if self._is_compact:  # a unit of a finished set, made again
            if (self._marks(unit) != marks).any():
                raise InputError("images that were skipped can be read now, or the other way round", where=self.path,
                                 do="Use --overwrite to start over")
            places = self._ranks[places]
        block = np.concatenate([np.asarray(arrays[layer], self.dtype) for layer in sorted(self.widths)], axis=1)
        with system_errors(self.path):
            for first, stop in runs(places):
                write_all(self._stream(self.path), block[first:stop], HEADER + int(places[first]) * self.row_bytes)
            write_all(self._stream(self.mask_path), marks, start)

    @cached_property
    def _is_compact(self):
        """Whether rows are those of the good samples alone."""
        return not _partial(self.path).exists()

    @cached_property
    def _ranks(self):
        """(count,) int64: the number of good samples before each, its row in the finished file."""
        import numpy as np

        good = self._read_mask() == PRESENT
        return np.cumsum(good) - good

    def close(self):
        """Close the files, and forget what was known of them."""
        while self._streams:
            os.close(self._streams.popitem()[1])
        for name in ("_is_compact", "_ranks"):
            self.__dict__.pop(name, None)

    def finish(self):
        """Give the complete files their final names, the mask last; in one process, after all writes."""
        import numpy as np

        from common.files import atomic_path, write_text

        for stream in self._streams.values():
            os.fsync(stream)
        self.close()
        partial, good = _partial(self.path), np.flatnonzero(self._read_mask() == PRESENT)
        if partial.exists() and len(good) < self.count:
            with atomic_path(self.path) as temporary:
                resize_npy(temporary, (len(good), self.total), self.dtype)
                self._copy(partial, temporary, good, spread=False)
            partial.unlink()
        elif partial.exists():
            os.replace(partial, self.path)
        write_text(self.path.with_name(f"{self.path.name}.json"), self._description(len(good)))
        if _partial(self.mask_path).exists():
            os.replace(_partial(self.mask_path), self.mask_path)

    def _description(self, rows):
        """Return the json beside the array, as diffviews' converter writes it."""
        import json

        shapes = {layer: [rows, self.widths[layer]] for layer in sorted(self.widths)}
        return json.dumps({"layers": sorted(self.widths), "shapes": shapes, "total_features": self.total,
                           "num_samples": rows, "dtype": self.dtype.name}, indent=2)

    def place(self, position, row):
        """Return (activation_path, batch_index) of the good sample at a position of a finished set."""
        return self.tree.relative(self.path.with_suffix("")), int(self._ranks[position])

    def outputs(self):
        """Return the files of a finished run."""
        return [self.path, self.path.with_name(f"{self.path.name}.json"), self.mask_path]


def _partial(path):
    return path.with_name(f"{path.name}.partial")
