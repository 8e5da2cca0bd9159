"""Images of a data set that stay in memory once they are read, where all of them fit."""

import numpy as np

UNKNOWN, GOOD, DAMAGED = 0, 1, 2


class ImageCache:
    """uint8 images by number, from several threads.

    load: function of numbers (n,) -> (places of those that could be read, their images).  count, shape: of the images.
    memory_gb: keep them when all of them take no more.
    """

    def __init__(self, load, count, shape, memory_gb):
        self.load, self.shape = load, tuple(shape)
        fits = count * int(np.prod(self.shape)) <= memory_gb * 1e9
        self.images = np.empty((count, *self.shape), np.uint8) if fits else None  # takes memory as it is filled
        self.state = np.zeros(count, np.uint8)

    @property
    def damaged(self):
        """How many images turned out unreadable so far."""
        return int((self.state == DAMAGED).sum())

    def read(self, numbers):
        """Return (uint8 (n, *shape), good (n,) bool): an image that cannot be read is not good, and black."""
        numbers = np.asarray(numbers, np.int64)
        wanted = np.unique(numbers[self.state[numbers] == UNKNOWN] if self.images is not None
                           else numbers[self.state[numbers] != DAMAGED])
        fresh, readable = np.zeros((len(wanted), *self.shape), np.uint8), np.zeros(len(wanted), bool)
        if len(wanted):
            places, images = self.load(wanted)
            fresh[places], readable[places] = images, True
            if self.images is not None:
                self.images[wanted] = fresh
            self.state[wanted] = np.where(readable, GOOD, DAMAGED)  # after the images: other threads look here first
        good = self.state[numbers] == GOOD
        if self.images is not None:
            return self.images[numbers], good
        pixels = np.zeros((len(numbers), *self.shape), np.uint8)
        pixels[good] = fresh[np.searchsorted(wanted, numbers[good])]
        return pixels, good
