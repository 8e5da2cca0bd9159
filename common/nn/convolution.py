"""Convolutions whose weights' gradient is a product of matrices, on processors where that is quicker.

Without AVX-512 oneDNN is slow to sum the gradient of the weights of a channels-last convolution where maps are large:
at 192 channels and 128 x 256 positions it takes six times as long as products of matrices, one for each tap of the
filter. All else is torch's own, and so is the gradient of the gradient.
"""

from contextlib import contextmanager
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn

LEAST = 64  # channels on either side from which on products are quicker
_PLAIN = []  # contexts of `twice_differentiated`


def conv2d(x, weight, bias=None, stride=1, padding=0):
    """Return torch's conv2d of x (B, C, H, W) and weight (C', C, k, k)."""
    if _by_products(x, weight):
        return _Convolution.apply(x, weight, bias, stride, padding, False)
    return F.conv2d(x, weight, bias, stride=stride, padding=padding)


class Conv2d(nn.Conv2d):
    """torch's layer, of square filters without groups, with `conv2d` from here."""

    def forward(self, x):
        """Return the convolution of x (B, C, H, W)."""
        return conv2d(x, self.weight, self.bias, self.stride[0], self.padding[0])


def conv_transpose2d(x, weight, stride):
    """Return torch's conv_transpose2d of x (B, C, H, W) and weight (C, C', k, k)."""
    if _by_products(x, weight):
        return _Convolution.apply(x, weight, None, stride, 0, True)
    return F.conv_transpose2d(x, weight, stride=stride)


def _by_products(x, weight):
    return (x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32 and min(weight.shape[:2]) >= LEAST
            and weight.requires_grad and not _PLAIN and torch.is_grad_enabled() and not torch.compiler.is_compiling()
            and not torch.is_autocast_enabled("cpu") and x.is_contiguous(memory_format=torch.channels_last)
            and not _has_avx512())


@contextmanager
def twice_differentiated():
    """Within this context all convolutions are torch's: for a gradient by the pictures alone, which is differentiated
    again. Here that of the weights would be computed with it and thrown away."""
    _PLAIN.append(True)
    try:
        yield
    finally:
        _PLAIN.pop()


@lru_cache(maxsize=1)
def _has_avx512():
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512")


class _Convolution(torch.autograd.Function):
    """A convolution, or a transposed one, of square filters without groups."""

    @staticmethod
    def forward(ctx, x, weight, bias, stride, padding, transposed):
        ctx.save_for_backward(x, weight)
        ctx.settings = [stride] * 2, [padding] * 2, [1, 1], transposed, [0, 0], 1
        return torch.convolution(x, weight, bias, *ctx.settings)

    @staticmethod
    def backward(ctx, gradient):
        (x, weight), wanted = ctx.saved_tensors, ctx.needs_input_grad
        (stride, _), (padding, _), _, transposed, *_ = ctx.settings
        of_x = of_weight = None
        if wanted[0]:
            of_x = torch.ops.aten.convolution_backward(gradient, x, weight, None, *ctx.settings,
                                                       [True, False, False])[0]
        if wanted[1]:
            rows, out = x.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
            fixed, moved = (rows, out) if transposed else (out, F.pad(rows, (0, 0, *[padding] * 4)))
            of_weight = _taps(fixed, moved, stride, weight.shape[-1])
        return of_x, of_weight, gradient.sum(dim=(0, 2, 3)) if wanted[2] else None, None, None, None


def _taps(fixed, moved, stride, side):
    """Return (C, D, side, side): of each tap (a, b) the sum of fixed[y, x] moved[stride y + a, stride x + b].

    fixed: (B, H, W, C).  moved: (B, stride (H - 1) + side, stride (W - 1) + side, D).
    """
    height, width = fixed.shape[1:3]
    taps = [(a, b) for a in range(side) for b in range(side)]
    if stride == 1:  # with zeros at the ends of rows and columns a tap is a shift of all positions: nothing is copied
        line = moved.shape[2]
        fixed, moved = F.pad(fixed, (0, 0, 0, side - 1, 0, side - 1)).flatten(0, 2), moved.flatten(0, 2)
        count = len(moved) - (side - 1) * (line + 1)
        parts, rows = (moved[a * line + b :][:count] for a, b in taps), fixed[:count].t()
    else:
        parts = (moved[:, a::stride, b::stride][:, :height, :width].flatten(0, 2) for a, b in taps)
        rows = fixed.flatten(0, 2).t()
    return torch.stack([rows @ part for part in parts], dim=-1).unflatten(-1, (side, side))
