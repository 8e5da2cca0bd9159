"""Chunks in shards: tar files that webdataset readers take, and parquet files, both as extract_subimages packs them.

A sample is an image with a key `<chunk>/<tile>` and its number, centre and width. A reference lies in a tar as
`__references__/<chunk>/ref`, in parquet in a column of its own beside the first tile of its chunk. Beside
shard-000000.tar lies shard-000000.jsonl, a line for each chunk, which tells where each image lies; a tar without it is
looked through member by member on each start. Parquet files tell it in their columns.
"""

import json
import os
import re
from collections import OrderedDict

from common.datasets.dlas.chunked import warn
from common.datasets.dlas.chunked.chunks import FolderChunk, decode_whole
from common.datasets.dlas.chunked.index import REFERENCES, Folder
from common.errors import InputError
from common.files import system_errors
from common.formats.tars import tar_errors, tar_members
from common.formats.zips import HIGHEST_RATIO, LARGE
from common.images.suffixes import is_image

COLUMNS = ("id", "row", "col", "width")
SHARD = re.compile(r"shard-(\d{6})\.(?:tar|parquet)")
DO = "Extract the data set again, or copy this shard again"
BATCH, MOST_ROWS = 32 << 20, 1024  # bytes and rows that are unfolded at a time
FEW = 64 << 20  # bytes of a row group from which on the ratio counts


class PackedChunk(FolderChunk):
    """A chunk in a shard; its tiles bear the names they would have in the layout of folders."""

    __slots__ = ("_shard", "_spans", "_reference", "_centers", "_source")

    def __init__(self, root, name, shard, samples, ending, source=None):
        """samples: [(stem, span for shard.read, id or None, (row, col, width) or None)] of one chunk."""
        tiles = sorted((stem, span) for stem, span, number, _ in samples if number is not None)
        super().__init__(root, Folder(name, (), "/".join(f"{stem}{ending}" for stem, _ in tiles), ""))
        self._source = source if isinstance(source, str) else None
        self._shard, self._spans = shard, [span for _, span in tiles]
        self._reference = next((span for _, span, number, _ in samples if number is None), None)
        self._centers = {number: place for _, _, number, place in samples if number is not None and place is not None}

    def read_tile(self, position):
        """Return the pixels of a tile. Raises InputError naming shard and tile when they cannot be read."""
        return self._read(self._spans[position], self.label(position))

    def read_reference(self):
        """Return the pixels of the reference, or None when the shard has none for this chunk."""
        return None if self._reference is None else self._read(self._reference, f"{self.root}/{self.name}/ref")

    def read_centers(self):
        """Return {id: (row, col, width)}, in pixels of the reference."""
        return self._centers

    def read_source(self):
        """Return the path of the photo below its input folder, or None."""
        return self._source

    def _read(self, span, label):
        return decode_whole(self._shard.read(span), f"{self._shard.path}: {label}")


class TarShard:
    """Images in a tar file, by (offset, bytes)."""

    def __init__(self, path):
        self.path = path

    def read(self, span):
        """Return the bytes of a span (offset, length)."""
        offset, length = span
        with system_errors(self.path), open(self.path, "rb") as stream:
            length = min(length, os.fstat(stream.fileno()).st_size - offset + 1)  # no more room than there are bytes
            stream.seek(offset)
            data = stream.read(max(length, 0))
        if len(data) != span[1]:
            raise InputError("ends before the image", where=self.path, do=DO)
        return data


class ParquetShard:
    """Images in a parquet file, by (row group, row in it, column); the row groups read last are kept, up to `limit`
    bytes."""

    def __init__(self, path, limit):
        self.path, self.limit = path, limit
        self._groups, self._bytes = OrderedDict(), 0

    def read(self, span):
        """Return the image's bytes at a span (row group, row, column); a few groups stay in memory."""
        group, row, name = span
        if (group, name) in self._groups:
            self._groups.move_to_end((group, name))
        else:
            with parquet_errors(self.path) as parquet:
                values = read_rows(parquet.ParquetFile(self.path), group, [name], self.path)[name]
                self._groups[group, name] = images = [stored_bytes(value) for value in values]
                self._bytes += _length(images)
            while self._bytes > self.limit and len(self._groups) > 1:
                _, images = self._groups.popitem(last=False)
                self._bytes -= _length(images)
        return self._groups[group, name][row]

    def __getstate__(self):
        """Workers start with none."""
        return {"path": self.path, "limit": self.limit, "_groups": OrderedDict(), "_bytes": 0}


def read_rows(file, group, columns, path):
    """Return {column: [values]} of a row group of an open ParquetFile.

    Raises ValueError where far more comes out than the file can honestly hold: one value may stand for a million rows.
    """
    left = max(FEW, HIGHEST_RATIO * os.path.getsize(path))
    claimed, found = max(file.metadata.row_group(group).total_byte_size, 1), {name: [] for name in columns}
    for batch in file.iter_batches(max(1, min(MOST_ROWS, BATCH // claimed)), [group], columns):
        left -= batch.nbytes
        if left < 0:
            raise ValueError(f"more unfolds from {os.path.getsize(path):,} bytes than they can hold")
        for name, values in found.items():
            values += batch.column(name).to_pylist()
    return found


def stored_bytes(value):
    """Return the bytes of an image of a parquet column, which are in a struct {bytes, path} or the value itself."""
    return value.get("bytes") if isinstance(value, dict) else value


def _length(images):
    return sum(len(image) for image in images if image is not None)


def open_packed(listing, limit):
    """Return the chunks in the shards of a data set's root. Raises InputError naming a shard that cannot be read."""
    chunks, root = [], listing.root.rstrip("/") or "/"
    numbers = {int(found[1]) for found in map(SHARD.fullmatch, listing.files) if found}
    gaps = sorted({*range(max(numbers, default=0))} - numbers)
    if gaps:
        warn(f"{listing.root}: shard-{gaps[0]:06d} is missing" + (f", and {len(gaps) - 1} more" if gaps[1:] else ""))
    for name in listing.files:
        path = f"{listing.root}/{name}"
        if name.endswith(".tar"):
            chunks += _open_tar(root, path)
        elif name.endswith(".parquet"):
            chunks += _open_parquet(root, path, limit)
    return chunks


def _open_tar(root, path):
    """Return the chunks of a tar, told by the .jsonl beside it, or by its members where there is none."""
    shard, told = TarShard(path), f"{path.removesuffix('.tar')}.jsonl"
    rows = _read_told(told, path) if os.path.exists(told) else _read_members(path)
    return [chunk for name, *rest in rows if len(chunk := PackedChunk(root, name, shard, *rest))]


def _read_told(told, path):
    """Yield (chunk, samples, ending, source) of the lines of a shard's .jsonl; every image must lie in the shard."""
    with system_errors(told), open(told, "rb") as stream:
        lines = stream.read().splitlines()
    with system_errors(path):
        size = os.path.getsize(path)
    try:
        for line in lines:
            row = json.loads(line)
            at = {name: place for place, name in enumerate(row["columns"])}
            name, offset, length, number, center, width = (at[key]
                                                           for key in ("name", "offset", "bytes", "id", "center",
                                                                       "width"))
            samples = []
            for sample in row["samples"]:
                span = sample[offset], sample[length]
                if not (type(span[0]) is int and type(span[1]) is int and 0 <= span[0] <= span[0] + span[1] <= size):
                    raise InputError(f"sample {sample[name]!r:.60} lies at {span}, the shard has {size} bytes",
                                     where=told, do=DO)
                place = (*sample[center], sample[width]) if sample[number] is not None and sample[center] else None
                samples.append(_checked(sample[name], span, sample[number], place))
            yield str(row["chunk"]), samples, f".{row['header']['format']}", row["header"].get("source")
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise InputError(f"not the index of a shard ({type(error).__name__}: {error})", where=told, do=DO) from error


def _read_members(path):
    """Yield (chunk, samples, ending) of a tar by its members: images, and .json files with id, center and width."""
    import tarfile

    warn(f"{path} has no .jsonl beside it and is looked through, which takes time on each start")
    images, places = {}, {}
    with tar_errors(path, "not a tar file of samples", DO):
        with tarfile.open(path, "r:") as archive:
            for member in tar_members(archive, os.path.getsize(path)):
                stem, dot, ending = member.name.rpartition(".")
                if ending == "json":
                    places[stem] = json.loads(archive.extractfile(member).read())
                elif is_image(f"{dot}{ending}"):
                    images[stem] = (member.offset_data, member.size, f"{dot}{ending}")
        chunks = {}
        for key, (offset, length, ending) in images.items():
            name, _, stem = key.removeprefix(REFERENCES).rpartition("/")
            told = places.get(key, {})
            place = (*told["center"], told["width"]) if told.get("center") else None
            number = told.get("id", int(stem) if stem.isascii() and stem.isdigit() else None)
            chunks.setdefault(name, ([], ending))[0].append(_checked(stem, (offset, length), number, place))
    for name, (samples, ending) in chunks.items():
        yield name, samples, ending


def _open_parquet(root, path, limit):
    """Return the chunks of a parquet file: all columns but the images are read."""
    chunks, sources, shard = {}, {}, ParquetShard(path, limit)
    with parquet_errors(path) as parquet:
        file = parquet.ParquetFile(path)
        check_parquet_claims(file.metadata, path)
        for group in range(file.num_row_groups):
            wanted = ["key", *COLUMNS, *({"source"} & {*file.schema_arrow.names})]
            columns = read_rows(file, group, wanted, path)
            for row, (key, number, *place) in enumerate(zip(columns["key"], *(columns[name] for name in COLUMNS))):
                name, _, stem = key.rpartition("/")
                sample = _checked(stem, (group, row, "image"), number, None if None in place else tuple(place))
                if name not in chunks and "reference" in file.schema_arrow.names:
                    chunks[name] = [("ref", (group, row, "reference"), None, None)]
                chunks.setdefault(name, []).append(sample)
                sources[name] = columns["source"][row] if "source" in columns else None
    ending = _told_ending(f"{path.removesuffix('.parquet')}.jsonl")
    return [chunk for name, samples in chunks.items()
            if len(chunk := PackedChunk(root, name, shard, samples, ending, sources[name]))]


def check_parquet_claims(metadata, path):
    """Raise ValueError where a parquet file claims more rows, or far more bytes, than it can hold."""
    size = os.path.getsize(path)
    unfolded = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    if metadata.num_rows > size or unfolded > max(LARGE, HIGHEST_RATIO * size):
        raise ValueError(f"{metadata.num_rows:,} rows of {unfolded:,} bytes in a file of {size:,}")


def _told_ending(told):
    """Return the ending of the tiles' names that the .jsonl beside a shard tells, or .jpg: only names depend on it."""
    try:
        with open(told, "rb") as stream:
            return f".{json.loads(stream.readline())['header']['format']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ".jpg"


class parquet_errors:
    """Gives pyarrow.parquet to the body; what pyarrow raises about a file, or its absence, becomes an InputError."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        try:
            import pyarrow.parquet
        except ImportError as error:
            raise InputError("pyarrow is needed to read it, and is not installed", where=self.path,
                             do="pip install pyarrow, or extract with --layout packed") from error
        return pyarrow.parquet

    def __exit__(self, kind, error, _):
        if error is None or isinstance(error, InputError):
            return
        import pyarrow

        if isinstance(error, (pyarrow.ArrowException, OSError, LookupError, ValueError, AttributeError, TypeError,
                              OverflowError, RuntimeError, MemoryError)):
            raise InputError(f"not a parquet file of samples ({error})", where=self.path, do=DO) from error


def _checked(stem, span, number, place):
    """Return a sample after a look at its types (TypeError)."""
    numbers = [*(place or ()), *([] if number is None else [number])]
    if not isinstance(stem, str) or not all(type(value) is int and abs(value) < 1 << 31 for value in numbers):
        raise TypeError(f"sample {stem!r:.40} is not told by whole numbers")
    if place is not None and len(place) != 3:
        raise TypeError(f"the centre of sample {stem!r:.40} is not a pair")
    return stem, span, number, place
