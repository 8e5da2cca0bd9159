"""Reading npz batches of ImageNet and writing activations, against the plain ways."""

import atexit
import os
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path
from unittest import mock

from tests.bench.registry import bench

ROWS, FILES, LAST, COLUMNS = 128_116, 10, 128_123, 12_288  # of the published training set
BATCH = 128


def _folder(place=None):
    """Return a temporary folder that is removed when the process ends."""
    folder = tempfile.mkdtemp(prefix="genprobe_imagenet.", dir=place)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def write_sparse(path, rows, marked, labels):
    """Write a stored npz of `rows` images, all zero but the `marked` rows (in holes of the file): a few MB on the disk.

    marked: {row: uint8 (12288,)}.
    """
    import io

    import numpy as np

    header, zeros = io.BytesIO(), bytes(COLUMNS)
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (rows, COLUMNS)})
    crc, run = zlib.crc32(header.getvalue()), bytes(COLUMNS * 256)
    row = 0
    marks = sorted(marked)
    for stop in [*marks, rows]:
        while row < stop:
            count = min(256, stop - row)
            crc = zlib.crc32(run[: count * COLUMNS], crc)
            row += count
        if stop < rows:
            crc = zlib.crc32(marked[stop].tobytes(), crc)
            row += 1
    size = len(header.getvalue()) + rows * COLUMNS
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        with archive.open(zipfile.ZipInfo("labels.npy"), "w") as stream:
            np.lib.format.write_array(stream, labels)
        entry = zipfile.ZipInfo("data.npy")
        entry.header_offset, entry.CRC, entry.file_size, entry.compress_size = archive.fp.tell(), crc, size, size
        archive.fp.write(entry.FileHeader(zip64=False) + header.getvalue())
        start = archive.fp.tell()
        for number in marks:
            archive.fp.seek(start + number * COLUMNS)
            archive.fp.write(marked[number].tobytes())
        archive.fp.seek(start + rows * COLUMNS - 1)
        archive.fp.write(zeros[:1] if rows - 1 not in marked else marked[rows - 1].tobytes()[-1:])
        archive.filelist.append(entry)
        archive.NameToInfo[entry.filename] = entry
        archive.start_dir = archive.fp.tell()
        archive._didModify = True


def make_set(folder, order, rows=ROWS, last=LAST, files=FILES):
    """Write batch files of the published sizes; the images `order` (global numbers) have random pixels."""
    import numpy as np

    draws, first = np.random.default_rng(0), 0
    for number in range(1, files + 1):
        count = last if number == files else rows
        inside = [int(index) - first for index in order if first <= index < first + count]
        marked = {row: draws.integers(0, 256, COLUMNS, np.uint8) for row in inside}
        write_sparse(folder / f"train_data_batch_{number}.npz", count, marked, draws.integers(1, 1001, count))
        first += count


def plain_batch(folder, indices):
    """Return a batch as the original reads it: each file that it needs is loaded whole."""
    import re

    import numpy as np

    paths = sorted(folder.glob("*.npz"), key=lambda path: int(re.search(r"_(\d+)$", path.stem).group(1)))
    counts = [ROWS] * (len(paths) - 1) + [LAST]
    firsts = np.cumsum([0, *counts])
    images = np.empty((len(indices), 3, 64, 64), np.uint8)
    files = np.searchsorted(firsts, indices, side="right") - 1
    for file in np.unique(files):
        with np.load(paths[file]) as archive:
            data = archive["data"]
        for place in np.flatnonzero(files == file):
            images[place] = data[indices[place] - firsts[file]].reshape(3, 64, 64)
    return images


@bench("imagenet.npz_batches", peer="numpy.load of each needed file per batch", unit="images/s", items=BATCH, rounds=3,
       at_least=1000)
def npz_batches():
    """Random batches of 128 over ten stored files of the real size (1,281,167 images, made sparse)."""
    from common.datasets.imagenet.npz_batches import open_npz_batches
    from tools.extract_real_imagenet.select import sample_order

    folder = _folder()
    order = sample_order(10, ROWS * (FILES - 1) + LAST)[: 100 * BATCH]
    make_set(folder, order)
    with mock.patch.dict(os.environ, {"GENPROBE_CACHE": str(folder / "cache")}):
        images, turn = open_npz_batches(folder), {"ours": 0}
    first = order[:BATCH]

    def ours():
        """The first call gives the batch that the peer reads, later ones the next batches."""
        start = turn["ours"] % 100 * BATCH
        turn["ours"] += 1
        return images.read(order[start : start + BATCH])

    return ours, lambda: plain_batch(folder, first)


@bench("imagenet.npz_warm", peer="rows of numpy.memmap, one by one", unit="images/s", items=100 * BATCH)
def npz_warm():
    """The same 100 batches again and again, on one thread: what is read lies in the system's cache. Promised: 30,000
    images/s."""
    import numpy as np

    from common.datasets.imagenet.npz_batches import open_npz_batches
    from tools.extract_real_imagenet.select import sample_order

    folder = _folder()
    order = sample_order(10, ROWS * (FILES - 1) + LAST)[: 100 * BATCH]
    make_set(folder, order)
    with mock.patch.dict(os.environ, {"GENPROBE_CACHE": str(folder / "cache")}):
        images = open_npz_batches(folder)
    maps = [np.memmap(batch.path, np.uint8, "r", batch.offset, (batch.rows, COLUMNS)) for batch in images.batches]

    def ours():
        return [images.read(order[start : start + BATCH]) for start in range(0, len(order), BATCH)][-1]

    def peer():
        for start in range(0, len(order), BATCH):
            files, rows = images.places(order[start : start + BATCH])
            batch = np.stack([maps[file][row] for file, row in zip(files, rows)])
        return batch.reshape(-1, 3, 64, 64)

    return ours, peer, np.array_equal


SAMPLES, WIDTH = 64, 49_152  # of a batch, and values of each of the two default layers


@bench("imagenet.write", peer="numpy.savez_compressed per sample", unit="samples/s", items=SAMPLES, at_least=20)
def write():
    """Activations of the two default layers (float32), a batch of 64: the fast form against one file for each
    sample."""
    import numpy as np

    from common.activations.flat import NpyForm
    from common.activations.layout import Tree

    folder = _folder()
    draws = np.random.default_rng(0)
    layers = {name: draws.standard_normal((SAMPLES, WIDTH), np.float32) for name in ("encoder_bottleneck", "midblock")}
    units, turn = 4, {"ours": 0}
    form = NpyForm(Tree(folder, "imagenet_real"), dict.fromkeys(layers, WIDTH), "float32", units * SAMPLES, SAMPLES)
    form.prepare()

    def ours():
        unit = turn["ours"] % units
        turn["ours"] += 1
        form.write(unit, range(SAMPLES), layers)
        return unit

    def peer():
        for row in range(SAMPLES):
            np.savez_compressed(folder / f"sample_{row:06d}.npz", **{name: rows[row] for name, rows in layers.items()})

    def same(unit, _):
        kept = np.load(folder / "activations" / "imagenet_real" / "activations.npy.partial", mmap_mode="r")
        for column, (name, rows) in enumerate(sorted(layers.items())):
            theirs = np.stack([np.load(folder / f"sample_{row:06d}.npz")[name] for row in range(SAMPLES)])
            ours = kept[unit * SAMPLES : (unit + 1) * SAMPLES, column * WIDTH : (column + 1) * WIDTH]
            if not np.array_equal(ours, rows) or not np.array_equal(theirs, rows):
                return False
        return True

    return ours, peer, same


@bench("imagenet.write_default", peer="numpy.savez_compressed per batch, as the original", unit="samples/s",
       items=SAMPLES, at_least=10)
def write_default():
    """Activations of the two default layers (float32), a batch of 64: the default form against the original's file."""
    import numpy as np

    from common.activations.layout import Tree
    from common.activations.store import NpzForm

    folder = _folder()
    draws = np.random.default_rng(0)
    layers = {name: draws.standard_normal((SAMPLES, WIDTH), np.float32) for name in ("encoder_bottleneck", "midblock")}
    form = NpzForm(Tree(folder, "imagenet_real"), dict.fromkeys(layers, WIDTH), "float32", SAMPLES, SAMPLES)
    form.prepare()

    def ours():
        form.write(0, range(SAMPLES), layers)
        return form.path(0)

    def peer():
        np.savez_compressed(folder / "batch_000000.npz", **layers)
        return folder / "batch_000000.npz"

    def same(first, second):
        return all(np.array_equal(np.load(path)[name], rows) for path in (first, second)
                   for name, rows in layers.items())

    return ours, peer, same
