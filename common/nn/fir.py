"""Resampling by two with a small FIR filter (Karras et al. 2019; StyleGAN2's upfirdn2d), as depthwise convolutions.

The originals upsample by inserting zeros and filtering everything; a strided (transposed) depthwise convolution
touches only the samples that count. Same numbers to float32 rounding, with upfirdn2d's pads as noted.
"""

import torch
import torch.nn.functional as F

KERNEL = (1, 3, 3, 1)  # binomial, in all published configurations; symmetric, so convolution and correlation agree


def fir_kernel(taps=KERNEL, gain=1.0):
    """Return the separable 2-d filter outer(taps, taps), float32 (n, n), with sum `gain`."""
    row = torch.tensor(taps, dtype=torch.float32)
    kernel = torch.outer(row, row)
    return kernel * (gain / kernel.sum())


def _depthwise(kernel, x):
    return kernel.to(x).expand(x.shape[1], 1, *kernel.shape)  # (C, 1, n, n)


def upsample2(x, kernel):
    """Return x (B, C, H, W) at (B, C, 2H, 2W): zero insertion, then the 4x4 filter with gain 4."""
    return F.conv_transpose2d(x, _depthwise(4 * kernel, x), stride=2, padding=1, groups=x.shape[1])  # its pad (2, 1)


def downsample2(x, kernel):
    """Return x (B, C, H, W) at (B, C, H/2, W/2): the 4x4 filter with gain 1, then every second sample."""
    return F.conv2d(x, _depthwise(kernel, x), stride=2, padding=1, groups=x.shape[1])  # its pad (1, 1)


def smooth(x, kernel, padding):
    """Return x filtered at full resolution with `padding` zeros on each side: H + 2 padding - 3 rows remain."""
    return F.conv2d(x, _depthwise(kernel, x), padding=padding, groups=x.shape[1])  # (B, C, H + 2 padding - 3, ...)
