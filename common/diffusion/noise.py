"""Noise for images: each image from its own generator, or drawn as EDM and DMD2 do."""

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


class EdmNoise:
    """The noise of EDM's generate.py: image i from torch's generator of seed + i, on the CPU.

    The first call returns float32, later ones float64 (EDM's sampler keeps its state so). Between them EDM draws the
    class (`classes`, (B,) int64, None for a network without), which is drawn even where another one is wanted.
    """

    def __init__(self, seed, indices, shape, device="cpu", label_dim=0):
        self.generators = [torch.Generator().manual_seed((seed + int(index)) % 2**32) for index in indices]
        self.shape, self.device, self.classes = tuple(shape), device, None
        self.start = self._draw(torch.float32)
        if label_dim:
            draws = [torch.randint(label_dim, size=[], generator=generator) for generator in self.generators]
            self.classes = torch.stack(draws)

    def _draw(self, dtype):
        draws = [torch.randn(self.shape, generator=generator, dtype=dtype) for generator in self.generators]
        return torch.stack(draws).to(self.device)

    def __call__(self):
        start, self.start = self.start, None
        return self._draw(torch.float64) if start is None else start


class StreamNoise:
    """The starting noise of DMD2's programs: one stream of the seed on the CPU, of which image i has the i-th part.

    The stream does not depend on the batch size where an image has a multiple of 16 values.
    """

    def __init__(self, seed, shape):
        self.seed, self.shape, self.position = seed, tuple(shape), None

    def __call__(self, indices):
        """Return (B, C, H, W) float32 for ascending image numbers; going back starts the stream again."""
        draws = []
        for index in map(int, indices):
            if self.position is None or index < self.position:
                self.generator, self.position = torch.Generator().manual_seed(self.seed), 0
            while self.position <= index:
                draw = torch.randn(self.shape, generator=self.generator)
                self.position += 1
            draws.append(draw)
        return torch.stack(draws)
