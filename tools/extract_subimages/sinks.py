"""Writing of a photo's files. Whatever has its final name is complete: a folder or a segment appears by one rename.

Unfinished files are in `.unfinished` inside the data set; single tiles are not flushed to disk one by one.
"""

import errno
import itertools
import json
import os
import shutil
from pathlib import Path

from common.datasets.dlas.chunked.centers import FILE as CENTERS
from common.errors import as_input_error

UNFINISHED, SEGMENTS = ".unfinished", ".segments"
GEOMETRY = "geometry.jsonl"
BLOCK = 512  # of a tar file
_numbers = itertools.count()


def write_file(path, data):
    """Write a new file in one go. A full disk or the like becomes an InputError that names it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            written = os.write(descriptor, data)
            while written < len(data):  # cut short by a signal, or at 2 GB
                written += os.write(descriptor, memoryview(data)[written:])
        finally:
            os.close(descriptor)
    except OSError as error:
        raise (as_input_error(error, where=path) or error) from error


def temporary_folder(root):
    """Create and return a new folder below `.unfinished`, unique to this process."""
    path = f"{root}/{UNFINISHED}/{os.getpid()}-{next(_numbers)}"
    try:
        os.makedirs(path)
    except OSError as error:
        raise (as_input_error(error, where=path) or error) from error
    return path


class FolderSink:
    """One folder for each chunk: tiles, ref.jpg, centers.pt and geometry.jsonl."""

    def __init__(self, root):
        self.root, self.folders, self.bytes = str(root), [], 0

    def chunk(self, name):
        """Start the folder of a chunk; returns add(file name, data)."""
        folder = temporary_folder(self.root)
        self.folders.append((folder, f"{self.root}/{name}"))

        def add(file, data, record=None):
            write_file(f"{folder}/{file}", data)
            self.bytes += len(data)

        return add

    def finish(self):
        """Rename every folder to its final name, replacing an older one."""
        for folder, final in self.folders:
            try:
                os.rename(folder, final)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise (as_input_error(error, where=final) or error) from error
                os.rename(final, f"{folder}-old")
                os.rename(folder, final)
                shutil.rmtree(f"{folder}-old")

    def abandon(self):
        """Remove what is unfinished."""
        for folder, _ in self.folders:
            shutil.rmtree(folder, ignore_errors=True)


class SegmentSink:
    """A piece of a tar file per photo, and a JSON index of its content.

    Sample keys are `<chunk>/<id>` for tiles and `<chunk>/ref`; each has an image and a .json. The pieces are joined to
    shards later (packed.py), in the order of the photos.
    """

    def __init__(self, root, unit):
        self.folder = Path(root) / SEGMENTS
        self.final = self.folder / segment_name(unit)
        self.length, self.chunks, self.bytes = 0, [], 0

    def chunk(self, name):
        """Start a chunk; returns add(file name, data, record) for its tiles and the reference."""
        entry = {"chunk": name, "header": None, "samples": []}
        self.chunks.append(entry)

        def add(file, data, record=None):
            if file == CENTERS:
                return
            if file == GEOMETRY:
                entry["header"] = json.loads(bytes(data).split(b"\n", 1)[0])
                return
            stem, ending = file.rsplit(".", 1)
            where = self._member(f"{name}/{stem}.{ending}", data)
            about = tile_json(record) if record is not None else '{"reference": true}'
            self._member(f"{name}/{stem}.json", about.encode())
            values = [None] * len(COLUMNS) if record is None else [*record[:6], record.width, [record.row, record.col]]
            entry["samples"].append([stem, where, len(data), *values])

        return add

    def _member(self, name, data):
        """Append one file; returns the offset of its data."""
        head = tar_header(name, len(data))
        begin = self.length + len(head)
        end = begin + len(data)
        self.length = end + -end % BLOCK  # padded to whole blocks
        if self.length > len(_space):
            _space.extend(bytes(self.length))
        _space[begin - len(head) : begin] = head
        _space[begin:end] = memoryview(data).cast("B")
        _space[end : self.length] = bytes(self.length - end)
        self.bytes += len(data)
        return begin

    def finish(self):
        """Write the index, then the piece, each under a temporary name first."""
        temporary = temporary_folder(self.final.parent.parent)
        index, place = self.final.with_suffix(".json"), f"{temporary}/piece"
        self.folder.mkdir(exist_ok=True)
        write_file(f"{temporary}/index", json.dumps({"bytes": self.length, "chunks": self.chunks}).encode())
        os.rename(f"{temporary}/index", index)
        write_file(place, memoryview(_space)[: self.length])
        os.rename(place, self.final)
        os.rmdir(temporary)

    def abandon(self):
        """Do nothing: nothing is on disk before `finish`."""


_space = bytearray(1 << 22)  # reused for every photo of this process: fresh memory costs more than the copy
COLUMNS = ("id", "scale", "top", "left", "crop", "size", "width", "center")


def tile_json(record):
    """Return a TileRecord as JSON, with the values of COLUMNS (five times faster than json.dumps)."""
    number, scale, top, left, crop, size, row, col, width = record
    return (f'{{"id": {number}, "scale": {scale}, "top": {top}, "left": {left}, "crop": {crop}, "size": {size}, '
            f'"width": {width}, "center": [{row}, {col}]}}')


def segment_name(unit):
    """Return the file name of a photo's piece: its index."""
    return f"{unit.index:08d}.tar"


def tar_header(name, size):
    """Return the 512 bytes (more for long names) before a file in a tar: no owner, no time, mode 644."""
    raw = name.encode(errors="surrogateescape")
    if len(raw) > 100:
        import tarfile

        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o644
        return member.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape")
    length = b"%011o" % size
    head = b"".join((raw, bytes(100 - len(raw)), _OWNER, length, b"\0", _TIME))
    checksum = sum(raw) + sum(length) + _CONSTANT
    return b"".join((head, b"%06o\0 " % checksum, _REST))


_OWNER = b"0000644\0" + b"0000000\0" * 2
_TIME = b"00000000000\0"
_REST = b"0" + bytes(100) + b"ustar\x0000" + bytes(512 - 100 - 24 - 12 - 12 - 8 - 1 - 100 - 8)
_CONSTANT = sum(_OWNER) + sum(_TIME) + sum(b" " * 8) + sum(_REST)


def flat_geometry(root, stem):
    """Return the path of the geometry file of a photo in the flat modes."""
    return f"{root}/geometry/{stem.replace('/', '__')}.jsonl"


class FlatSink:
    """Tiles side by side in the data set; `geometry/<name>.jsonl`, written last, lists those of a photo."""

    def __init__(self, root, stem):
        self.root, self.stem, self.folder, self.names, self.bytes = str(root), stem, None, [], 0

    def add(self, file, data, record=None):
        """Write one file under a temporary name."""
        self.folder = self.folder or temporary_folder(self.root)
        write_file(f"{self.folder}/{len(self.names)}", data)
        self.names.append(file)
        self.bytes += len(data)

    def finish(self, geometry):
        """Rename every file to its final name, then write the geometry (bytes)."""
        self.folder = self.folder or temporary_folder(self.root)
        for index, name in enumerate(self.names):
            final = f"{self.root}/{name}"
            if "/" in name:
                os.makedirs(os.path.dirname(final), exist_ok=True)
            os.rename(f"{self.folder}/{index}", final)
        os.makedirs(f"{self.root}/geometry", exist_ok=True)
        write_file(f"{self.folder}/geometry", geometry)
        os.rename(f"{self.folder}/geometry", flat_geometry(self.root, self.stem))
        os.rmdir(self.folder)

    def abandon(self):
        """Remove what is unfinished."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
