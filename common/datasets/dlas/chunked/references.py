"""The references of chunks at the items' sizes, and their tiles' centres, in bounded memory."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Optional

import cv2
import numpy as np

from common.errors import InputError


@dataclass(slots=True)
class Reference:
    """The data that all items of one chunk share.

    hq: (3, T, T) uint16 RGB in 0..65535, or float32 in 0..1; lq: (3, L, L) alike; both None without ref.jpg.
    size: (H, W) of ref.jpg as stored.  centers: {id: (row, col, width)}, or None when not requested.
    """

    hq: Optional[np.ndarray] = None
    lq: Optional[np.ndarray] = None
    size: tuple = (0, 0)
    centers: Optional[dict] = None

    def cost(self):
        """Return the approximate memory in bytes."""
        return 500 + (0 if self.hq is None else self.hq.nbytes + self.lq.nbytes) + 300 * len(self.centers or ())


class References:
    """The references of chunks, an LRU cache of `limit` bytes.

    16-bit integers, so that the two resizings round to 1/65535 and not to 1/255 like the files: 102 kB per chunk at
    T = 128. A chunk with a broken reference or centres is cached too, and raises the same InputError each time.
    """

    def __init__(self, target, low, with_centers, limit, floats=False):
        self.target, self.low, self.with_centers, self.limit, self.floats = target, low, with_centers, limit, floats
        self._cache, self._bytes = OrderedDict(), 0

    def __len__(self):
        return len(self._cache)

    def get(self, chunk):
        """Return the `Reference` of a chunk. Raises InputError when its ref.jpg or centers.pt cannot be read."""
        entry = self._cache.get(chunk)
        if entry is None:
            entry = self._add(chunk)
        else:
            self._cache.move_to_end(chunk)
        if isinstance(entry, InputError):
            raise entry
        return entry

    def _add(self, chunk):
        try:
            entry = self._load(chunk)
        except InputError as error:
            entry = error
        self._cache[chunk] = entry
        self._bytes += _cost(entry)
        while self._bytes > self.limit and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._bytes -= _cost(dropped)
        return entry

    def _load(self, chunk):
        pixels = chunk.read_reference()
        if pixels is None:
            return Reference()
        hq = resize(widen(pixels, self.floats), self.target)
        low = resize(hq, self.low)
        centers = chunk.read_centers() if self.with_centers else None
        return Reference(_planes(hq), _planes(low), pixels.shape[:2], centers)

    def __getstate__(self):
        """Workers start with an empty cache: its contents would be sent to each of them."""
        return {**self.__dict__, "_cache": OrderedDict(), "_bytes": 0}


def widen(pixels, floats=False):
    """Return uint8 pixels as uint16 in 0..65535 (times 257), uint16 ones unchanged; floats: divided by 255 instead.

    The original's floats matter if a corruption floors them: rounding then shifts a pixel by a whole step.
    """
    if floats:
        return pixels.astype(np.float32) / np.float32(255)
    return pixels if pixels.dtype == np.uint16 else np.multiply(pixels, 257, dtype=np.uint16)


def resize(pixels, side):
    """Return (H, W, C) pixels resized to (side, side, C) by pixel area, unchanged if that is their size."""
    if pixels.shape[:2] == (side, side):
        return pixels
    return cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)


def resize_line(line, length):
    """Return a float32 line resized by area, like one axis of an image in `resize`."""
    return line if len(line) == length else cv2.resize(line[None], (length, 1), interpolation=cv2.INTER_AREA)[0]


def _planes(pixels):
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _cost(entry):
    return 500 if isinstance(entry, InputError) else entry.cost()
