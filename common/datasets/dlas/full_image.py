"""Mode `fullimage`: whole images with their bicubic downscale, or random tiles of them (FullImageDataset)."""

import math

import cv2
import numpy as np
import torch

from common.datasets.dlas.items import FileDataset, flip_or_turn, list_files, random_square, to_tensor
from common.datasets.dlas.option_values import LARGEST_BLUR
from common.errors import InputError
from common.images.imresize import imresize
from common.images.opencv import read_image

REFERENCE_BLUR = 0.2  # blur of the reference relative to that of the tile


class FullImageDataset(FileDataset):
    """Items of `options` (keys: docs/datasets.md): dictionaries with

    hq (3, H, W), lq (3, h, w); gt_fullsize_ref (4, H, W), lq_fullsize_ref (4, h, w), RGB and a mask of the tile; all
    float32 in 0..1; gt_center, lq_center (2,) int64, row and column in the references; HQ_path, LQ_path (str).
    phase `train`: tiles at target_size; any other phase: whole images, mask all ones, h = ceil(H / scale), cropped so
    that h and w are multiples of force_multiple.
    Raises InputError for a missing or wrong option, a folder without images, an unreadable image.
    """

    REQUIRED = ("dataroot_GT", "scale")

    def __init__(self, options):
        super().__init__(options, "fullimage")
        values = self.options
        self.scale = values.integer("scale")
        self.train = values.get("phase", "val") == "train"
        self.multiple = values.integer("force_multiple", 1)
        self.lq_noise = values.number("lq_noise", 0.0)
        if self.train:
            self.target_size, self.min_tile_size = values.integer("target_size"), values.integer("min_tile_size")
            if self.target_size > self.min_tile_size:
                raise values.wrong("min_tile_size", self.min_tile_size, f"at least target_size, {self.target_size}")
            if self.target_size < self.scale:
                raise values.wrong("target_size", self.target_size, f"at least scale, {self.scale}")
        self.fixed_size = values.flag("fixed_size")
        self.size_spread = values.number("tile_scale_normal_stddev", 0.17)
        self.flip, self.turn, self.blur = values.flag("use_flip"), values.flag("use_rot"), values.flag("use_blurring")
        self.blur_magnitude = values.number("blur_magnitude", 3.0, high=LARGEST_BLUR)
        folders = values.folders("dataroot_GT", "dataroot_GT_weights")
        self.paths = sorted(path for folder, weight in folders for path in list_files(folder, values.where) * weight)
        low = values.folders("dataroot_LQ") if values.get("dataroot_LQ") is not None else []
        self.low_paths = [list_files(folder, values.where) for folder, _ in low]

    def item(self, index):
        """See ItemDataset."""
        draws, path = self.draws(index), self.paths[index]
        hq = self._view(path, draws, self.min_tile_size if self.train else None)
        if self.low_paths:
            choice = self.draws(index, "choice").integer(0, len(self.low_paths) - 1)
            low_path = self.low_paths[choice][index % len(self.low_paths[choice])]
            # The same draws again, so that both tiles show the same region; the original draws twice.
            same_draws = self.draws(index)
            lq = self._view(low_path, same_draws, self.min_tile_size // self.scale if self.train else None)
        else:
            low_path = path
            lq = self._downscaled(hq, draws)
        self._cut(hq, lq, low_path)
        if self.train:
            hq.image, lq.image = self._resized_pair(hq.image, lq.image, draws, 1)
            hq.reference, lq.reference = self._resized_pair(hq.reference, lq.reference, draws, REFERENCE_BLUR)
        return self._tensors(hq, lq, draws) | {"HQ_path": path, "LQ_path": low_path}

    def _view(self, path, draws, tile_side):
        """Return the View of an image file: whole, or (tile_side) a random tile of it."""
        image = read_image(path, self.compat)
        if tile_side is None:
            return View(image, image, np.ones(image.shape[:2], np.float32), (image.shape[0] // 2, image.shape[1] // 2))
        image = random_square(flip_or_turn(image, draws, self.flip, self.turn), draws)
        return self._tile(image, draws, max(tile_side, 1))

    def _tile(self, image, draws, least):
        """Return a random square of a square image: its side half-normal from `least` up, its position normal (.3)."""
        side = image.shape[0]
        smallest = size = min(least, side)  # an image smaller than the tile is used whole
        if not self.fixed_size:
            size = int(smallest + (side - smallest) * min(abs(draws.normal(self.size_spread)), 1.0))
        left, top = pick_start(side, size, draws), pick_start(side, size, draws)
        mask = np.zeros((side, side), np.float32)
        mask[top : top + size, left : left + size] = 1
        tile = image[top : top + size, left : left + size]
        middle = move((top + size // 2, left + size // 2), (side, side), (least, least))
        return View(bilinear(tile, least), bilinear(image, least), bilinear(mask, least), middle)

    def _downscaled(self, hq, draws):
        """Return the View at 1 / scale, by Matlab's bicubic; in training hq is first resized to a multiple of scale."""
        size = hq.reference.shape[:2]
        if self.train:
            draws.integer(0, 0)  # the original chooses from a list of one scale here
            side = max(hq.image.shape[0] // self.scale * self.scale, self.target_size)
            if side != hq.image.shape[0]:
                hq.image = bilinear(hq.image, side)
        image = imresize(hq.image, 1 / self.scale)
        reference = image if hq.reference is hq.image else imresize(hq.reference, 1 / self.scale)
        return View(image, reference, hq.mask, move(hq.center, size, reference.shape[:2]))

    def _cut(self, hq, lq, path):
        """Crop both views so that LQ sides are multiples of force_multiple; store the sizes before, for the centres."""
        hq.size, lq.size = hq.reference.shape[:2], lq.reference.shape[:2]
        height, width = (length // self.multiple * self.multiple for length in lq.image.shape[:2])
        if not height or not width:
            raise InputError(f"an LQ image of {lq.image.shape[1]}x{lq.image.shape[0]} is smaller than force_multiple "
                             f"{self.multiple}", where=path, do="Remove small images, or lower force_multiple")
        if (height, width) != lq.image.shape[:2]:
            lq.image, lq.reference = lq.image[:height, :width], lq.reference[:height, :width]
            height, width = height * self.scale, width * self.scale
            hq.image, hq.reference = hq.image[:height, :width], hq.reference[:height, :width]

    def _resized_pair(self, hq, lq, draws, strength):
        """Return HQ at target_size and LQ at target_size // scale, LQ blurred when use_blurring is set."""
        hq, lq = bilinear(hq, self.target_size), bilinear(lq, self.target_size // self.scale)
        if not self.blur:
            return hq, lq
        kind, magnitude = draws.integer(0, 100), max(1, int(self.blur_magnitude * strength))
        if kind < 40:
            width = magnitude | 1  # OpenCV accepts odd widths only
            lq = cv2.GaussianBlur(lq, (width, width), draws.integer(0, magnitude - 1))
        elif kind < 70:
            length = draws.integer(1, magnitude * 3 - 1)
            lq = motion_blur(lq, length, draws.integer(0, 360))
        return hq, lq

    def _tensors(self, hq, lq, draws):
        noise = draws.normals(lq.image.shape) * (self.lq_noise / 255) if self.lq_noise else 0
        item = {}
        for key, side, view, added in (("lq", "lq", lq, noise), ("hq", "gt", hq, 0)):
            mask = cv2.resize(view.mask, view.reference.shape[1::-1], interpolation=cv2.INTER_LINEAR)
            reference = self._in_range(view.reference + added)  # the same noise: both have the same size
            item[key] = to_tensor(self._in_range(view.image + added))
            item[f"{side}_fullsize_ref"] = to_tensor(np.dstack([reference, mask]))
            item[f"{side}_center"] = torch.tensor(move(view.center, view.size, view.reference.shape[:2]))
        return item

    def _in_range(self, image):
        """Return an image clipped to 0..1: bicubic and noise overshoot. The original does not clip."""
        return image if self.compat else np.clip(image, 0, 1)


class View:
    """One side of a pair: image, reference (H, W, 3), mask (H, W) float32, the tile's (row, column) in it."""

    def __init__(self, image, reference, mask, center):
        self.image, self.reference, self.mask, self.center = image, reference, mask, center
        self.size = reference.shape[:2]


def pick_start(length, size, draws):
    """Return the start of a crop of `size` on `length` pixels: normal around the middle (.3 of the spare pixels)."""
    spare = length - size
    return min(max(int(min(draws.normal(0.3), 1.0) * spare + spare // 2), 0), spare)


def move(point, old, new):
    """Return a point (row, column) of an image of size `old` (H, W) on the same image at size `new`, rounded down."""
    return tuple(int(float(after) / float(before) * float(place)) for place, before, after in zip(point, old, new))


def bilinear(image, side):
    """Return an image resized to side x side (bilinear, without antialiasing, as in the original)."""
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)


def motion_blur(image, size, angle):
    """Return an image averaged along a line of `size` pixels at an angle in degrees."""
    kernel = np.zeros((size, size), np.float32)
    kernel[(size - 1) // 2] = 1
    middle = size / 2 - 0.5
    kernel = cv2.warpAffine(kernel, cv2.getRotationMatrix2D((middle, middle), angle, 1.0), (size, size))
    total = float(kernel.sum())
    return cv2.filter2D(image, -1, kernel / total) if total > 0 and math.isfinite(total) else image
