"""Uncompressed copies of rows of compressed npz batches and pickles, in the cache."""

import hashlib

from common.errors import InputError
from common.paths import cache_dir

PIECE = 1024  # rows inflated at a time


class Unpacked:
    """Some images in one .npy file, ascending by global number."""

    def __init__(self, path, numbers, offset):
        self.path, self.numbers, self.offset = path, numbers, offset

    def place(self, indices):
        """Return (path, rows, offset of row 0) of images; RuntimeError for one that was not unpacked."""
        import numpy as np

        rows = np.searchsorted(self.numbers, indices)
        if len(indices) and (rows.max() >= len(self.numbers) or not np.array_equal(self.numbers[rows], indices)):
            raise RuntimeError("image was not unpacked")
        return self.path, rows, self.offset


def unpack(images, indices=None):
    """Return the Unpacked rows of an NpzBatches' compressed files, None when it has none; see NpzBatches.unpack."""
    import numpy as np

    from common.formats.npy import npy_header
    from common.locks import exclusive

    packed = [batch for batch in images.batches if batch.offset < 0]
    if not packed:
        return None
    everything = np.concatenate([np.arange(batch.first, batch.stop) for batch in packed])
    wanted = everything if indices is None else np.intersect1d(indices, everything)
    folder = cache_dir() / "imagenet_npz"
    for numbers in (everything, wanted):  # a complete copy serves every request
        path = folder / f"rows_{_key(packed, numbers)}.npy"
        if path.exists():
            break
    if not path.exists():
        with exclusive(folder / f".{path.stem}.lock", "another process unpacks these files"):
            if not path.exists():
                _write(path, images, packed, wanted)
        numbers = wanted
    with open(path, "rb") as stream:
        npy_header(stream)
        return Unpacked(path, numbers, stream.tell())


def _key(packed, numbers):
    files = repr([(str(batch.path.resolve()), batch.size, batch.changed, batch.first) for batch in packed]).encode()
    return hashlib.sha256(files + numbers.astype("<i8").tobytes()).hexdigest()[:24]


def _write(path, images, packed, wanted):
    """Write the wanted rows, one pass over each file that has any."""
    import numpy as np

    from common import console
    from common.files import atomic_path

    needed = [batch for batch in packed if np.searchsorted(wanted, batch.first) < np.searchsorted(wanted, batch.stop)]
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(wanted), images.row_bytes)}
    with atomic_path(path) as temporary, open(temporary, "wb") as target, \
            console.progress("unpacking", sum(batch.rows for batch in needed), unit="images") as advance:
        np.lib.format.write_array_header_1_0(target, header)
        for batch in needed:
            first = batch.first
            for rows in stream_rows(batch):
                if len(rows) + first > batch.stop or rows.shape[1] != images.row_bytes:
                    raise InputError("changed while it was read", where=batch.path, do="Run the command again")
                low, high = np.searchsorted(wanted, [first, first + len(rows)])
                target.write(rows[wanted[low:high] - first].tobytes())
                first += len(rows)
                advance(len(rows))


def stream_rows(batch):
    """Yield uint8 (n, columns): a file's rows from front to back, inflated or unpickled once."""
    from common.datasets.sets.locate import read_pickled_batch
    from common.formats.npz import iterate_npz_rows

    if batch.path.suffix.lower() == ".npz":
        yield from iterate_npz_rows(batch.path, "data", PIECE)
        return
    data = read_pickled_batch(batch.path)[0]
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]
