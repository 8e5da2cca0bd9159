"""Pictures at the network's size, and the rows of training batches with what augments them."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image

from common.errors import InputError
from common.images.decode import fit_array
from common.seeding import unit_generator, unit_numpy
from common.training.batches import Epochs
from common.training.pixels import ImageCache

ATTEMPTS = 100  # redraws for a row whose image cannot be read
TALLEST = 256  # px, of pictures whose size nobody gave


class Pictures:
    """The images of a Labelled at one size, cached in memory where all fit. size: (H, W).  fit: squash or cover."""

    def __init__(self, labelled, size, fit, memory_gb):
        self.images, self.targets, self.size, self.fit = labelled.images, labelled.targets, size, fit
        self.cache = ImageCache(self._load, len(labelled), (*size, 3), memory_gb)

    def __len__(self):
        return len(self.targets)

    def _load(self, numbers):
        places, images = [], []
        for place, number in enumerate(numbers):
            with contextlib.suppress(InputError):  # counted; another one takes its place
                images.append(sized(self.images.read(int(number)), self.size, self.fit))
                places.append(place)
        return places, np.array(images, np.uint8).reshape(-1, *self.cache.shape)

    def read(self, numbers):
        """Return (uint8 (n, H, W, 3), good (n,)): an image that cannot be read is black, and not good."""
        return self.cache.read(numbers)

    def require(self, number):
        """Raise the InputError of an image that cannot be read."""
        self.images.read(int(number))

    def batches(self, rows, batch_size, workers):
        """Yield (pictures (n, 3, H, W) in [-1, 1], rows (n,)) in order, of the rows that can be read."""
        parts = [np.asarray(rows[start : start + batch_size]) for start in range(0, len(rows), batch_size)]

        def read(part):
            pixels, good = self.read(part)
            return network_input(pixels[good]), part[good]

        with ThreadPoolExecutor(max(workers, 1)) as pool:
            yield from pool.map(read, parts) if workers else map(read, parts)


def sized(pixels, size, fit):
    """Return uint8 (H, W, 3) at a size (H, W), bicubic: stretched (squash, as published), or covering and cropped."""
    if pixels.shape[:2] == size:
        return pixels
    if fit == "cover":
        return fit_array(pixels, size)
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize(size[::-1], Image.Resampling.BICUBIC))


def network_input(pixels):
    """Return uint8 (n, H, W, 3) as float32 (n, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).float().div_(127.5).sub_(1)


def find_size(text, labelled):
    """Return (H, W) of --size, or that of the first image that can be read, at most TALLEST high."""
    if text is not None:
        words = text.lower().split("x")
        sides = [int(word) for word in words if word.isdecimal() and 0 < int(word) <= 1 << 14]
        if len(sides) != len(words) or len(sides) > 2:
            raise InputError("is no height and width", where=f"--size {text}", do="Pass for example 256x512")
        return (sides[0], sides[-1])
    for position in range(len(labelled)):
        with contextlib.suppress(InputError):
            height, width = labelled.images.read(position).shape[:2]
            return (height, width) if height <= TALLEST else (TALLEST, max(1, round(width * TALLEST / height)))
    raise InputError("no image can be read", where=labelled.images.title(0), do="Restore the images")


class Batches:
    """The rows of training batches, each drawn from (seed, step, row) alone.

    augmentation: augment.Augmentation, whose draws each row has.
    """

    def __init__(self, pictures, seed, batch, augmentation):
        self.pictures, self.seed, self.augmentation = pictures, seed, augmentation
        self.epochs = Epochs(len(pictures), seed, batch)

    def draw(self, step, first, last):
        """Return (pictures uint8 (n, H, W, 3), targets (n, A) float32, draws of the augmentation) of rows [first,
        last)."""
        numbers = [int(self.epochs(step - 1, row)) for row in range(first, last)]
        pixels, good = self.pictures.read(numbers)
        for place in np.flatnonzero(~good):
            numbers[place], pixels[place] = self._another(step, first + place)
        targets = torch.from_numpy(self.pictures.targets[numbers]).float()
        draws = [self.augmentation.draw(unit_generator(self.seed, "augment", step, row), self.pictures.size)
                 for row in range(first, last)]
        return torch.from_numpy(pixels), targets, *(torch.stack(values) for values in zip(*draws))

    def _another(self, step, row):
        """Return (number, pixels) of another image for a row whose own cannot be read."""
        generator = unit_numpy(self.seed, "another", step, row)
        for _ in range(ATTEMPTS):
            number = int(generator.integers(len(self.pictures)))
            pixels, good = self.pictures.read([number])
            if good[0]:
                return number, pixels[0]
        self.pictures.require(number)  # raises
        raise AssertionError(number)
