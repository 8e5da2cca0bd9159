"""The rows of a training step: images, and for each of its two turns noise, noise maps and jitter.

Every row draws from (seed, turn, step, row) alone, so that a batch may be split over parts and processes.
"""

import math
from typing import NamedTuple

import torch

from common.datasets.prepared import Rows
from common.seeding import unit_generator

TURNS = ("generator", "discriminator")


class Noise(NamedTuple):
    """What a turn draws. z: (n, noise_dim).  maps: (n, sum of h w), the generator's noise maps one after the other.
    jitter: (n, 4, K), uniform in [0, 1)."""

    z: torch.Tensor
    maps: torch.Tensor
    jitter: torch.Tensor


def draw_noise(seed, turn, step, rows, noise_dim, map_shapes, num_blobs):
    """Return the Noise of some rows of a turn."""
    sizes = [noise_dim, sum(math.prod(shape) for shape in map_shapes)]
    generators = [unit_generator(seed, turn, step, row) for row in rows]
    normal = torch.stack([torch.randn(sum(sizes), generator=generator) for generator in generators])
    jitter = torch.stack([torch.rand(4, num_blobs, generator=generator) for generator in generators])
    return Noise(*normal.split(sizes, dim=1), jitter)


def noise_maps(flat, map_shapes):
    """Return the generator's noise maps (n, 1, h, w) of Noise.maps."""
    parts = flat.split([math.prod(shape) for shape in map_shapes], dim=1)
    return [part.reshape(-1, *shape[1:]) for part, shape in zip(parts, map_shapes)]


class Batches:
    """Draws the rows of steps 1, 2, ...

    images: a PreparedImages.  map_shapes: of the generator's noise maps, (1, 1, h, w) each.
    """

    def __init__(self, images, options, map_shapes):
        self.rows, self.seed = Rows(images, options.seed, options.batch_size, options.xflip), options.seed
        self.sizes = options.noise_dim, map_shapes, options.n_features
        # MKL picks its kernels at the first call: made by several threads at once, it could change the last bits.
        torch.zeros(1).exp()

    def draw(self, step, first, last):
        """Return (images uint8 (n, H, W, 3), z, maps, jitter of the generator's turn, those of the discriminator's)."""
        pixels, _ = self.rows.pixels(step, first, last)
        noises = [draw_noise(self.seed, turn, step, range(first, last), *self.sizes) for turn in TURNS]
        return torch.from_numpy(pixels), *noises[0], *noises[1]
