"""Which items of a data set the rows of a training batch are."""

import numpy as np

from common.seeding import unit_numpy


class Epochs:
    """Rows run through seeded permutations of all items, one per epoch."""

    def __init__(self, count, seed, batch):
        self.count, self.seed, self.batch = count, seed, batch
        self._last = (None, None)  # (epoch, its order), replaced as one: several threads draw batches

    def __call__(self, step, row):
        """Return the item of a row of a step's batch, step 0, 1, ..."""
        epoch, place = divmod(step * self.batch + row, self.count)
        last = self._last
        if last[0] != epoch:
            last = self._last = (epoch, unit_numpy(self.seed, "epoch", epoch).permutation(self.count))
        return last[1][place]


class Groups:
    """Items in groups, such as classes: a draw samples a group uniformly, then an item from it."""

    def __init__(self, items, labels):
        """items: (n,) numbers.  labels: (n,) of their groups."""
        self.groups = [items[labels == label] for label in np.unique(labels)]

    def draw(self, generator):
        """Return an item drawn by a numpy generator."""
        group = self.groups[generator.integers(len(self.groups))]
        return group[generator.integers(len(group))]
