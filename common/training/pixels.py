"""Images of a data set, cached in memory if all of them fit."""

import numpy as np

UNKNOWN, GOOD, DAMAGED = 0, 1, 2


class ImageCache:
    """uint8 images by number, safe to read from several threads.

    load: function of numbers (n,) -> (places of the readable ones, their images).  count, shape: of the images.
    memory_gb: cache them if all together take no more.
    """

    def __init__(self, load, count, shape, memory_gb):
        self.load, self.shape = load, tuple(shape)
        fits = count * int(np.prod(self.shape)) <= memory_gb * 1e9
        self.images = np.empty((count, *self.shape), np.uint8) if fits else None  # the system allocates it lazily
        self.state = np.zeros(count, np.uint8)

    @property
    def damaged(self):
        """Number of images that turned out to be unreadable so far."""
        return int((self.state == DAMAGED).sum())

    def read(self, numbers):
        """Return (uint8 (n, *shape), good (n,) bool): an unreadable image is not good, and black."""
        numbers = np.asarray(numbers, np.int64)
        wanted = np.unique(numbers[self.state[numbers] == UNKNOWN] if self.images is not None
                           else numbers[self.state[numbers] != DAMAGED])
        fresh, readable = np.zeros((len(wanted), *self.shape), np.uint8), np.zeros(len(wanted), bool)
        if len(wanted):
            places, images = self.load(wanted)
            fresh[places], readable[places] = images, True
            if self.images is not None:
                self.images[wanted] = fresh
            self.state[wanted] = np.where(readable, GOOD, DAMAGED)  # after the images: other threads check it first
        good = self.state[numbers] == GOOD
        if self.images is not None:
            return self.images[numbers], good
        pixels = np.zeros((len(numbers), *self.shape), np.uint8)
        pixels[good] = fresh[np.searchsorted(wanted, numbers[good])]
        return pixels, good
