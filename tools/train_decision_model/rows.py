"""The rows of training batches, with their labels and what augments them."""

import torch

from common.datasets.prepared import Rows
from common.seeding import unit_generator


class Batches:
    """images: PreparedImages.  targets: uint8 (N, A).  augmentation: augment.Augmentation, whose draws each row has."""

    def __init__(self, images, targets, seed, batch, augmentation):
        self.rows, self.targets, self.size = Rows(images, seed, batch), targets, images.shape[:2]
        self.seed, self.batch, self.augmentation = seed, batch, augmentation

    def draw(self, step, first, last):
        """Return (pictures uint8 (n, H, W, 3), targets (n, A) float32, draws of the augmentation) of rows [first,
        last), each from (seed, step, row) alone."""
        pixels, numbers = self.rows.pixels(step, first, last)
        draws = [self.augmentation.draw(unit_generator(self.seed, "augment", step, row), self.size)
                 for row in range(first, last)]
        targets = torch.from_numpy(self.targets[numbers]).float()
        return torch.from_numpy(pixels), targets, *(torch.stack(values) for values in zip(*draws))
