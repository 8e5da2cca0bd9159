"""A scene without networks: pictures and decisions are smooth functions of all blobs, in float64."""

import torch

from common.networks.blobgan.layout import Blobs
from tools.blobex_inv_cf.problem import Pair
from tools.blobex_inv_cf.search import Scene

BLOBS, WIDTH, SIDE, OBJECTIVES = 5, 4, 8, 4


def blobs(count, seed=0, dtype=torch.float64):
    """Return random Blobs."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(count, *shape, generator=generator, dtype=torch.float64).to(dtype)

    return Blobs(normal(BLOBS).sigmoid(), normal(BLOBS).sigmoid(), normal(BLOBS + 1), normal(BLOBS, 4),
                 normal(BLOBS + 1, WIDTH), normal(BLOBS + 1, WIDTH))


def scene(count=3, dtype=torch.float64, decide=None, strength=1.0):
    """Return a Scene of so many pictures. decide: function of pictures (R, 3 S S) in place of the linear decisions."""
    start = blobs(count, dtype=dtype)
    generator = torch.Generator().manual_seed(9)
    numbers = sum(part.flatten(1).shape[1] for part in start)
    mix = torch.randn(numbers, 3 * SIDE * SIDE, generator=generator, dtype=torch.float64).to(dtype) * 0.1
    weights = torch.randn(3 * SIDE * SIDE, OBJECTIVES, generator=generator, dtype=torch.float64).to(dtype) * 0.2

    def render(layout):
        flat = torch.cat([part.flatten(1) for part in layout], dim=1)
        return torch.tanh(flat @ mix).reshape(-1, 3, SIDE, SIDE)

    def values(pictures, images):
        flat = pictures.flatten(1)
        return strength * flat @ weights if decide is None else decide(flat)

    return Scene(render, values, start, render(start))


def flips(made):
    """Return a Pair for every picture and objective of a scene that asks for the opposite decision."""
    values = made.values(made.pictures, None)
    return [Pair(image, attribute, tuple((-1 if value > 0 else 1) if other == attribute else 0
                                         for other in range(len(row))))
            for image, row in enumerate(values.tolist()) for attribute, value in enumerate(row)]
