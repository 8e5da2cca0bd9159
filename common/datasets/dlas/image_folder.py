"""Mode `imagefolder`: every image below some folders, with a low-quality partner (ImageFolderDataset)."""

import os

import cv2
import torch

from common.datasets.dlas.corruption_operations import color_jitter
from common.datasets.dlas.corruptions import Corruptor
from common.datasets.dlas.image_labels import PatchLabels
from common.datasets.dlas.items import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    FileDataset,
    area,
    centre_square,
    list_files,
    to_tensor,
)
from common.errors import InputError
from common.formats.lmdb_files import image_exists, image_names
from common.images.opencv import read_image
from common.images.suffixes import is_image

NORMALISATIONS = {"stylegan2_norm": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), "imagenet": (IMAGENET_MEAN, IMAGENET_STD)}
IMAGE_KEYS = ("hq", "lq", "alt_hq", "alt_lq")
FRAME_DIGITS = 8  # video frames are named <anything><8 digits>.<suffix>


class ImageFolderDataset(FileDataset):
    """Items of `options` (keys: docs/datasets.md): dictionaries with

    hq (3, T, T) and lq (3, T / scale, T / scale), float32 in 0..1 unless normalised; corruption_entropy (n,) float32,
    the strengths of the fixed corruptions; HQ_path, LQ_path (str); has_alt (bool); alt_hq, alt_lq when an alternative
    is requested; labels (1, T, T) int64, labels_mask (1, T, T) float32 and label_strings {index: name} with a labeler;
    and the fixed parameters as tensors.
    Raises InputError for a missing or wrong option, a folder without images, an unreadable image.
    """

    REQUIRED = ("paths", "scale")

    def __init__(self, options):
        super().__init__(options, "imagefolder")
        values = self.options
        self.scale = values.integer("scale")
        self.target_size = values.integer("target_size", None)
        self.multiple = values.integer("force_multiple", 1)
        self.center_crop = values.integer("center_crop_hq_sz", None)
        self.corrupt_first = values.flag("corrupt_before_downsize")
        self.first_factor = values.integer("corrupt_before_downsize_factor", 1)
        self.skip_lq, self.disable_flip = values.flag("skip_lq"), values.flag("disable_flip")
        self.rgb_n1_to_1, self.force_square = values.flag("rgb_n1_to_1"), values.flag("force_square", True)
        self.jitter = values.number("all_image_color_jitter", 0.0)
        self.next_frame, self.other_tile = values.flag("fetch_alt_image"), values.flag("fetch_alt_tiled_image")
        self.normalize = values.one_of("normalize", NORMALISATIONS, None)
        self.fixed = fixed_parameters(values)
        self.corruptor = Corruptor(options, self.compat)
        self._check_sizes()
        folders = values.folders("paths", "weights")
        self.labels = self._labeler(folders)
        self.paths = self.labels.paths(folders[0][0]) if self.labels else self._listed(folders)

    def item(self, index):
        """See ItemDataset."""
        draws, path = self.draws(index), self.paths[index]
        flip = None if self.disable_flip else draws.unit() < 0.5
        image, side = self._prepared(path, flip, draws)
        item = {"hq": image, "LQ_path": path, "HQ_path": path, "has_alt": False}
        sources = [image]
        if self.next_frame or self.other_tile:
            other = self._alternative(path, flip, draws)
            item["has_alt"] = other is not None or (self.compat and self.other_tile)
            item["alt_hq"] = image if other is None else other
            if self.next_frame or not self.compat:  # the original has no alt_lq for other tiles
                sources.append(item["alt_hq"])
        if not self.skip_lq:
            low, strengths = self._low_quality(sources, draws)
            item |= dict(zip(("lq", "alt_lq"), low))
            item["corruption_entropy"] = torch.tensor(strengths, dtype=torch.float32)
        if self.labels:
            item |= self.labels.tensors(path, image.shape[:2], side)
        return self._finished(item) | self.fixed

    def _prepared(self, path, flip, draws):
        """Return (the HQ image of a file after all transforms, its side before resizing)."""
        image = read_image(path, self.compat)
        if self.center_crop is not None:
            image = centre_crop(image, self.center_crop)
        if flip:
            image = cv2.flip(image, 1)
        if self.force_square:
            image = centre_square(image)
        if self.jitter > 0:
            image = color_jitter(image, self.jitter, draws)
        return self._resized(image, path), image.shape[0]

    def _resized(self, image, path):
        """Return an image at target_size, cropped at the bottom and right to the multiple."""
        size = self.target_size
        if size is not None and (image.shape[0] != size or (image.shape[1] != size and not self.compat)):
            image = area(image, size, size)  # the original checks the height only
        multiple = self.multiple * self.scale
        height, width = image.shape[0] // multiple * multiple, image.shape[1] // multiple * multiple
        if not height or not width:
            raise InputError(f"an image of {image.shape[1]}x{image.shape[0]} is smaller than force_multiple x scale = "
                             f"{multiple}", where=path, do="Remove small images, or set target_size")
        return image[:height, :width]

    def _low_quality(self, images, draws):
        """Return ([LQ image], strengths): shrunk by scale and corrupted, in the order of the options."""
        factor, scale = (self.first_factor, self.scale // self.first_factor) if self.corrupt_first else (1, self.scale)
        if self.corrupt_first:
            images = [self._shrunk(image, factor) if factor > 1 else image for image in images]
            images, strengths = self.corruptor.corrupt(images, draws, return_entropy=True)
        images = [self._shrunk(image, scale) for image in images]
        if not self.corrupt_first:
            images, strengths = self.corruptor.corrupt(images, draws, return_entropy=True)
        return images, strengths

    def _shrunk(self, image, factor):
        height, width = image.shape[0] // factor, image.shape[1] // factor
        if self.compat:  # the original passes height and width in the wrong order
            height, width = width, height
        return area(image, height, width)

    def _alternative(self, path, flip, draws):
        """Return the HQ image of the next frame, or of another tile of the same folder; None when there is none."""
        other = next_frame(path, self.compat) if self.next_frame else other_tile(path, draws)
        if other is None:
            return None
        if self.compat:  # the original does not crop, flip or square the alternative
            return self._resized(read_image(other, self.compat), other)
        return self._prepared(other, flip, draws)[0]

    def _finished(self, item):
        """Convert images to tensors, and normalise them or scale them to -1..1 as the options say."""
        for key in IMAGE_KEYS:
            if key in item:
                item[key] = to_tensor(item[key])
                if self.normalize:
                    mean, std = (torch.tensor(values)[:, None, None] for values in NORMALISATIONS[self.normalize])
                    item[key] = (item[key] - mean) / std
        if self.rgb_n1_to_1:
            for key, value in item.items():
                stretched = torch.is_tensor(value) and value.ndim == 3 if self.compat else key in IMAGE_KEYS
                item[key] = value * 2 - 1 if stretched else value
        return item

    def _check_sizes(self):
        values = self.options
        if self.next_frame and self.other_tile:
            raise InputError("'fetch_alt_image' and 'fetch_alt_tiled_image' are both set", where=values.where,
                             do="Choose one")
        if self.target_size is not None and self.target_size // self.scale % self.multiple:
            raise values.wrong("target_size", self.target_size,
                               f"target_size // scale to be a multiple of {self.multiple}")
        if self.target_size is not None and self.target_size < self.scale:
            raise values.wrong("target_size", self.target_size, f"at least the scale, {self.scale}")
        if self.scale % self.first_factor:
            raise values.wrong("corrupt_before_downsize_factor", self.first_factor, f"a divisor of scale, {self.scale}")

    def _labeler(self, folders):
        """Return the PatchLabels that `labeler` describes, or None."""
        values, labeler = self.options, self.options.get("labeler")
        if labeler is None:
            return None
        if not isinstance(labeler, dict) or labeler.get("type") != "patch_labels" or not labeler.get("label_file"):
            raise values.wrong("labeler", labeler, "{type: patch_labels, label_file: FILE}")
        if len(folders) != 1:
            raise values.wrong("paths", [str(path) for path, _ in folders], "one folder with a labeler")
        if not self.force_square:
            raise values.wrong("force_square", False, "true with a labeler")
        return PatchLabels(labeler["label_file"])

    def _listed(self, folders):
        """Return the paths of all folders, each repeated by its weight."""
        paths = []
        for folder, weight in folders:
            paths += list_files(folder, self.options.where) * weight
        return paths


def fixed_parameters(values):
    """Return {key: tensor} of the option `fixed_parameters`."""
    parameters = values.get("fixed_parameters", {})
    if not isinstance(parameters, dict):
        raise values.wrong("fixed_parameters", parameters, "a dictionary")
    try:
        return {key: torch.tensor(value) for key, value in parameters.items()}
    except (TypeError, ValueError, RuntimeError) as error:
        raise values.wrong("fixed_parameters", parameters, f"numbers or lists of them ({error})") from error


def centre_crop(image, side):
    """Return the central side x side pixels of an (H, W, C) image; fewer where it is smaller."""
    top, left = (max(length // 2 - side // 2, 0) for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def next_frame(path, compat=False):
    """Return the path of the next video frame, whose name ends in 8 digits, or None when there is no such file.

    compat: as the original, which replaces n by n + 1 anywhere in the path, so 00000999 has no successor.
    """
    stem, ending = os.path.splitext(path)
    digits = stem[-FRAME_DIGITS:]
    if compat:
        if len(stem.split(".")[-1]) <= FRAME_DIGITS or not digits.isdecimal():
            return None
        other = path.replace(str(int(digits)), str(int(digits) + 1))
    else:
        if len(digits) < FRAME_DIGITS or not digits.isdecimal():
            return None
        other = f"{stem[:-FRAME_DIGITS]}{int(digits) + 1:0{FRAME_DIGITS}d}{ending}"
    return other if other != path and image_exists(other) else None


def other_tile(path, draws):
    """Return the path of another tile of the same folder, drawn at random, or None when there is none."""
    folder, own = os.path.split(path)
    names = sorted(image_names(folder))
    if draws.compat and len(names) <= 3:  # the tile, ref.jpg and centers.pt
        return None
    tiles = [name for name in names if is_image(name) and name != own and "ref." not in name]
    return os.path.join(folder, tiles[draws.integer(0, len(tiles) - 1)]) if tiles else None
