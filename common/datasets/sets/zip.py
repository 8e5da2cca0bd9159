"""A .zip of images, read in place: decoded when read, sorted by name."""

import hashlib
import os
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path

from common.datasets.sets.imageset import CompressedImages
from common.datasets.sets.splits import split_names
from common.errors import InputError
from common.images.suffixes import SUFFIXES, images_among


def open_zip(path, split, size=None):
    """Return the ImageSet of a split (`splits.split_names`) of a .zip's images; no labels.

    Hidden files and __MACOSX are ignored. Raises InputError for an archive that is broken, encrypted or without images,
    and as CompressedImages does.
    """
    path = Path(path)
    names = split_names(zip_names(path), split, path)
    return CompressedImages(path.stem, split, ZipStore(path, names), size=size)


def zip_names(path, suffixes=SUFFIXES):
    """Return the names of a .zip's image files; a note counts other files, hidden ones are ignored."""
    with _zip_errors(path), zipfile.ZipFile(path) as archive:
        return list(images_among(visible_names(archive), path, suffixes))


def visible_names(archive):
    """Return the names of the files in an open ZipFile, without folders, hidden files and __MACOSX."""
    return [name for name in archive.namelist()
            if not name.endswith("/") and not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))]


class ZipStore:
    """Images of a .zip by position; each process opens its own handle."""

    def __init__(self, path, names):
        self._path, self._names = path, names
        self._archive = self._owner = None

    def __len__(self):
        return len(self._names)

    def __getstate__(self):
        return {**self.__dict__, "_archive": None, "_owner": None}

    def _reopened(self):
        if self._owner != os.getpid():  # also after a fork: two processes must not share one file position
            self._archive, self._owner = zipfile.ZipFile(self._path), os.getpid()
        return self._archive

    @contextmanager
    def open(self, position):
        """Yield an image's entry, open for reading."""
        name = self._names[position]
        with _zip_errors(self._path, name), self._reopened().open(name) as stream:
            yield stream

    def read(self, position):
        """Return an image's bytes."""
        with self.open(position) as stream:
            return stream.read()

    def title(self, position):
        """Return an image's name in messages."""
        return f"{self._path}: {self._names[position]}"

    def checksums(self):
        """Return size and CRC-32 of each image as text, from the archive's directory."""
        with _zip_errors(self._path):
            entries = [self._reopened().getinfo(name) for name in self._names]
        return [f"{info.file_size}:{info.CRC:08x}" for info in entries]

    def identity(self):
        """Return {"bytes", "listing_sha256"}: the images' total size and a hash over names, sizes and checksums."""
        digest, total = hashlib.sha256(), 0
        with _zip_errors(self._path):
            for name in self._names:
                info = self._reopened().getinfo(name)
                digest.update(f"{name}\t{info.file_size}\t{info.CRC:08x}\n".encode(errors="surrogateescape"))
                total += info.file_size
        return {"bytes": total, "listing_sha256": digest.hexdigest()}


@contextmanager
def _zip_errors(path, member=None):
    """Turn what zipfile raises for broken, encrypted or unknown archives into an InputError."""
    from common.files import system_errors

    try:
        with system_errors(path):
            yield
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, NotImplementedError) as error:
        where = path if member is None else f"{path}: {member}"
        raise InputError(f"cannot be read from a .zip ({error})", where=where,
                         do="Recreate the archive or copy it again") from error
