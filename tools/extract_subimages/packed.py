"""Layouts packed and parquet: the pieces that workers leave are joined to shards, in the order of the photos.

A shard is closed by the photo that fills it, so that its bytes do not depend on workers or interruptions. Beside each
lies `shard-000000.jsonl`, a line for each chunk: its header and, for tar, where each sample's image lies in the shard.
"""

import contextlib
import errno
import json
import os
import shutil
from pathlib import Path

from common.errors import InputError, as_input_error
from tools.extract_subimages.records import SEGMENTS, in_the_way, shard_lines
from tools.extract_subimages.sinks import BLOCK, COLUMNS, segment_name, temporary_folder, write_file

END = bytes(1024)  # of a tar file


class Shards:
    """The shards of one run. Units are settled one by one (`settle`), in any order; `close` writes what is left."""

    def __init__(self, options, units, owned=()):
        """owned: names of files in the data set's folder that an earlier run wrote."""
        self.options, self.units = options, units
        self.root = Path(options.save_folder)
        self.ending = "tar" if options.layout == "packed" else "parquet"
        self.limit = options.shard_mb * 1_000_000
        self.tiles, self.chunks, self.headers = {}, {}, {}  # of units in finished shards, by index
        self.owned, self.paths = owned, []
        self._read_finished()
        self.next = max(self.tiles, default=-1) + 1  # finished shards hold the first photos
        self.settled = {}  # index -> bytes of its piece, 0 for a skipped one
        self.pending, self.pending_bytes, self.joined = [], 0, None

    def _read_finished(self):
        """Note the finished shards and what they hold. Those behind one that is missing or damaged are made again."""
        indices = {unit.source.path: unit.index for unit in self.units}
        while lines := whole_shard(self._final()):
            for line in lines:
                index = indices.get(line["header"]["source"], -1)
                self.tiles[index] = self.tiles.get(index, 0) + line["header"]["tiles"]
                self.chunks[index] = self.chunks.get(index, 0) + 1
                self.headers[index] = line["header"]
            self.paths.append(self._final())
        finished = {path.stem for path in self.paths}
        for name in self.owned:
            if name.startswith("shard-") and Path(name).stem not in finished:
                (self.root / name).unlink(missing_ok=True)

    def header(self, unit):
        """Return what is known of a unit that is in a shard or has its whole piece, else None."""
        if unit.index in self.headers:
            return self.headers[unit.index]
        try:
            index = self._index(unit)
            whole = self._piece(unit).stat().st_size == index["bytes"]
            return index["chunks"][0]["header"] if whole else None
        except (OSError, ValueError, KeyError, IndexError, TypeError):
            return None

    def finished(self, unit):
        """Return {"chunks": count, "tiles", "about"} of a unit that has a header."""
        if unit.index in self.tiles:
            self._piece(unit).unlink(missing_ok=True)  # left by a kill right after the shard was written
            self._piece(unit).with_suffix(".json").unlink(missing_ok=True)
            return {"chunks": [""] * self.chunks[unit.index], "tiles": self.tiles[unit.index],
                    "about": self.headers[unit.index]}
        index = self._index(unit)
        self.settle(unit, index["bytes"])
        tiles = sum(chunk["header"]["tiles"] for chunk in index["chunks"])
        return {"chunks": [""] * len(index["chunks"]), "tiles": tiles, "about": index["chunks"][0]["header"]}

    def _piece(self, unit):
        return self.root / SEGMENTS / segment_name(unit)

    def _index(self, unit):
        return json.loads(self._piece(unit).with_suffix(".json").read_text(encoding="utf-8"))

    def settle(self, unit, length=None):
        """Note that a unit's piece is there (its length is looked up), or that it was skipped (length 0)."""
        if unit.index < self.next:
            if length is None:  # skipped when the shard was made
                self._piece(unit).unlink()
                raise InputError("can be read now, and the shards are finished without it", where=unit.source.full,
                                 do="Use another folder, or --overwrite to start over")
            return
        self.settled[unit.index] = os.path.getsize(self._piece(unit)) if length is None else length
        while self.next in self.settled:
            length = self.settled.pop(self.next)
            if length:
                self._append(self.units[self.next], length)
            self.next += 1
            if self.pending_bytes >= self.limit:
                self._write()

    def close(self):
        """Write the last shard and remove the pieces' folder."""
        if self.pending:
            self._write()
        shutil.rmtree(self.root / SEGMENTS, ignore_errors=True)

    def _append(self, unit, length):
        """Add a unit's piece to the shard; a tar grows while the workers are at the next photos."""
        if self.ending == "tar":
            with self._errors():
                self.joined = self.joined or Path(temporary_folder(self.root)) / "shard"
                mode = "r+b" if self.joined.exists() else "wb"  # "ab" would keep sendfile out
                with open(self.joined, mode) as shard, open(self._piece(unit), "rb") as piece:
                    shard.seek(0, os.SEEK_END)
                    if not _copied_by_system(piece, shard, length):
                        shutil.copyfileobj(piece, shard, 1 << 22)
        self.pending.append(unit)
        self.pending_bytes += length

    @contextlib.contextmanager
    def _errors(self):
        try:
            yield
        except OSError as error:
            raise (as_input_error(error, where=self._final()) or error) from error

    def _final(self):
        return self.root / f"shard-{len(self.paths):06d}.{self.ending}"

    def _write(self):
        """Close the shard: its index, then the shard itself, get their names, then the pieces go."""
        final = self._final()
        with self._errors():
            self.joined = self.joined or Path(temporary_folder(self.root)) / "shard"
            lines = (self._close_tar if self.ending == "tar" else self._join_parquet)(self.joined)
            for path in (final, final.with_suffix(".jsonl")):
                if os.path.lexists(path) and path.name not in self.owned:
                    raise in_the_way(path)
            write_file(self.joined.with_name("index"), "".join(lines).encode())
            os.rename(self.joined.with_name("index"), final.with_suffix(".jsonl"))
            os.rename(self.joined, final)
            self.joined.parent.rmdir()
        for unit in self.pending:
            self._piece(unit).unlink()
            self._piece(unit).with_suffix(".json").unlink()
        self.paths.append(final)
        self.pending, self.pending_bytes, self.joined = [], 0, None

    def _close_tar(self, path):
        """Write the end of the tar and return the lines of its index."""
        with open(path, "ab") as shard:
            shard.write(END)
        lines, base = [], 0
        for unit in self.pending:
            index = self._index(unit)
            for chunk in index["chunks"]:
                samples = [[stem, where + base, *rest] for stem, where, *rest in chunk["samples"]]
                line = {"chunk": chunk["chunk"], "header": chunk["header"],
                        "columns": ["name", "offset", "bytes", *COLUMNS], "samples": samples}
                lines.append(json.dumps(line) + "\n")
            base += index["bytes"]
        return lines

    def _join_parquet(self, path):
        """Write a row for each tile, a row group for each photo; the first tile of a chunk has its reference."""
        import pyarrow
        import pyarrow.parquet

        lines, writer = [], None
        for unit in self.pending:
            data, rows = self._piece(unit).read_bytes(), []
            for chunk in self._index(unit)["chunks"]:
                lines.append(json.dumps({"chunk": chunk["chunk"], "header": chunk["header"]}) + "\n")
                *tiles, (_, begins, size, *_) = chunk["samples"]
                reference = {"bytes": data[begins : begins + size], "path": f"{utf8(chunk['chunk'])}/ref.jpg"}
                for stem, where, length, *values in tiles:
                    told = dict(zip(COLUMNS, values))
                    row, col = told.pop("center")
                    name = f"{utf8(chunk['chunk'])}/{stem}"
                    image = {"bytes": data[where : where + length], "path": f"{name}.{chunk['header']['format']}"}
                    rows.append({"key": name, **told, "source": utf8(chunk["header"]["source"]), "row": row, "col": col,
                                 "image": image, "reference": reference})
                    reference = None
            table = pyarrow.Table.from_pylist(rows, schema=_schema(pyarrow))
            writer = writer or pyarrow.parquet.ParquetWriter(path, table.schema, compression="none",
                                                             write_statistics=["id", "scale"])
            writer.write_table(table, row_group_size=len(rows))
        writer.close()
        return lines


def utf8(name):
    """Return a name with the bytes that are not UTF-8 written as \\udcff: parquet takes no others."""
    return name.encode(errors="backslashreplace").decode()


def whole_shard(path):
    """Return the lines of a shard's index where the shard is there and as long as the index says, else None."""
    lines = shard_lines(path)
    if lines is None or not path.exists():
        return None
    if path.suffix == ".tar":
        return lines if path.stat().st_size == _tar_length(lines) else None
    import pyarrow
    import pyarrow.parquet

    try:
        rows, schema = pyarrow.parquet.read_metadata(path).num_rows, pyarrow.parquet.read_schema(path)
    except (pyarrow.ArrowException, OSError):
        return None
    if not schema.equals(_schema(pyarrow)):  # of a version whose images were bytes: shards of one set are alike
        return None
    return lines if rows == sum(line["header"]["tiles"] for line in lines) else None


def _tar_length(lines):
    """Return the bytes of a tar by where the last image, a reference, lies in it."""
    try:
        ends = max(begins + length for line in lines for _, begins, length, *_ in line["samples"])
        return ends + -ends % BLOCK + len(END)
    except (KeyError, TypeError, ValueError):
        return None


def _copied_by_system(source, target, length):
    """Copy `length` bytes inside the kernel; False, and nothing copied, where the file systems do not offer that."""
    copied = 0
    while copied < length:
        try:
            done = os.sendfile(target.fileno(), source.fileno(), copied, length - copied)
        except OSError as error:
            if copied or error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            return False
        if not done:
            raise OSError(errno.ENOENT, "a piece is shorter than its index says", source.name)
        copied += done
    return True


def _schema(pyarrow):
    """Return the columns, with the metadata by which Hugging Face's datasets takes `image` for pictures."""
    whole = [name for name in COLUMNS if name != "center"] + ["row", "col"]
    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    fields = [("key", pyarrow.string()), ("source", pyarrow.string()), *((name, pyarrow.int32()) for name in whole),
              ("image", image), ("reference", image)]
    features = {name: {"_type": "Image"} if kind == image else {"dtype": str(kind), "_type": "Value"}
                for name, kind in fields}
    return pyarrow.schema(fields, {"huggingface": json.dumps({"info": {"features": features}})})
