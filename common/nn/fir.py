"""Resampling with a small FIR filter (Karras et al. 2019; StyleGAN2's upfirdn2d), as depthwise convolutions.

The originals upsample by inserting zeros and filtering everything; a strided (transposed) depthwise convolution
touches only the samples that count. Same numbers to float32 rounding. `upfirdn2d` takes any factors and pads;
`upsample2`, `downsample2` and `smooth` are its usual cases for a symmetric filter.
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


def upfirdn2d(x, kernel, up=1, down=1, pad=(0, 0)):
    """Return x (B, C, H, W) with zeros inserted by `up`, padded, convolved with `kernel` (n, m), every down-th kept.

    up, down: an integer or a pair (x, y).  pad: (before, after) for both axes, or (x0, x1, y0, y1); negative values
    crop. A true convolution, the kernel is flipped. Size: floor((H up + y0 + y1 - n) / down) + 1, and the same for W.
    A strided (transposed) depthwise convolution takes the place of the inserted zeros, of the pads it can express,
    and of the samples that would be thrown away.
    """
    (up_x, up_y), (down_x, down_y) = (pair if isinstance(pair, (tuple, list)) else (pair, pair) for pair in (up, down))
    x0, x1, y0, y1 = pad if len(pad) == 4 else (*pad, *pad)
    channels, (rows, columns) = x.shape[1], kernel.shape
    if up_x == up_y == 1:
        weight, stride = _depthwise(kernel.flip(0, 1), x), (down_y, down_x)
        if x0 == x1 >= 0 and y0 == y1 >= 0:
            return F.conv2d(x, weight, stride=stride, padding=(y0, x0), groups=channels)
        return F.conv2d(F.pad(x, (x0, x1, y0, y1)), weight, stride=stride, groups=channels)
    # The transposed convolution gives all sums that touch a sample; the pads say how far beyond them, or short.
    left, top = columns - 1 - x0, rows - 1 - y0
    right, bottom = columns - up_x - x1, rows - up_y - y1
    inner = (max(0, min(top, bottom)), max(0, min(left, right)))
    x = F.conv_transpose2d(x, _depthwise(kernel, x), stride=(up_y, up_x), padding=inner, groups=channels)
    borders = (inner[1] - left, inner[1] - right, inner[0] - top, inner[0] - bottom)
    if any(borders):
        x = F.pad(x, borders)
    return x[:, :, ::down_y, ::down_x] if down_x * down_y > 1 else x
