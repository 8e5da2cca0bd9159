"""Noise for images, each image from its own generator."""

import torch

from common.seeding import unit_generator


class UnitNoise:
    """Standard normal noise for the images of global numbers `indices`, each from its own generator.

    Each call returns the next (B, C, H, W) float32 tensor. Draws are made for `ahead` calls at once, in one transfer
    to the device.
    """

    def __init__(self, seed, indices, shape, device="cpu", ahead=8):
        self.generators = [unit_generator(seed, "sample", int(index)) for index in indices]
        self.shape, self.device, self.ahead, self.stock = tuple(shape), device, ahead, []

    def __call__(self):
        if not self.stock:
            draws = [torch.randn((self.ahead, *self.shape), generator=generator) for generator in self.generators]
            self.stock = list(torch.stack(draws, dim=1).to(self.device).flip(0))  # [(B, C, H, W)], popped from the end
        return self.stock.pop()
