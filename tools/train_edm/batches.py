"""Which images a step sees, and every random number of it, from (seed, step, row) alone."""

import numpy as np
import torch

from common.errors import InputError
from common.seeding import unit_numpy
from tools.train_edm.loss import loss_draws

ATTEMPTS = 100  # draws for a row whose images cannot be read
UNKNOWN, GOOD, DAMAGED = 0, 1, 2


class Pixels:
    """uint8 images (3, R, R) of a source by number; once read they stay in memory, where all of them fit.

    memory_gb: keep them when count x 3 R^2 bytes are at most that.  damaged: how many turned out unreadable so far.
    """

    def __init__(self, source, side, memory_gb):
        self.source, self.side = source, side
        count, size = len(source.classes), 3 * side * side
        fits = count * size <= memory_gb * 1e9
        self.kept = np.empty((count, 3, side, side), np.uint8) if fits else None  # takes memory as it is filled
        self.state = np.zeros(count, np.uint8)

    @property
    def damaged(self):
        return int((self.state == DAMAGED).sum())

    def read(self, numbers):
        """Return (uint8 (n, 3, R, R), good (n,) bool): an image that cannot be read is not good, and black."""
        numbers = np.asarray(numbers, np.int64)
        wanted = np.unique(numbers[self.state[numbers] == UNKNOWN] if self.kept is not None
                           else numbers[self.state[numbers] != DAMAGED])
        fresh = np.zeros((len(wanted), 3, self.side, self.side), np.uint8)
        if len(wanted):
            found = self.source.load(wanted, self.side)
            fresh[found.rows] = found.pixels
            if self.kept is not None:
                self.kept[wanted] = fresh
            self.state[wanted[found.rows]] = GOOD  # after the pixels: other threads look here first
            self.state[wanted[list(found.left_out)]] = DAMAGED
        good = self.state[numbers] == GOOD
        if self.kept is not None:
            pixels = self.kept[numbers]
        else:
            pixels = np.zeros((len(numbers), 3, self.side, self.side), np.uint8)
            pixels[good] = fresh[np.searchsorted(wanted, numbers[good])]
        return pixels, good


class Batches:
    """The rows of training batches.

    classes: (N,) int64, -1 for images that are never taken.  balanced: a row draws a class that occurs, all alike, then
    an image of it; else rows go through seeded permutations of all images, one after the other.
    """

    def __init__(self, pixels, classes, seed, batch, balanced=False, xflip=False, p_mean=-1.2, p_std=1.2):
        self.pixels, self.classes, self.seed, self.batch = pixels, classes, seed, batch
        self.xflip, self.levels = xflip, (p_mean, p_std)
        candidates = np.flatnonzero(classes >= 0)
        self.groups = [candidates[classes[candidates] == number]
                       for number in np.unique(classes[candidates])] if balanced else [candidates]
        self.balanced, self._kept = balanced, (None, None)  # the last (epoch, its order), replaced as one
        # MKL chooses its code on the first call: were several threads' first ones at once, one could get another last bit.
        torch.zeros(1).exp()

    def draw(self, step, first, last):
        """Return (images uint8 (n, 3, R, R), sigma (n,), noise (n, 3, R, R), classes (n,)) of rows [first, last)."""
        rows = range(first, last)
        draws = [unit_numpy(self.seed, "pick", step, row) for row in rows]
        flips = np.array([generator.random() < 0.5 for generator in draws]) & self.xflip
        numbers = np.array([self._first(step, row, generator) for row, generator in zip(rows, draws)], np.int64)
        images, good = self.pixels.read(numbers)
        for place in np.flatnonzero(~good):
            numbers[place], images[place] = self._another(draws[place])
        images[flips] = images[flips][..., ::-1]
        sigma, noise = loss_draws(self.seed, step, rows, images.shape[1:], *self.levels)
        return torch.from_numpy(images), sigma, noise, torch.from_numpy(self.classes[numbers])

    def _first(self, step, row, generator):
        """Return the image of a row; the evaluation's rows (a step without a number) are drawn like new ones."""
        if self.balanced or not isinstance(step, int):
            return self._random(generator)
        epoch, place = divmod(step * self.batch + row, len(self.groups[0]))
        kept = self._kept
        if kept[0] != epoch:
            kept = self._kept = (epoch, unit_numpy(self.seed, "epoch", epoch).permutation(self.groups[0]))
        return kept[1][place]

    def _random(self, generator):
        group = self.groups[generator.integers(len(self.groups))]
        return group[generator.integers(len(group))]

    def _another(self, generator):
        """Return (number, pixels) in place of an image that cannot be read."""
        for _ in range(ATTEMPTS):
            number = self._random(generator)
            pixels, good = self.pixels.read([number])
            if good[0]:
                return number, pixels[0]
        raise InputError(f"{self.pixels.damaged:,} images cannot be read", where=self.pixels.source.title(number),
                         do="Copy the data again")
