"""The chunks of a data set: one for each photo, with its tiles, its reference and the centres of its tiles.

Every layout offers what `FolderChunk` has: len(), name, label(k), tile_id(k), read_tile(k), read_reference(),
read_centers(), read_source(). Pixels are (H, W, 3) RGB, uint8 or uint16 as stored.
"""

import json

import cv2
import numpy as np

from common.datasets.dlas.chunked.centers import FILE as CENTERS
from common.datasets.dlas.chunked.centers import read_centers
from common.datasets.dlas.chunked.index import GEOMETRY, REFERENCE, SQUARE
from common.datasets.dlas.chunked.virtual import cut_tile, read_geometry
from common.errors import InputError
from common.files import system_errors
from common.images.opencv import decode_rgb

SHARD_ENDINGS = (".tar", ".parquet")


class FolderChunk:
    """A chunk folder with a file for each tile. Holds the names as one string: 15 bytes a tile, not an object each."""

    __slots__ = ("root", "name", "_tiles", "_separator", "_count", "_width", "_others")

    def __init__(self, root, folder):
        """root: the data set's folder as text.  folder: index.Folder."""
        self.root, self.name, self._others = root, folder.name, folder.others
        self._separator = separator = "\0" if folder.inner else "/"
        self._tiles = separator.join(_all_tiles(folder)) if folder.inner else folder.tiles
        self._count = self._tiles.count(separator) + 1 if self._tiles else 0
        # Names of one length, as the extractor's are, are cut out by position.
        width = self._tiles.find(separator)
        uniform = width > 0 and self._tiles[width :: width + 1] == separator * (self._count - 1)
        self._width = width if uniform and len(self._tiles) == (width + 1) * self._count - 1 else 0

    def __len__(self):
        return self._count

    def tile_name(self, position):
        """Return the file name of a tile (relative to the chunk folder); InputError when there is none."""
        if not 0 <= position < self._count:
            raise InputError(f"there is no tile {position}, there are {self._count}", where=f"{self.root}/{self.name}",
                             do="Extract all photos of a clip with the same options")
        if self._width:
            start = position * (self._width + 1)
            return self._tiles[start : start + self._width]
        return self._tiles.split(self._separator)[position]

    def label(self, position):
        """Return the path of a tile as text, beginning with the data set's path as given."""
        return f"{self.root}/{self.name}/{self.tile_name(position)}"

    def tile_id(self, position):
        """Return the number that a tile's file is named by, or None when it is not a number."""
        stem = self.tile_name(position).rpartition("/")[2].rpartition(".")[0]
        return int(stem) if stem.isascii() and stem.isdigit() else None

    def read_tile(self, position):
        """Return the pixels of a tile. Raises InputError naming a file that is missing, cut short or no image."""
        return read_pixels(self.label(position))

    def read_reference(self):
        """Return the pixels of ref.jpg, or None when there is none. Raises InputError for a broken one."""
        if REFERENCE not in self._others.split("/"):
            return None
        return read_pixels(f"{self.root}/{self.name}/{REFERENCE}")

    def read_centers(self):
        """Return {id: (row, col, width)}, in pixels of the reference. Raises InputError when there is no such file."""
        stored = read_centers(f"{self.root}/{self.name}/{CENTERS}")
        return {tile: (row, col, width) for tile, ((row, col), width) in stored.items()}


    def read_source(self):
        """Return the path of the photo below its input folder as the geometry records it, or None."""
        if GEOMETRY not in self._others.split("/"):
            return None
        try:
            with open(f"{self.root}/{self.name}/{GEOMETRY}", "rb") as stream:
                source = json.loads(stream.readline())["source"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return source if isinstance(source, str) else None


class VirtualChunk(FolderChunk):
    """A chunk folder with one square image; its tiles are cut from it when they are read, as geometry.jsonl says."""

    __slots__ = ("_squares",)

    def __init__(self, root, folder, squares):
        super().__init__(root, folder)
        self._squares = squares

    def read_tile(self, position):
        """Return the pixels of a tile. Raises InputError naming a square or geometry that is missing or broken."""
        pixels, windows = self._squares.get(self)
        window = windows.get(self.tile_id(position))
        if window is None:
            raise InputError("the geometry has changed since the start", where=self.label(position), do="Start again")
        return cut_tile(pixels, window, self.label(position))

    def read_square(self):
        """Return (pixels of the square, {id: Window})."""
        folder = f"{self.root}/{self.name}"
        square = next(name for name in self._others.split("/") if name.startswith(SQUARE))
        return read_pixels(f"{folder}/{square}"), read_geometry(f"{folder}/{GEOMETRY}")


def read_pixels(path):
    """Return an image file as (H, W, 3) RGB, uint8 or uint16; InputError naming a missing or damaged one."""
    with system_errors(path), open(path, "rb") as stream:
        data = stream.read()
    return decode_whole(data, path)


def decode_whole(data, where):
    """Return the pixels in an image file's bytes; InputError for a cut JPEG, which OpenCV fills with grey."""
    if data[:2] != b"\xff\xd8":
        return decode_rgb(data, where)
    if data.rfind(b"\xff\xd9") < 0:
        raise InputError("truncated: the end of the JPEG is missing", where=where, do="Extract this photo again")
    # The same pixels as decode_rgb gives, without a pass to swap the channels. JPEG has neither 16 bits nor alpha.
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    return decode_rgb(data, where) if pixels is None else pixels  # which raises the InputError


def _all_tiles(folder):
    """Return the tiles of a folder and those inside it, relative to the folder, in the original's order."""
    found = folder.tiles.split("/") if folder.tiles else []
    for inner in folder.inner:
        found += [f"{inner.name.rpartition('/')[2]}/{name}" for name in _all_tiles(inner)]
    return sorted(found)
