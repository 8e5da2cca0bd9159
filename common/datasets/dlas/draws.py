"""A data set's random draws for one item: from the item's own generator, or from global ones as in the original.

Both kinds have the same methods. With `ItemDraws` an item does not depend on the number of workers; `LegacyDraws` draws
from Python's, numpy's and torch's global generators in the order of the calls, for comparison with the original.
"""

import random


class ItemDraws:
    """Draws from a numpy Generator of the item (common.seeding.unit_numpy)."""

    compat = False

    def __init__(self, rng):
        self.rng = rng

    def unit(self):
        """Return a float in [0, 1)."""
        return float(self.rng.random())

    def integer(self, low, high):
        """Return an integer of low..high, both included."""
        return int(self.rng.integers(low, high + 1))

    def choices(self, names, count):
        """Return `count` of the names, drawn with replacement."""
        return [names[self.integer(0, len(names) - 1)] for _ in range(count)]

    def normal(self, scale):
        """Return a float from a normal distribution around 0."""
        return float(self.rng.normal(scale=scale))

    def units(self, shape):
        """Return floats in [0, 1) of a shape, float64."""
        return self.rng.random(shape)

    def normals(self, shape):
        """Return standard normal floats of a shape, float32."""
        return self.rng.standard_normal(shape, dtype="float32")

    def order(self, count):
        """Return the numbers 0..count-1 in random order."""
        return self.rng.permutation(count).tolist()

    def span(self, low, high):
        """Return a float in low..high (torch's generator in the original)."""
        return float(self.rng.uniform(low, high))

    def below(self, count):
        """Return an integer of 0..count-1 (torch's generator in the original)."""
        return int(self.rng.integers(count))


class LegacyDraws:
    """Draws from the original's global generators: random (unit, integer, choices), numpy (normal, units), torch."""

    compat = True

    def unit(self):
        """Return a float in [0, 1)."""
        return random.random()

    def integer(self, low, high):
        """Return an integer of low..high, both included."""
        return random.randint(low, high)

    def choices(self, names, count):
        """Return `count` of the names, drawn with replacement."""
        return random.choices(names, k=count)

    def normal(self, scale):
        """Return a float from a normal distribution around 0."""
        import numpy as np

        return float(np.random.normal(scale=scale))

    def units(self, shape):
        """Return floats in [0, 1) of a shape, float64."""
        import numpy as np

        return np.random.rand(*shape)

    def normals(self, shape):
        """Return standard normal floats (H, W, C), drawn as (C, H, W) like the original's tensors."""
        import torch

        height, width, channels = shape
        return torch.randn(channels, height, width).permute(1, 2, 0).numpy()

    def order(self, count):
        """Return the numbers 0..count-1 in random order."""
        return random.sample(range(count), count)

    def span(self, low, high):
        """Return a float in low..high."""
        import torch

        return torch.empty(1).uniform_(low, high).item()

    def below(self, count):
        """Return an integer of 0..count-1."""
        import torch

        return int(torch.randint(0, count, (1,)).item())
