"""Dropout with masks that belong to the rows of a batch."""

import torch
import torch.nn.functional as F
from torch import nn

from common.seeding import unit_seed


class DropoutDraw:
    """Which dropout masks a forward pass draws: those of rows [first, last) of a whole batch, for each slice.

    Masks come from (seed, layer) for the whole batch of `batch` rows times `slices`, so that a row's mask does not
    depend on how the batch is split over processes or accumulation steps.
    """

    def __init__(self, seed, batch, first, last, slices=1):
        self.seed, self.batch, self.rows, self.slices = seed, batch, slice(first, last), slices

    def mask(self, layer, x, rate):
        """Return the scaled keep mask of one layer, shaped like x (slices * rows, ...)."""
        generator = torch.Generator(x.device).manual_seed(unit_seed(self.seed, "dropout", layer))
        uniform = torch.rand((self.slices, self.batch, *x.shape[1:]), generator=generator, device=x.device)
        return (uniform[:, self.rows].reshape(x.shape) >= rate).to(x.dtype) / (1 - rate)  # (slices * rows, ...)


class Dropout(nn.Module):
    """Dropout with masks from a DropoutDraw, or from torch's own generator when none is set."""

    def __init__(self, rate):
        super().__init__()
        self.rate, self.layer, self.draw = rate, 0, None

    def mask(self, x):
        """Return the scaled keep mask for x, or None when nothing is dropped."""
        if not self.training or self.rate == 0:
            return None
        if self.draw is None:
            return F.dropout(torch.ones_like(x), self.rate)
        return self.draw.mask(self.layer, x, self.rate)

    def forward(self, x):
        """Return x (B, ...), in training with a random part set to 0 and the rest scaled by 1 / (1 - rate)."""
        mask = self.mask(x)  # (B, ...) or None
        return x if mask is None else x * mask  # (B, ...)
