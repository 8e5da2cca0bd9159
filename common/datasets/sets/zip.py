"""A .zip of images, read in place: decoded when read, sorted by name."""

import hashlib
import os
from contextlib import contextmanager
from pathlib import Path

from common.datasets.sets.imageset import CompressedImages
from common.datasets.sets.splits import split_names
from common.formats.zips import open_zip, zip_errors
from common.images.suffixes import DATA_SETS, SUFFIXES, images_among

BROKEN = "cannot be read from a .zip"


def open_zip_set(path, split, size=None, absent=None):
    """Return the ImageSet of a split (`splits.split_names`) of a .zip's images; no labels.

    Hidden files and __MACOSX are ignored. Raises InputError for an archive that is broken, encrypted or without images,
    and as CompressedImages does.  absent: as in open_folder.
    """
    path = Path(path)
    names = split_names({*zip_names(path, DATA_SETS), *(absent or ())}, split, path)
    return CompressedImages(path.stem, split, ZipStore(path, names), size=size, tolerant=absent is not None)


def zip_names(path, suffixes=SUFFIXES):
    """Return the names of a .zip's image files; a note counts other files, hidden ones are left out."""
    with open_zip(path, BROKEN) as archive:
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
            self._archive, self._owner = open_zip(self._path, BROKEN), os.getpid()
        return self._archive

    @contextmanager
    def open(self, position):
        """Yield an image's entry, open for reading."""
        name = self._names[position]
        with zip_errors(f"{self._path}: {name}", BROKEN), self._reopened().open(name) as stream:
            yield stream

    def read(self, position):
        """Return an image's bytes."""
        with self.open(position) as stream:
            return stream.read()

    def title(self, position):
        """Return an image's name in messages."""
        return f"{self._path}: {self._names[position]}"

    def name(self, position):
        """Return an image's name in the archive."""
        return self._names[position]

    def checksums(self):
        """Return size and CRC-32 of each image as text, from the archive's directory."""
        with zip_errors(self._path, BROKEN):
            found = [self._reopened().getinfo(name) for name in self._names]
        return [f"{info.file_size}:{info.CRC:08x}" for info in found]

    def identity(self, without=()):
        """Return {"bytes", "listing_sha256"}: the images' total size and a hash over names, sizes and checksums.

        without: names of images to leave out.
        """
        digest, total = hashlib.sha256(), 0
        with zip_errors(self._path, BROKEN):
            for name in self._names:
                if name in without or name not in self._reopened().NameToInfo:
                    continue
                info = self._reopened().getinfo(name)
                digest.update(f"{name}\t{info.file_size}\t{info.CRC:08x}\n".encode(errors="surrogateescape"))
                total += info.file_size
        return {"bytes": total, "listing_sha256": digest.hexdigest()}
