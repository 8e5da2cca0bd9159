"""The base of the chunked data sets: options, the flat index, reading a tile with its reference, mask and centre.

After DL-Art-School's BaseUnsupervisedImageDataset. Pixels stay uint16 until they become tensors: as exact as floats for
8-bit files (1/65535), and half the bytes.
"""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch

from common.datasets.dlas.chunked.index import open_index, save_index
from common.datasets.dlas.chunked.legacy_cache import note_cache
from common.datasets.dlas.chunked.open import open_chunks
from common.datasets.dlas.chunked.references import Reference, References, resize, resize_line, widen
from common.datasets.dlas.corruptions import Corruptor
from common.datasets.dlas.items import ItemDataset
from common.errors import InputError

MASK_OUTSIDE = 0.1  # the original's weight of pixels outside the tile
# The original's assumption for every tile without metadata, at any size: that it covers a 256-pixel reference.
DEFAULT_CENTER = (128, 128, 256)
UNIT = np.float32(1 / 65535)


class MissingCenter(InputError, FileNotFoundError):
    """A tile whose number is not in centers.pt, although metadata are required (the original's FileNotFoundError)."""


@dataclass(slots=True)
class Frame:
    """One tile as read: hq (T, T, 3) RGB, uint16 (compat: float32 in 0..1), its chunk's Reference, position and path.

    center: (row, col) in pixels of hq; low_center: of the low-quality image.
    rows, columns: (T,) float32, the fraction of each row and column of the mask that the tile covers; None without a
    reference.
    """

    hq: np.ndarray
    reference: Reference
    center: tuple
    low_center: tuple
    rows: object
    columns: object
    label: str


class ChunkedDataset(ItemDataset):
    """The base of the chunked classes; a subclass defines the frames of an item.

    options: the data set block, a dictionary in which a missing key reads as None. Keys (defaults):
    paths: a folder, or a list of folders with integer `weights`: how often each is repeated (1 each).
    target_size: side of the high-quality image; tiles of another size are resized by area.
    scale: the low-quality side is target_size // scale; not required with eval.  force_multiple (1): divides that side.
    eval (False): low quality = high quality, without corruptions.
    need_ref (False): read ref.jpg.  strict, needs_metadata (False): with need_ref, read centers.pt; a tile that is not
    in it raises MissingCenter.  ignore_first (0): tiles of each folder to skip.
    corrupt_before_downsize (False), and the corruption keys of `corruptions.Corruptor`.
    Ours: random_seed (0), compat (False), broken_images ("raise"; "next": a warning names the unreadable file, and the
    next item is used) as in `items.ItemDataset`; cache_mb (128): memory for references in each process, and the same
    again for squares of the virtual layout; refresh_cache (False): rewrite a stale cache.pth.
    compat also keeps the original's floats (16-bit files divided by 255), and scales mask and centre by the tile's
    size, which is correct only if reference and tiles have the same size.
    Raises InputError for a missing or wrong key and for a folder that is not a chunked data set.
    """

    MODE = "chunked"
    REQUIRED = ("paths", "target_size", ("scale", "eval"))  # scale is not required with eval

    def __init__(self, options):
        super().__init__(options, self.MODE)
        values = self.options
        self.target = values.integer("target_size")
        self.for_eval = values.flag("eval")
        self.scale = 1 if self.for_eval else values.integer("scale")
        self.low = self.target // self.scale
        multiple = values.integer("force_multiple", 1)
        if self.low == 0 or self.low % multiple:
            raise InputError(f"target_size // scale is {self.low}, not a multiple of {multiple}", where=self.MODE,
                             do="Change target_size, scale or force_multiple")
        self.need_ref = values.flag("need_ref")
        self.with_centers = values.flag("strict") | values.flag("needs_metadata")
        self.first = values.integer("ignore_first", 0, low=0)
        self.corrupt_first = values.flag("corrupt_before_downsize")
        self.corruptor = Corruptor(options)
        self.corrupts = bool(self.corruptor.fixed or self.corruptor.count) and not self.for_eval
        self.limit = int(values.number("cache_mb", 128) * 1e6)
        self.references = References(self.target, self.low, self.with_centers, self.limit, self.compat)
        self.roots = [self._open_root(root, repeats) for root, repeats in values.folders("paths", "weights")]
        self.chunks = [chunk for chunks, repeats in self.roots for _ in range(repeats) for chunk in chunks]
        self._ends = list(accumulate(len(chunk) - self.first for chunk in self.chunks))

    def _open_root(self, root, repeats):
        """Return ([chunks with a tile left after ignore_first], repeats) of one folder of `paths`."""
        listing = open_index(root)
        if note_cache(listing, self.options.flag("refresh_cache")):
            save_index(listing)
        chunks = open_chunks(listing, self.limit)
        usable = [chunk for chunk in chunks if len(chunk) > self.first]
        if not usable:
            raise InputError(f"no folder has more than {self.first} tiles", where=root, do="Change ignore_first")
        return usable, repeats

    def __len__(self):
        return self._ends[-1] if self._ends else 0

    def item(self, index):
        """Return item 0..len-1 as a dictionary. Raises InputError naming a file that cannot be read."""
        frames = [self.read_frame(self.chunks[number], tile) for number, tile in self.frames_of(*self.locate(index))]
        return self.collect(frames, self.low_images(frames, index))

    def locate(self, index):
        """Return (position in self.chunks, tile of the chunk) of an item 0..len-1."""
        number = bisect_right(self._ends, index)
        return number, index - (self._ends[number - 1] if number else 0) + self.first

    def frames_of(self, number, tile):
        """Return [(position in self.chunks, tile)] of the frames of an item."""
        return [(number, tile)]

    def collect(self, frames, low):
        """Return the item's dictionary from its frames and low-quality images ((3, L, L) float32 each)."""
        raise NotImplementedError

    def get_paths(self):
        """Return the paths of all tiles as strings, in the order of the items, repeated by weight."""
        return [chunk.label(tile) for chunk in self.chunks for tile in range(self.first, len(chunk))]

    def read_frame(self, chunk, tile):
        """Return the `Frame` of a tile of a chunk. Raises InputError naming a file that cannot be read."""
        reference = self.references.get(chunk) if self.need_ref else Reference()
        pixels = chunk.read_tile(tile)
        hq = resize(widen(pixels, self.compat), self.target)
        if reference.hq is None:
            return Frame(hq, reference, (0, 0), (0, 0), None, None, chunk.label(tile))
        row, column, width = self._place(chunk, tile, reference)
        height, breadth = pixels.shape[:2] if self.compat else reference.size
        center = _scaled(row, height, self.target), _scaled(column, breadth, self.target)
        low_center = tuple(_scaled(value, self.target, self.low) for value in center)
        rows = resize_line(_covered(row, width, height), self.target)
        columns = resize_line(_covered(column, width, breadth), self.target)
        return Frame(hq, reference, center, low_center, rows, columns, chunk.label(tile))

    def _place(self, chunk, tile, reference):
        """Return (row, col, width) of a tile in pixels of the reference."""
        if not self.with_centers:
            return DEFAULT_CENTER
        center = reference.centers.get(chunk.tile_id(tile))
        if center is None:
            raise MissingCenter(f"this tile's centre is missing in centers.pt, which has {len(reference.centers)}",
                                where=chunk.label(tile),
                                do="Extract this photo again, or set strict and needs_metadata to false")
        return center

    def low_images(self, frames, index):
        """Return the low-quality images of an item, (3, L, L) float32 each, corrupted according to the options."""
        if self.for_eval:
            return [to_planes(frame.hq) for frame in frames]
        if not self.corrupts:
            return [to_planes(resize(frame.hq, self.low)) for frame in frames]
        draws = self.draws(index, "corruptions")
        if self.corrupt_first:
            images = self.corruptor.corrupt([to_floats(frame.hq) for frame in frames], draws)
            images = [resize(image, self.low) for image in images]
        else:
            images = self.corruptor.corrupt([to_floats(resize(frame.hq, self.low)) for frame in frames], draws)
        return [np.ascontiguousarray(image.transpose(2, 0, 1), np.float32) for image in images]

    def full_reference(self, frame, low=False):
        """Return a frame's reference (RGB) and mask as (4, T, T) float32, or low=True (4, L, L).

        The mask is 1 inside the tile, .1 outside, and in between where an edge falls inside a pixel; reference and mask
        are 0 without ref.jpg.
        """
        side = self.low if low else self.target
        if frame.rows is None:
            return np.zeros((4, side, side), np.float32)
        planes = np.empty((4, side, side), np.float32)
        to_floats(frame.reference.lq if low else frame.reference.hq, planes[:3])
        rows, columns = (resize_line(line, side) for line in (frame.rows, frame.columns))
        np.multiply((rows * np.float32(1 - MASK_OUTSIDE))[:, None], columns, out=planes[3])
        planes[3] += np.float32(MASK_OUTSIDE)
        return planes


def to_planes(pixels):
    """Return (H, W, 3) uint16 (or float32) pixels as (3, H, W) float32 in 0..1."""
    planes = np.empty((3, *pixels.shape[:2]), np.float32)
    planes[...] = to_floats(pixels).transpose(2, 0, 1)  # two steps: half the time of converting while transposing
    return planes


def to_floats(pixels, out=None):
    """Return uint16 pixels in 0..65535 as float32 in 0..1, optionally in `out`; floats are unchanged."""
    return np.multiply(pixels, UNIT if pixels.dtype == np.uint16 else np.float32(1), out=out, dtype=np.float32)


def to_centers(pairs):
    """Return (row, col) pairs as an int64 tensor (n, 2), or (2,) for a single pair."""
    return torch.tensor(pairs, dtype=torch.int64)


def _scaled(value, old, new):
    """Return a coordinate in an image resized from `old` to `new` pixels, rounded as in the original."""
    return int(float(new) / float(old) * float(value))


def _covered(center, width, length):
    """Return a float32 line that is 1 from center - width // 2 to center + width // 2 (exclusive), else 0."""
    line = np.zeros(length, np.float32)
    line[max(center - width // 2, 0) : max(center + width // 2, 0)] = 1
    return line
