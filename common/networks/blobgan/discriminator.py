"""Discriminator of BlobGAN, and the encoder that has the same body (StyleGAN2's residual discriminator).

Names of parameters are those of published checkpoints (below `discriminator.`; the encoder's without a prefix). Both
can be differentiated twice, as R1 needs. sqrt(2) of an activation and 1/sqrt(2) of a residual sum lie in the weights:
a positive factor passes through the leaky ReLU.
"""

import math

import torch.nn.functional as F
from torch import nn

from common.nn.equalised import GAIN, SLOPE, EqualConv, EqualLinear
from common.nn.minibatch_stddev import minibatch_stddev
from common.nn.modulated import ActivationBias, Filter

LAST = 4  # height of the map before the linear layers
WIDTHS = {64: 256, 128: 128, 256: 64, 512: 32, 1024: 16}  # channels by height, times the multiplier; below 64: as 64


def body_channels(size, multiplier=2):
    """Return {height: channels} of the published body for images of height `size`: size, size / 2, ..., 4."""
    heights = [size >> step for step in range(int(math.log2(size)) - 1)]
    return {height: WIDTHS[max(height, 64)] * multiplier for height in heights}


def _activated(conv, bias, x, gain=GAIN):
    """Return gain leaky_relu(conv(x) + bias)."""
    return F.leaky_relu_(conv(x, gain, bias.bias), SLOPE)


class ResidualBlock(nn.Module):
    """(3x3, smoothed 3x3 down by two) + (smoothed 1x1 down by two), over sqrt(2)."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv1 = nn.ModuleList([EqualConv(inputs, inputs, 3, padding=1), ActivationBias(inputs)])
        self.conv2 = nn.ModuleList([Filter(pad=(2, 2)), EqualConv(inputs, outputs, 3, stride=2),
                                    ActivationBias(outputs)])
        # The 1x1 convolution sees every second sample only, so that no others are computed.
        self.skip = nn.ModuleList([Filter(pad=(1, 1), down=2), EqualConv(inputs, outputs, 1)])

    def forward(self, x):
        """Return (B, outputs, H / 2, W / 2) of x (B, inputs, H, W)."""
        smoothing, conv, bias = self.conv2
        y = _activated(conv, bias, smoothing(_activated(*self.conv1, x)), gain=1.0)
        smoothing, conv = self.skip
        return y + conv(smoothing(x), 1 / GAIN)


class _Body(nn.Module):
    """The layers of both: images (B, 3, size, aspect_ratio size) -> (B, outputs).

    channels: {height: channels} for the heights size, size / 2, ..., 4; default the published ones.
    """

    def __init__(self, size, aspect_ratio, outputs, channels, extra):
        super().__init__()
        heights = sorted(body_channels(size), reverse=True)
        if size != 1 << (size.bit_length() - 1) or not LAST < size <= max(WIDTHS) or set(channels) != set(heights):
            raise ValueError(f"a body for height {size} needs channels at {heights}, not at {sorted(channels)}")
        first, last = channels[size], channels[LAST]
        blocks = [ResidualBlock(channels[height], channels[height // 2]) for height in heights[:-1]]
        self.convs = nn.ModuleList([nn.ModuleList([EqualConv(3, first, 1), ActivationBias(first)]), *blocks])
        self.final_conv = nn.ModuleList([EqualConv(last + extra, last, 3, padding=1), ActivationBias(last)])
        flat = last * LAST * int(LAST * aspect_ratio)
        self.final_linear = nn.Sequential(EqualLinear(flat, last, activated=True), EqualLinear(last, outputs))

    def maps(self, x):
        """Return the maps (B, channels at height 4, 4, 4 aspect_ratio) of images."""
        x = _activated(*self.convs[0], x)
        for block in self.convs[1:]:
            x = block(x)
        return x

    def outputs(self, x):
        """Return (B, outputs) of the maps, with the channels that were added to them."""
        return self.final_linear(_activated(*self.final_conv, x).flatten(1))


class Discriminator(_Body):
    """Images in [-1, 1] -> one logit each, above 0 for real.

    multiplier: of the published channels (2 in all published files).  channels: {height: channels} instead of them.
    """

    def __init__(self, size, aspect_ratio=1, multiplier=2, channels=None):
        super().__init__(size, aspect_ratio, 1, channels or body_channels(size, multiplier), extra=1)

    def forward(self, x, stddev_rows=None):
        """Return the logits (B,) of images (B, 3, size, aspect_ratio size).

        stddev_rows: rows whose deviation is looked at together (see minibatch_stddev), default the whole batch.
        """
        return self.outputs(minibatch_stddev(self.maps(x), stddev_rows)).squeeze(1)


class LayoutEncoder(_Body):
    """Images in [-1, 1] -> layout latents; the discriminator's body without the minibatch standard deviation."""

    def __init__(self, size, aspect_ratio=1, outputs=1024, multiplier=2, channels=None):
        super().__init__(size, aspect_ratio, outputs, channels or body_channels(size, multiplier), extra=0)

    @property
    def last(self):
        """The layer whose outputs are the latents."""
        return self.final_linear[-1]

    def forward(self, x):
        """Return latents (B, outputs) of images (B, 3, size, aspect_ratio size)."""
        return self.outputs(self.maps(x))
