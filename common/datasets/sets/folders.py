"""A folder of images, nested or flat: decoded when read, sorted by path."""

import hashlib
import os
from contextlib import contextmanager
from pathlib import Path

from common.datasets.sets.imageset import CompressedImages
from common.datasets.sets.splits import split_names
from common.images.suffixes import SUFFIXES, images_among


def open_folder(path, split, size=None):
    """Return the ImageSet of a split (`splits.split_names`) of a folder's images; no labels.

    Hidden files are ignored. Raises InputError for a folder without images, and as CompressedImages does.
    """
    path = Path(path)
    names = split_names(list_images(path), split, path)
    return CompressedImages(path.resolve().name, split, FolderStore(path, names), size=size)


def list_images(folder, suffixes=SUFFIXES):
    """Yield the image files below a folder as POSIX paths relative to it; links to folders are followed once.

    Hidden files and folders are ignored; files with other suffixes (in any case) are skipped and counted in a note.
    """
    return images_among(_walk(folder), folder, suffixes)


def _walk(folder):
    """Yield all files below a folder, hidden ones and repeated links excluded."""
    seen = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = os.path.relpath(root, folder).replace(os.sep, "/")
        below = "" if below == "." else f"{below}/"
        for name in files:
            if not name.startswith("."):
                yield below + name


class FolderStore:
    """Image files by position."""

    def __init__(self, folder, names):
        self.folder, self._names = folder, names

    def __len__(self):
        return len(self._names)

    @contextmanager
    def open(self, position):
        """Yield an image's file, open for reading."""
        from common.files import system_errors

        path = self.title(position)
        with system_errors(path), open(path, "rb") as stream:
            yield stream

    def read(self, position):
        """Return an image's bytes."""
        with self.open(position) as stream:
            return stream.read()

    def title(self, position):
        """Return an image's path."""
        return self.folder / self._names[position]

    def identity(self):
        """Return {"bytes", "listing_sha256"}: the total size and a hash over names and sizes."""
        from common.files import system_errors

        digest, total = hashlib.sha256(), 0
        for name in self._names:
            path = self.folder / name
            with system_errors(path):
                length = path.stat().st_size
            digest.update(f"{name}\t{length}\n".encode(errors="surrogateescape"))
            total += length
        return {"bytes": total, "listing_sha256": digest.hexdigest()}
