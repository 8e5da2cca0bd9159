"""Shared by the data sets of `options` dictionaries: seeds per item, lists of files, tensors."""

import os
import warnings
from abc import ABC, abstractmethod

import cv2
import numpy as np
import torch

from common.datasets.dlas.draws import ItemDraws, LegacyDraws
from common.datasets.dlas.option_values import SEEDS, OptionValues
from common.datasets.sets.folders import list_images
from common.errors import InputError
from common.formats.lmdb_files import image_names, is_image_lmdb
from common.images.suffixes import SUFFIXES
from common.seeding import unit_numpy

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ItemDataset(torch.utils.data.Dataset, ABC):
    """A data set whose item i of epoch e depends on (random_seed, e, i) alone, not on workers or earlier items.

    Three keys of the options apply to all of them: `random_seed` (0); `compat` (False), which draws from the global
    generators in the original's order and keeps its arithmetic; `broken_images`, what to do about a file that cannot be
    read: `raise` (the default), or `next` to warn and return the next item.
    A subclass has `item(index)` and `__len__`.
    """

    def __init__(self, options, mode):
        self.options = OptionValues(options, mode)
        self.compat = self.options.flag("compat")
        self.seed = self.options.integer("random_seed", 0, low=-SEEDS, high=SEEDS)
        self.broken_images = self.options.one_of("broken_images", ("raise", "next"), "raise")
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # persistent workers see set_epoch too

    def __getitem__(self, index):
        if not -len(self) <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")  # ends a for loop over the data set
        if self.broken_images == "raise":
            return self.item(index % len(self))
        for step in range(len(self)):
            try:
                return self.item((index + step) % len(self))
            except InputError as error:
                warnings.warn(f"{error} The next item is used instead.", stacklevel=2)
        raise InputError("none of the images can be read", where=self.options.where, do="Check the files")

    @abstractmethod
    def item(self, index):
        """Return item `index`, 0..len - 1, a dictionary."""

    def set_epoch(self, epoch):
        """Set the epoch, for other draws in the next pass: call it before each pass."""
        self._epoch.fill_(int(epoch))

    def draws(self, index, stream="item"):
        """Return the draws of one item: the same for every call in the same epoch."""
        if self.compat:
            return LegacyDraws()
        return ItemDraws(unit_numpy(self.seed, stream, int(self._epoch), index))


class FileDataset(ItemDataset):
    """An ItemDataset of image files: `paths` has one for each item, as a string."""

    def __len__(self):
        return len(self.paths)

    def get_paths(self):
        """Return the paths of all items, in order."""
        return self.paths


def list_files(folder, where, suffixes=SUFFIXES, keep_references=False):
    """Return the image files below a folder, or the images of an LMDB folder, as sorted strings that start with it.

    Names that contain `ref.jpg` (the references of chunked folders) and hidden files are skipped.
    Raises InputError for a folder that does not exist or has no images.
    """
    folder = os.fspath(folder).rstrip("/") or "/"
    if not os.path.isdir(folder):
        raise InputError("no such folder", where=folder, do=f"Check the paths of the {where} options")
    listed = image_names(folder) if is_image_lmdb(folder) else list_images(folder, suffixes)
    names = [name for name in listed
             if keep_references or "ref.jpg" not in os.path.basename(name)]
    if not names:
        raise InputError("no images in this folder", where=folder, do=f"Looked for {' '.join(suffixes)}, at any depth")
    return sorted(os.path.join(folder, name) for name in names)


def to_tensor(image):
    """Return an (H, W, C) array as a contiguous (C, H, W) float32 tensor, a copy."""
    return torch.from_numpy(np.array(image.transpose(2, 0, 1), dtype=np.float32, order="C"))


def area(image, height, width):
    """Return an (H, W, C) image resized by pixel area (OpenCV)."""
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def centre_square(image):
    """Return the centred square of an (H, W, C) image."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def random_square(image, draws):
    """Return a square of the shorter side, its position on the longer one normal around the middle (.3 of half)."""
    height, width = image.shape[:2]
    if height == width:
        return image
    spare = abs(height - width)
    centre = spare // 2
    start = int(centre + max(min(draws.normal(0.3), 1.0), -1.0) * (centre - 2))
    start = min(max(start, 0), spare)  # with few spare pixels the formula leaves the image
    return image[start : start + width] if height > width else image[:, start : start + height]


def flip_or_turn(image, draws, flip=True, turn=True):
    """Return the image flipped horizontally (flip), vertically and transposed (turn), each with probability .5."""
    horizontal = flip and draws.unit() < 0.5
    vertical = turn and draws.unit() < 0.5
    transpose = turn and draws.unit() < 0.5
    if horizontal or vertical:
        image = cv2.flip(image, -1 if horizontal and vertical else 1 if horizontal else 0)
    return cv2.transpose(image) if transpose else image
