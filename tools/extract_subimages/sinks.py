"""Where a photo's files go. Whatever has its final name is complete: a folder and a segment appear by one rename.

Everything unfinished lies in `.unfinished` inside the data set; single tiles are not flushed to the disk one by one.
"""

import errno
import itertools
import json
import os
import shutil
from pathlib import Path

from common.datasets.dlas.chunked.centers import FILE as CENTERS
from common.datasets.dlas.chunked.index import HIDDEN, REFERENCES
from common.errors import as_input_error
from common.images.suffixes import is_image
from tools.extract_subimages.records import (
    FLAT_GEOMETRY,
    GEOMETRY,
    IN_CHUNK,
    SEGMENTS,
    UNFINISHED,
    flat_files,
    in_the_way,
    is_torn,
    listed_files,
    read_about,
    remove_flat,
)

BLOCK = 512  # of a tar file
_numbers = itertools.count()


def write_file(path, data):
    """Write a new file in one go. A full disk or the like becomes an InputError that names it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            written = os.write(descriptor, data)
            while written < len(data):  # a signal, or more than 2 GB
                written += os.write(descriptor, memoryview(data)[written:])
        finally:
            os.close(descriptor)
    except OSError as error:
        raise (as_input_error(error, where=path) or error) from error


def temporary_folder(root):
    """Make and return a new folder below `.unfinished`, of this process's own."""
    path = f"{root}/{UNFINISHED}/{os.getpid()}-{next(_numbers)}"
    try:
        os.makedirs(path)
    except OSError as error:
        raise (as_input_error(error, where=path) or error) from error
    return path


class FolderSink:
    """One folder for each chunk: tiles, ref.jpg, centers.pt and geometry.jsonl."""

    def __init__(self, root):
        self.root, self.made, self.bytes = str(root), [], 0

    def chunk(self, name):
        """Begin the folder of a chunk; returns add(file name, data)."""
        folder = temporary_folder(self.root)
        self.made.append((folder, f"{self.root}/{name}"))

        def add(file, data, record=None):
            write_file(f"{folder}/{file}", data)
            self.bytes += len(data)

        return add

    def finish(self):
        """Give every folder its final name; an older chunk of the name goes, what else was put into it stays."""
        for folder, final in self.made:
            try:
                os.rename(folder, final)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise (as_input_error(error, where=final) or error) from error
                if os.path.islink(final):  # the link goes, what it leads to stays
                    os.unlink(final)
                    os.rename(folder, final)
                    continue
                names = os.listdir(final) if os.path.isdir(final) else None
                place = f"{final}/{GEOMETRY}"
                mine = read_about(place) is not None or is_torn(place)
                if names is None or (not mine and any(map(is_image, names))):
                    raise in_the_way(final) from error
                for name in names:
                    if not IN_CHUNK.fullmatch(name):
                        os.rename(f"{final}/{name}", f"{folder}/{name}")
                os.rename(final, f"{folder}-old")
                os.rename(folder, final)
                shutil.rmtree(f"{folder}-old")

    def abandon(self):
        """Remove what is unfinished."""
        for folder, _ in self.made:
            shutil.rmtree(folder, ignore_errors=True)


class SegmentSink:
    """A piece of a tar file for each photo, and a line of JSON that tells what is where in it.

    Samples are tiles, `<chunk>/<id>` with an image and a .json. References are not samples: they lie below a name that
    webdataset passes over as metadata, and their own begins as names do that datasets passes over. The pieces are
    joined to shards later (packed.py), in the order of the photos.
    """

    def __init__(self, root, unit):
        self.folder = Path(root) / SEGMENTS
        self.final = self.folder / segment_name(unit)
        self.length, self.chunks, self.bytes = 0, [], 0

    def chunk(self, name):
        """Begin a chunk; returns add(file name, data, record) for its tiles and the reference."""
        entry = {"chunk": name, "header": None, "samples": []}
        self.chunks.append(entry)

        def add(file, data, record=None):
            if file == CENTERS:
                return
            if file == GEOMETRY:
                entry["header"] = json.loads(bytes(data).split(b"\n", 1)[0])
                return
            stem, ending = file.rsplit(".", 1)
            place = f"{REFERENCES}{name}/{HIDDEN}{stem}" if record is None else f"{name}/{stem}"
            where = self._member(f"{place}.{ending}", data)
            if record is not None:
                self._member(f"{name}/{stem}.json", tile_json(record).encode())
            values = [None] * len(COLUMNS) if record is None else [*record[:6], record.width, [record.row, record.col]]
            entry["samples"].append([stem, where, len(data), *values])

        return add

    def _member(self, name, data):
        """Append one file; returns where its data begins."""
        head = tar_header(name, len(data))
        begins = self.length + len(head)
        ends = begins + len(data)
        self.length = ends + -ends % BLOCK
        if self.length > len(_space):
            _space.extend(bytes(self.length))
        _space[begins - len(head) : begins] = head
        _space[begins:ends] = memoryview(data).cast("B")
        _space[ends : self.length] = bytes(self.length - ends)
        self.bytes += len(data)
        return begins

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
        """Nothing is on the disk before the end."""


_space = bytearray(1 << 22)  # of this process, for one photo after the other: fresh memory costs more than the copy
COLUMNS = ("id", "scale", "top", "left", "crop", "size", "width", "center")


def tile_json(record):
    """Return a TileRecord as JSON, with the values of COLUMNS (json.dumps takes five times as long)."""
    number, scale, top, left, crop, size, row, col, width = record
    return (f'{{"id": {number}, "scale": {scale}, "top": {top}, "left": {left}, "crop": {crop}, "size": {size}, '
            f'"width": {width}, "center": [{row}, {col}]}}')


def segment_name(unit):
    """Return the file name of a photo's piece: its place in the order."""
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
    return f"{root}/{FLAT_GEOMETRY}/{stem.replace('/', '__')}.jsonl"


class FlatSink:
    """Tiles side by side in the data set; what belongs to a photo is told by `geometry/<name>.jsonl`, written last.

    replaces: also take the place of files that no record lists, as the original does.
    """

    def __init__(self, root, stem, replaces=False):
        self.root, self.stem, self.folder, self.names, self.bytes = str(root), stem, None, [], 0
        self.replaces = replaces

    def add(self, file, data, record=None):
        """Write one file under a temporary name."""
        self.folder = self.folder or temporary_folder(self.root)
        write_file(f"{self.folder}/{len(self.names)}", data)
        self.names.append(file)
        self.bytes += len(data)

    def finish(self, geometry):
        """Give every file its final name, then the geometry (bytes); files of an earlier version of the photo go."""
        self.folder = self.folder or temporary_folder(self.root)
        final = flat_geometry(self.root, self.stem)
        before, about, torn = flat_files(self.root, final), read_about(final), is_torn(final)
        added = [f"{self.root}/{name}" for name in {*self.names} - {*before}]
        for path in () if self.replaces or torn else [*added, final]:
            if os.path.lexists(path) and (path != final or about is None):
                raise in_the_way(path)
        write_file(f"{self.folder}/{GEOMETRY}", geometry)  # what a run that ends now has put into place
        if torn or (about is not None and about.get("source") == json.loads(geometry.split(b"\n", 1)[0])["source"]):
            remove_flat(self.root, final, keep=self.names)
        for index, name in enumerate(self.names):
            if "/" in name:
                os.makedirs(os.path.dirname(f"{self.root}/{name}"), exist_ok=True)
            os.rename(f"{self.folder}/{index}", f"{self.root}/{name}")
        os.makedirs(f"{self.root}/{FLAT_GEOMETRY}", exist_ok=True)
        os.rename(f"{self.folder}/{GEOMETRY}", final)
        os.rmdir(self.folder)

    def abandon(self):
        """Remove what is unfinished."""
        if self.folder is not None:
            undo(self.root, self.folder)


def undo(root, folder):
    """Remove a temporary folder, and the flat tiles that were put into place from it."""
    path = f"{folder}/{GEOMETRY}"
    if read_about(path) is not None:
        remove_flat(root, path, keep=[name for index, name in enumerate(listed_files(path))
                                      if os.path.exists(f"{folder}/{index}")])
    shutil.rmtree(folder, ignore_errors=True)


def clear_unfinished(root):
    """Remove what a run that was killed left unfinished."""
    for folder in Path(root, UNFINISHED).glob("*"):
        undo(root, folder)
    shutil.rmtree(Path(root, UNFINISHED), ignore_errors=True)
