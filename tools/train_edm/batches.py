"""The images of a step and all its random numbers, each from (seed, step, row) alone."""

import numpy as np
import torch

from common.errors import InputError
from common.seeding import unit_numpy
from common.training.batches import Epochs, Groups
from common.training.pixels import ImageCache
from tools.train_edm.loss import loss_draws

ATTEMPTS = 100  # redraws for a row whose images cannot be read


def open_cache(source, side, memory_gb):
    """Return the ImageCache of a source's images (3, side, side)."""
    def load(numbers):
        loaded = source.load(numbers, side)
        return loaded.rows, loaded.pixels

    return ImageCache(load, len(source.classes), (3, side, side), memory_gb)


class EdmBatches:
    """The rows of training batches.

    images: an ImageCache.  title: function of an image's number -> its name in messages.
    classes: (N,) int64, -1 for images that are never drawn.  balanced: a row draws a class uniformly among those that
    occur, then an image of it; else rows run through seeded permutations of all images, one per epoch.
    """

    def __init__(self, images, title, classes, seed, batch, balanced=False, xflip=False, p_mean=-1.2, p_std=1.2):
        self.images, self.title, self.classes, self.seed = images, title, classes, seed
        self.xflip, self.levels = xflip, (p_mean, p_std)
        self.candidates = np.flatnonzero(classes >= 0)
        labels = classes[self.candidates]
        self.groups = Groups(self.candidates, labels if balanced else np.zeros_like(labels))
        self.epochs = None if balanced else Epochs(len(self.candidates), seed, batch)
        # MKL picks its kernels at the first call: made by several threads at once, it could change the last bits.
        torch.zeros(1).exp()

    def draw(self, step, first, last):
        """Return (images uint8 (n, 3, R, R), sigma (n,), noise (n, 3, R, R), classes (n,)) of rows [first, last)."""
        rows = range(first, last)
        draws = [unit_numpy(self.seed, "pick", step, row) for row in rows]
        flips = np.array([generator.random() < 0.5 for generator in draws]) & self.xflip  # drawn even where unused
        numbers = np.array([self._first(step, row, generator) for row, generator in zip(rows, draws)], np.int64)
        images, good = self.images.read(numbers)
        for place in np.flatnonzero(~good):
            numbers[place], images[place] = self._another(draws[place])
        images[flips] = images[flips][..., ::-1]
        sigma, noise = loss_draws(self.seed, step, rows, images.shape[1:], *self.levels)
        return torch.from_numpy(images), sigma, noise, torch.from_numpy(self.classes[numbers])

    def _first(self, step, row, generator):
        """Return the image of a row; rows of the evaluation (no step number) belong to no epoch and are drawn."""
        if self.epochs is None or not isinstance(step, int):
            return self.groups.draw(generator)
        return self.candidates[self.epochs(step, row)]

    def _another(self, generator):
        """Return (number, pixels) of a replacement for an image that cannot be read."""
        for _ in range(ATTEMPTS):
            number = self.groups.draw(generator)
            pixels, good = self.images.read([number])
            if good[0]:
                return number, pixels[0]
        raise InputError(f"{self.images.damaged:,} images cannot be read", where=self.title(number),
                         do="Copy the data again")
