"""LMDB files (the package lmdb, which is optional): opened for reading only, and written as BasicSR's tools write them.

BasicSR's layout: a folder NAME.lmdb with data.mdb, whose keys are file names without ending and whose values are the
bytes of image files, and meta_info.txt, a line `0001_s001.png (480,480,3) 1` for each: name, size, PNG compression.
"""

import os
from pathlib import Path

from common.errors import InputError
from common.formats.text import read_lines

META = "meta_info.txt"
BATCH = 5000  # entries of one transaction
SPARE = 1 << 26  # bytes of the map beyond what the entries need


def import_lmdb(where):
    """Return the package lmdb. Raises InputError about `where` when it is not installed."""
    try:
        import lmdb
    except ImportError as error:
        raise InputError("the package 'lmdb' is not installed", where=where, do="pip install lmdb") from error
    return lmdb


def open_lmdb(path, where=None):
    """Return an LMDB folder or file opened for reading. Raises InputError for one that is missing, foreign or cut."""
    lmdb, path = import_lmdb(where or path), Path(path)
    if not path.exists():
        raise InputError("no such file or folder", where=path, do="Check the path")
    try:
        base = lmdb.open(str(path), readonly=True, lock=False, readahead=False, subdir=path.is_dir())
    except lmdb.Error as error:
        raise InputError(f"cannot be opened as an LMDB ({error})", where=path,
                         do="Pass the folder that contains data.mdb") from error
    file = path / "data.mdb" if path.is_dir() else path
    if file.stat().st_size < (base.info()["last_pgno"] + 1) * base.stat()["psize"]:
        # LMDB maps the file: reading past its end would kill the process
        raise InputError("the file is truncated", where=file, do="Copy it again")
    return base


def is_image_lmdb(path):
    """Return whether a path is an LMDB folder by its name and file, as BasicSR recognises them."""
    return str(path).rstrip("/").endswith(".lmdb") and os.path.isfile(os.path.join(path, "data.mdb"))


class ImageLmdb:
    """The images of an LMDB in BasicSR's layout. names: the file names of meta_info.txt, as in its lines.

    Raises InputError for a missing or broken file. Opened again in each process.
    """

    def __init__(self, path):
        self.path = os.fspath(path).rstrip("/")
        self._opened = None
        file = Path(self.path, META)
        if not file.is_file():
            raise InputError("no list of the images", where=file, do="Create the LMDB again")
        self.names = [line.rsplit(" (", 1)[0] for line in read_lines(file)]

    def read(self, name):
        """Return the bytes of an image by its file name."""
        if self._opened is None or self._opened[0] != os.getpid():
            self.close()  # what a forked process has of its parent's
            self._opened = os.getpid(), open_lmdb(self.path)
        lmdb = import_lmdb(self.path)
        try:
            with self._opened[1].begin() as reader:
                data = reader.get(name.split(".")[0].encode())
        except lmdb.Error as error:
            raise InputError(f"damaged at '{name}' ({error})", where=self.path, do="Copy it again") from error
        if data is None:
            raise InputError(f"no entry '{name.split('.')[0]}', which {META} lists", where=self.path,
                             do="Create the LMDB again")
        return data

    def close(self):
        """Close the file, if it is open."""
        if self._opened is not None:
            self._opened[1].close()
            self._opened = None

    def __getstate__(self):
        return {**self.__dict__, "_opened": None}


def image_bytes(path):
    """Return the bytes of an image file, or of an image in an LMDB: `NAME.lmdb/0001_s001.png`."""
    from common.files import system_errors

    folder, name = os.path.split(path)
    if is_image_lmdb(folder):
        return _opened(folder).read(name)
    with system_errors(path), open(path, "rb") as stream:
        return stream.read()


def image_names(folder):
    """Return the names in a folder, or of the images of an LMDB."""
    return _opened(folder).names if is_image_lmdb(folder) else os.listdir(folder or ".")


def image_exists(path):
    """Return whether there is an image file at a path, or an image of that name in an LMDB."""
    folder, name = os.path.split(path)
    return name in _opened(folder).names if is_image_lmdb(folder) else os.path.isfile(path)


def _opened(folder):
    """Return the ImageLmdb of a folder, the same one until the file is another: LMDB opens a file once in a process."""
    place = os.path.realpath(folder)
    status = os.stat(os.path.join(place, "data.mdb"))
    stamp = status.st_ino, status.st_size, status.st_mtime_ns
    held = _OPEN.get(place)
    if held is None or held[0] != stamp:
        if held is not None:
            held[1].close()
        _OPEN[place] = held = stamp, ImageLmdb(folder)
    return held[1]


_OPEN = {}  # place -> (stamp, ImageLmdb)


def write_lmdb(path, entries, total):
    """Write a new LMDB folder in BasicSR's layout.

    entries: iterable of (file name, (height, width, channels), compression, bytes) in the order of the names.
    total: bytes of all entries.
    """
    lmdb = import_lmdb(path)
    os.makedirs(path)
    lines, count = [], 0
    base = lmdb.open(str(path), map_size=2 * total + SPARE, subdir=True)
    writer = base.begin(write=True)
    try:
        for name, size, compression, data in entries:
            writer.put(name.split(".")[0].encode(), data)
            lines.append(f"{name} ({','.join(map(str, size))}) {compression}\n")
            count += 1
            if count % BATCH == 0:
                writer.commit()
                writer = base.begin(write=True)
        writer.commit()
    finally:
        base.close()
    Path(path, META).write_text("".join(lines), encoding="utf-8")
