"""A folder of images, nested or flat: decoded when read, in the order of their sorted paths."""

import hashlib
import os
import zlib
from contextlib import contextmanager
from pathlib import Path

from common.datasets.dlas.chunked.centers import FILE as CENTERS
from common.datasets.sets.imageset import CompressedImages
from common.datasets.sets.splits import is_in_a_split, split_names
from common.errors import InputError, as_input_error
from common.images.suffixes import DATA_SETS, SUFFIXES, images_among

DRAWN = ("preview.png", "inspect.png")
LARGE = 4 << 30  # bytes of a folder's images


def open_folder(path, split, size=None, absent=None):
    """Return the ImageSet of a split (`splits.split_names`) of a folder's images; no labels.

    Hidden files are passed over.  absent: names of images that were there once and keep their places; with a list, an
    empty one too, images that cannot be read are found when they are read.
    Raises InputError for a folder without images, and as CompressedImages says.
    """
    path = Path(path)
    names = split_names({*list_images(path, DATA_SETS), *(absent or ())}, split, path)
    return CompressedImages(path.resolve().name, split, FolderStore(path, names), size=size,
                            tolerant=absent is not None)


def list_images(folder, suffixes=SUFFIXES):
    """Yield the image files below a folder as POSIX paths relative to it; links to folders are followed once.

    Hidden files and folders are left out, and so are files with other suffixes (any case), which a note counts, and the
    pictures that extract_subimages draws of a data set.
    """
    return images_among(_walk(folder), folder, suffixes)


def _walk(folder):
    """Yield all files below a folder, as list_images does.

    Links to folders come last, so that none takes a file away from the folder that it lies in.
    """
    seen, links = set(), [""]
    while links:
        for root, folders, files in os.walk(os.path.join(folder, links.pop(0)), onerror=_refuse):
            real = os.path.realpath(root)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            below = os.path.relpath(root, folder).replace(os.sep, "/")
            below = "" if below == "." else f"{below}/"
            links += [below + name for name in folders if os.path.islink(os.path.join(root, name))]
            for name in files:
                if not name.startswith(".") and not (below == "" and _is_drawn(folder, name)):
                    yield below + name


def _is_drawn(folder, name):
    """Return whether a file is a picture that extract_subimages drew of the data set in this folder."""
    if name not in DRAWN:
        return False
    return os.path.exists(os.path.join(folder, "run.json")) or any(
        os.path.exists(os.path.join(entry.path, CENTERS)) for entry in os.scandir(folder) if entry.is_dir())


def _refuse(error):
    """Raise what os.walk would pass over: a folder that cannot be listed."""
    raise as_input_error(error, where=error.filename) or error


def check_apart(folder, output, read=lambda name: True, where="--output_dir"):
    """Raise InputError where pictures in a folder of outputs would be read as images of `folder` by the next run.

    read: function of a name below `folder`, whether the image of that name would be read.
    """
    below = os.path.relpath(os.path.realpath(output), os.path.realpath(folder)).replace(os.sep, "/")
    if below != "." and any(part.startswith(".") for part in below.split("/")):  # elsewhere, or hidden
        return
    if read("picture.png" if below == "." else f"{below}/picture.png"):
        raise InputError(f"is inside the folder of images {folder}, where its pictures would be read as images",
                         where=f"{where} {output}", do="Choose another folder")


def check_set_apart(folder, output, where):
    """Do so for a data set that is a folder of images, with folders of splits or without; pass over other sets."""
    names = [*list_images(folder, DATA_SETS)] if os.path.isdir(folder) else []
    if names:
        check_apart(folder, output, lambda name: is_in_a_split(name, names), where)


def file_marks(paths):
    """Return, for each file, the CRC-32 of its contents as eight digits, as a zip tells it.

    Where all have over 4 GB together, which nobody waits for, it is the time of modification; a file that cannot be
    read is "unreadable", and is named when it is decoded.
    """
    sizes, times = 0, []
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:  # a link to nothing, or a file that went away
            times.append("unreadable")
            continue
        sizes += status.st_size
        times.append(status.st_mtime_ns)
    return times if sizes > LARGE else [_check_sum(path) for path in paths]


def _check_sum(path):
    from common.files import open_regular

    total = 0
    try:
        with open_regular(path) as stream:
            while block := stream.read(1 << 20):
                total = zlib.crc32(block, total)
    except OSError:
        return "unreadable"
    return f"{total:08x}"


class FolderStore:
    """Image files by position."""

    def __init__(self, folder, names):
        self.folder, self._names = folder, names

    def __len__(self):
        return len(self._names)

    @contextmanager
    def open(self, position):
        """Yield an image's file, open for reading."""
        from common.files import open_regular, system_errors

        path = self.title(position)
        with system_errors(path), open_regular(path) as stream:
            yield stream

    def read(self, position):
        """Return an image's bytes."""
        with self.open(position) as stream:
            return stream.read()

    def title(self, position):
        """Return an image's path."""
        return self.folder / self._names[position]

    def name(self, position):
        """Return an image's path relative to the folder."""
        return self._names[position]

    def identity(self, without=()):
        """Return {"bytes", "listing_sha256"}: the total size and a hash over names, sizes and marks of the contents.

        without: names of images to leave out, as are those that are not there.
        """
        folder, names, paths = os.fspath(self.folder), [], []  # joined as text: of a million files, Paths are the work
        for name in self._names:
            path = os.path.join(folder, name)
            if name not in without and os.path.exists(path):
                names.append(name)
                paths.append(path)
        digest, total = hashlib.sha256(), 0
        for name, path, mark in zip(names, paths, file_marks(paths)):
            length = os.stat(path).st_size
            digest.update(f"{name}\t{length}\t{mark}\n".encode(errors="surrogateescape"))
            total += length
        return {"bytes": total, "listing_sha256": digest.hexdigest()}
