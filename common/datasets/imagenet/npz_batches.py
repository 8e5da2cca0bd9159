"""The downsampled ImageNet (Chrabaszcz et al. 2017) as npz batches: a cached index, and random access to rows.

A folder has train_data_batch_1.npz .. train_data_batch_10.npz, or val_data.npz, or the same as pickles without a
suffix; each with `data` uint8 (rows, 3 side side), R, G and B planes, and `labels` 1..1000 in the order of the ILSVRC
development kit. The files are in the order of their numbers, and image g is row g of all files concatenated.

Uncompressed arrays are read row by row in place, in file order: a batch costs its own bytes, not the files'. (Reading,
not mapping: mapped pages count as the process's memory and are slow when cold.) Compressed arrays and pickles are
unpacked once, see `NpzBatches.unpack`.
"""

import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

from common.datasets.imagenet.npz_names import batch_paths
from common.datasets.sets.locate import read_pickled_batch
from common.errors import InputError
from common.files import read_npz, system_errors, write_npz
from common.formats.zips import open_zip
from common.paths import cache_dir

PUBLISHED_FILES, PUBLISHED_ROWS = 10, 128_116  # of the training set; the last file has seven rows more
INDEX_FORMAT = 1  # of the index file; part of its key
VECTORS = 512  # rows per system call; the limit, IOV_MAX, is 1,024
LAYOUT_DO = "Use the published files, or the same layout: data uint8 (rows, 3 side side), labels 1..1000"


@dataclass(frozen=True)
class Batch:
    """One file: its rows are images `first` .. `first` + rows - 1 of the set."""

    path: Path
    size: int
    changed: int  # its modification time in ns
    rows: int
    offset: int  # of the first row in the file; -1 where the rows are compressed or pickled
    side: int
    first: int = 0

    @property
    def stop(self):
        """Number of the first image after this file."""
        return self.first + self.rows


def open_npz_batches(folder, subset="auto", partial=False):
    """Return the NpzBatches of a folder; the index comes from the cache when no file has changed.

    subset, partial: see `batch_paths`.
    Raises InputError as `batch_paths` does, and for a truncated or foreign file, labels outside 1..1000.
    """
    paths, notes = batch_paths(folder, subset, partial)
    stamps = []
    for path in paths:
        with system_errors(path):
            state = path.stat()
        stamps.append([path.name, state.st_size, state.st_ctime_ns])  # unlike mtime no program sets it
    key = hashlib.sha256(json.dumps([INDEX_FORMAT, str(Path(folder).resolve()), subset]).encode()).hexdigest()[:24]
    cached = cache_dir() / "imagenet_npz" / f"index_{key}.npz"
    index = _read_index(cached, stamps, paths)
    if index is None:
        index = _make_index(paths, stamps)
        _write_index(cached, stamps, *index)
    return NpzBatches(*index, [*notes, *_ends_early(index[0]), *_copies(index[0])])


def _ends_early(batches):
    """Return a note when the batches are fewer than the published ones, by their rows."""
    if len(batches) >= PUBLISHED_FILES or any(batch.rows != PUBLISHED_ROWS for batch in batches):
        return []
    return [f"note: {len(batches)} of the {PUBLISHED_FILES} published batches are there"]


def _copies(batches):
    """Return a note for each .npz whose images are those of an earlier one, by number and check sum."""
    first, notes = {}, []
    for batch in batches:
        if batch.path.suffix.lower() == ".npz" and batch.rows:
            other = first.setdefault((batch.rows, _check_sum(batch.path)), batch.path)
            if other != batch.path:
                notes.append(f"note: {batch.path} has the same images as {other.name}: they are read twice")
    return notes


def _read_index(cached, stamps, paths):
    """Return (batches, labels) of a cached index, or None when there is none for the current files."""
    import numpy as np

    if not cached.exists():
        return None
    try:
        arrays = read_npz(cached, required=("files", "labels"))
        files = json.loads(str(arrays["files"]))
        if [file[:3] for file in files] != stamps:
            return None
        batches = _numbered([Batch(path, *file[1:]) for path, file in zip(paths, files)])
    except (InputError, ValueError, TypeError):  # another format, or damaged
        return None
    return (batches, arrays["labels"].astype(np.int16)) if len(arrays["labels"]) == batches[-1].stop else None


def _write_index(cached, stamps, batches, labels):
    import numpy as np

    files = [[*stamp, batch.rows, batch.offset, batch.side] for stamp, batch in zip(stamps, batches)]
    try:
        write_npz(cached, compressed=False, files=np.array(json.dumps(files)), labels=labels)
    except InputError as error:  # without a cache only the next start is slower
        from common import console

        console.say(f"note: the index of these files is not cached ({error})")


def _make_index(paths, stamps):
    """Return (batches, labels (N,) int16 as stored) from the files' headers and labels."""
    import numpy as np

    batches, labels = [], []
    for path, (_, size, changed) in zip(paths, stamps):
        rows, side, offset, batch_labels = _inspect(path)
        if batches and side != batches[0].side:
            raise InputError(f"images of {side} x {side} pixels, but {batches[0].side} x {batches[0].side} in "
                             f"{batches[0].path.name}", where=path, do="Keep each size in a folder of its own")
        batches.append(Batch(path, size, changed, rows, offset, side))
        labels.append(batch_labels)
    return _numbered(batches), np.concatenate(labels)


def _numbered(batches):
    """Return the batches with the number of each one's first image."""
    first, result = 0, []
    for batch in batches:
        result.append(Batch(batch.path, batch.size, batch.changed, batch.rows, batch.offset, batch.side, first))
        first += batch.rows
    return result


def _inspect(path):
    """Return (rows, side, offset or -1, labels int16) of one file; of an npz the images are not read."""
    import numpy as np

    from common.formats.npz import npz_place

    if path.suffix.lower() == ".npz":
        shape, dtype, offset = npz_place(path, "data")
        labels = read_npz(path, required=("labels",))["labels"]
    else:
        data, labels = read_pickled_batch(path)
        shape, dtype, offset = data.shape, data.dtype, None
    side = math.isqrt(shape[1] // 3) if len(shape) == 2 else 0
    if len(shape) != 2 or dtype != np.uint8 or side < 1 or 3 * side**2 != shape[1]:
        raise InputError(f"'data' is {dtype} {tuple(shape)}, expected uint8 (rows, 3 side side)", where=path,
                         do=LAYOUT_DO)
    labels = np.asarray(labels)
    if labels.shape != (shape[0],) or (labels.size and labels.dtype.kind not in "iu"):
        raise InputError(f"'labels' is {labels.dtype} {labels.shape} for {shape[0]} images", where=path, do=LAYOUT_DO)
    if labels.size and not 1 <= int(labels.min()) <= int(labels.max()) <= 1000:
        raise InputError(f"labels run {labels.min()} .. {labels.max()}, expected 1 .. 1000", where=path,
                         do="Use the published files; add 1 to labels that start at 0")
    return shape[0], side, -1 if offset is None else offset, labels.astype(np.int16)


def _check_sum(path):
    """Return the CRC-32 of a batch's images, which an .npz tells, or of a whole pickle."""
    import zlib

    if path.suffix.lower() == ".npz":
        with open_zip(path) as archive:
            return archive.getinfo("data.npy").CRC
    total = 0
    with system_errors(path), open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            total = zlib.crc32(block, total)
    return total


class NpzBatches:
    """Images of all batch files by their global number.

    labels: (N,) int16, 1..1000 as stored.  side: in pixels.  notes: lines for the console.
    Use as a context manager, or close().
    """

    def __init__(self, batches, labels, notes=()):
        import numpy as np

        self.notes = list(notes)
        self.batches, self.labels, self.side = batches, labels, batches[0].side
        self.row_bytes = 3 * self.side**2
        self._stops = np.array([batch.stop for batch in batches])
        self._streams, self._unpacked = {}, None

    def __len__(self):
        return len(self.labels)

    def identity(self):
        """Return what identifies the images, for records: [file name, bytes, rows, check sum] of each file, side, label
        hash."""
        files = [[batch.path.name, batch.size, batch.rows, _check_sum(batch.path)] for batch in self.batches]
        return {"files": files, "side": self.side, "labels_sha256": hashlib.sha256(self.labels.tobytes()).hexdigest()}

    def places(self, indices):
        """Return (file, row), int64 arrays (n,): each image's file number and its row there."""
        import numpy as np

        indices = np.asarray(indices, np.int64)
        if indices.size and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(f"image {indices.max()} of {len(self)}")
        files = np.searchsorted(self._stops, indices, side="right")
        return files, indices - np.array([batch.first for batch in self.batches])[files]

    def read(self, indices, out=None):
        """Return uint8 (n, 3, side, side), the images of these numbers in this order.

        out: an array of this shape to read into.  Files that cannot be read in place must have been unpacked.
        Raises InputError when a file was truncated or removed.
        """
        import numpy as np

        indices = np.asarray(indices, np.int64)
        shape = (len(indices), 3, self.side, self.side)
        out = np.empty(shape, np.uint8) if out is None else out
        assert out.shape == shape
        assert out.flags.c_contiguous
        targets = memoryview(out.reshape(-1)).cast("B") if len(indices) else memoryview(b"")
        for stream, path, base, numbers, positions in self._requests(indices):
            self._read_rows(stream, path, base, numbers, positions, targets)
        return out

    def _requests(self, indices):
        """Yield (file descriptor, path, offset of row 0, ascending rows, positions in the result) by file."""
        import numpy as np

        files, rows = self.places(indices)
        order = np.lexsort((rows, files))
        for file in np.unique(files):
            chosen = order[files[order] == file]
            batch, numbers = self.batches[file], rows[chosen]
            path, base = batch.path, batch.offset
            if base < 0:
                if self._unpacked is None:
                    raise RuntimeError("call unpack() before reading compressed rows")
                path, numbers, base = self._unpacked.place(batch.first + numbers)
            yield self._stream(path), path, base, numbers.tolist(), chosen.tolist()

    def _stream(self, path):
        if path not in self._streams:
            with system_errors(path):
                self._streams[path] = os.open(path, os.O_RDONLY)
        return self._streams[path]

    def _read_rows(self, stream, path, base, numbers, positions, targets):
        """Read ascending rows into their positions; consecutive rows take one system call."""
        size, start = self.row_bytes, 0
        with system_errors(path):
            while start < len(numbers):
                stop = start + 1
                while stop < len(numbers) and numbers[stop] == numbers[stop - 1] + 1 and stop - start < VECTORS:
                    stop += 1
                views = [targets[place * size : (place + 1) * size] for place in positions[start:stop]]
                if os.preadv(stream, views, base + numbers[start] * size) != size * (stop - start):
                    raise InputError(f"ends before row {numbers[stop - 1]}", where=path, do="Copy the file again")
                start = stop

    def announce(self, indices):
        """Ask the system to prefetch these images from disk for a later `read`."""
        for stream, _, base, numbers, _ in self._requests(indices):
            for number in numbers:
                os.posix_fadvise(stream, base + number * self.row_bytes, self.row_bytes, os.POSIX_FADV_WILLNEED)

    def unpack(self, indices=None):
        """Make these images (None: all) of compressed and pickled files readable; no effect on other files.

        Each such file is inflated once, front to back, and the requested rows are cached uncompressed
        (GENPROBE_CACHE/imagenet_npz) under a key of files and rows: the next run with the same rows inflates nothing,
        and once all rows are cached, no run does.
        """
        from common.datasets.imagenet.unpacked import unpack

        self._unpacked = unpack(self, indices)

    def close(self):
        """Close the files."""
        while self._streams:
            os.close(self._streams.popitem()[1])

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()
