"""The references of chunks at the sizes of the items, and their tiles' centres, in bounded memory."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Optional

import cv2
import numpy as np

from common.errors import InputError


@dataclass(slots=True)
class Reference:
    """What the items of one chunk share.

    hq: (3, T, T) uint16 RGB in 0..65535, or float32 in 0..1; lq: (3, L, L) alike; both None where the chunk has no
    ref.jpg.
    size: (H, W) of ref.jpg as stored.  centers: {id: (row, col, width)}, or None when not asked for.
    """

    hq: Optional[np.ndarray] = None
    lq: Optional[np.ndarray] = None
    size: tuple = (0, 0)
    centers: Optional[dict] = None

    def cost(self):
        """Return about how many bytes this takes."""
        return 500 + (0 if self.hq is None else self.hq.nbytes + self.lq.nbytes) + 300 * len(self.centers or ())


class References:
    """The references of chunks, the least recently used dropped when they take more than `limit` bytes.

    Integers of 16 bits, so that the two resizings round to 1/65535 and not to 1/255 as the files do: 102 kB a chunk at
    T = 128. A chunk whose reference or centres are broken is remembered too, and raises the same InputError each time.
    """

    def __init__(self, target, low, with_centers, limit, floats=False):
        self.target, self.low, self.with_centers, self.limit, self.floats = target, low, with_centers, limit, floats
        self._kept, self._bytes = OrderedDict(), 0

    def __len__(self):
        return len(self._kept)

    def get(self, chunk):
        """Return the `Reference` of a chunk. Raises InputError when its ref.jpg or centers.pt cannot be read."""
        found = self._kept.get(chunk)
        if found is None:
            found = self._remember(chunk)
        else:
            self._kept.move_to_end(chunk)
        if isinstance(found, InputError):
            raise found
        return found

    def _remember(self, chunk):
        try:
            found = self._load(chunk)
        except InputError as error:
            found = error
        self._kept[chunk] = found
        self._bytes += _cost(found)
        while self._bytes > self.limit and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= _cost(dropped)
        return found

    def _load(self, chunk):
        pixels = chunk.read_reference()
        if pixels is None:
            return Reference()
        hq = resize(widen(pixels, self.floats), self.target)
        low = resize(hq, self.low)
        centers = chunk.read_centers() if self.with_centers else None
        return Reference(_planes(hq), _planes(low), pixels.shape[:2], centers)

    def __getstate__(self):
        """Workers start with an empty memory: what is kept here would be sent to each of them."""
        return {**self.__dict__, "_kept": OrderedDict(), "_bytes": 0}


def widen(pixels, floats=False):
    """Return uint8 pixels as uint16 in 0..65535 (times 257) and uint16 ones as they are; floats: divided by 255
    instead.

    The original's floats matter where a corruption floors them: a rounding then shifts a pixel by a whole step.
    """
    if floats:
        return pixels.astype(np.float32) / np.float32(255)
    return pixels if pixels.dtype == np.uint16 else np.multiply(pixels, 257, dtype=np.uint16)


def resize(pixels, side):
    """Return (H, W, C) pixels resized to (side, side, C) by pixel area, or as they are when that is their size."""
    if pixels.shape[:2] == (side, side):
        return pixels
    return cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)


def resize_line(line, length):
    """Return a float32 line resized by area: what `resize` does along one axis of an image."""
    return line if len(line) == length else cv2.resize(line[None], (length, 1), interpolation=cv2.INTER_AREA)[0]


def _planes(pixels):
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _cost(found):
    return 500 if isinstance(found, InputError) else found.cost()
