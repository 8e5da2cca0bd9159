"""The virtual layout of extract_subimages: one square image per photo, and its tiles' windows in geometry.jsonl.

The first line of geometry.jsonl describes the photo, each further one a tile: id, top, left, crop (the window in the
square), size (side of the tile), and more that is not used here.
"""

import json
from collections import OrderedDict
from typing import NamedTuple

from common.errors import InputError
from common.files import system_errors

LARGEST_SIDE = 1 << 16


class Window(NamedTuple):
    """The crop of a tile from the square, and the side that it is resized to by area."""

    top: int
    left: int
    crop: int
    size: int


def read_geometry(path):
    """Return {tile id: Window} of a geometry.jsonl. Raises InputError naming a file that is missing or damaged."""
    with system_errors(path), open(path, "rb") as stream:
        lines = stream.read().splitlines()
    try:
        rows = [json.loads(line) for line in lines[1:]]
        windows = {row["id"]: Window(row["top"], row["left"], row["crop"], row["size"]) for row in rows}
        expected = json.loads(lines[0])["tiles"]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise InputError(f"not the geometry of a photo ({type(error).__name__}: {error})", where=path,
                         do="Extract this photo again") from error
    numbers = [number for tile, window in windows.items() for number in (tile, *window)]
    if not all(type(number) is int and 0 <= number < 1 << 31 for number in numbers) or len(windows) != expected:
        raise InputError(f"{len(windows)} tiles, the header says {expected}, or a coordinate is not an integer",
                         where=path, do="Extract this photo again")
    return windows


def virtual_name(number, square):
    """Return the file name that a tile of a square (file name) would have in the folder layout."""
    return f"{number:08d}.{square.rpartition('.')[2]}"


def cut_tile(pixels, window, where):
    """Return the tile (size, size, 3) of a square's pixels; InputError when the window leaves the square."""
    from common.datasets.dlas.chunked.references import resize

    height, width = pixels.shape[:2]
    inside = window.crop and window.top + window.crop <= height and window.left + window.crop <= width
    if not inside or not 0 < window.size < LARGEST_SIDE:
        raise InputError(f"{window} leaves the square of {height}x{width} pixels", where=where,
                         do="Extract this photo again")
    return resize(pixels[window.top : window.top + window.crop, window.left : window.left + window.crop], window.size)


class Squares:
    """An LRU cache of decoded squares in at most `limit` bytes (but always one)."""

    def __init__(self, limit):
        self.limit = limit
        self._cache, self._bytes = OrderedDict(), 0

    def get(self, chunk):
        """Return (pixels, {id: Window}) of a chunk. Raises InputError when they cannot be read."""
        entry = self._cache.get(chunk)
        if entry is not None:
            self._cache.move_to_end(chunk)
            return entry
        entry = self._cache[chunk] = chunk.read_square()
        self._bytes += entry[0].nbytes
        while self._bytes > self.limit and len(self._cache) > 1:
            _, (pixels, _) = self._cache.popitem(last=False)
            self._bytes -= pixels.nbytes
        return entry

    def __getstate__(self):
        """Workers start with an empty cache."""
        return {"limit": self.limit, "_cache": OrderedDict(), "_bytes": 0}
