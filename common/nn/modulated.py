"""Modulated convolutions of StyleGAN2 (Karras et al. 2020): a style vector scales the input channels of a filter.

Two equal ways: one image's style goes into its weights; for several images it goes into the activations and the
demodulation into the result, so that one convolution with shared weights serves all (no grouped convolution).
Names of parameters are those of rosinality's checkpoints.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from common.nn.convolution import conv2d, conv_transpose2d
from common.nn.equalised import GAIN, SLOPE, EqualLinear
from common.nn.fir import KERNEL, fir_kernel, upfirdn2d

EPSILON = 1e-8  # of the demodulation


class Filter(nn.Module):
    """A FIR filter whose taps are a buffer `kernel`, as checkpoints have it."""

    def __init__(self, gain=1.0, up=1, pad=(0, 0), down=1):
        super().__init__()
        self.register_buffer("kernel", fir_kernel(KERNEL, gain))
        self.up, self.down, self.pad = up, down, pad

    def forward(self, x):
        """Return x filtered (see upfirdn2d)."""
        return upfirdn2d(x, self.kernel, self.up, self.down, self.pad)


class ModulatedConv(nn.Module):
    """A convolution whose input channels are scaled by a style vector, at the same size, or up or down by two.

    resample: None, "up" (transposed, then smoothed) or "down" (smoothed, then strided).
    """

    def __init__(self, inputs, outputs, kernel_size, style_dim, demodulate=True, resample=None):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, kernel_size, kernel_size))
        if resample:
            self.blur = Filter(4.0, pad=(1, 1)) if resample == "up" else Filter(pad=(2, 2))
        self.modulation = EqualLinear(style_dim, inputs, bias_init=1.0)
        self.demodulate, self.resample = demodulate, resample
        self.scale = 1 / math.sqrt(inputs * kernel_size**2)

    def forward(self, x, style, gain=1.0, bias=None):
        """Return the result for x (B or 1, inputs, H, W) and style vectors (B, inputs): gain y + bias.

        style: what `modulation` gives of a latent.  bias: (outputs,), added after the gain.
        """
        if len(style) == 1:
            weight = self.weight[0] * (self.scale * style.reshape(1, -1, 1, 1))  # (outputs, inputs, k, k)
            if self.demodulate:
                weight = weight * torch.rsqrt((weight * weight).sum(dim=(1, 2, 3), keepdim=True) + EPSILON)
            y = self._convolve(x, weight * gain if gain != 1 else weight)
            return y if bias is None else y.add_(bias.reshape(-1, 1, 1))
        weight = self.weight[0] * self.scale
        y = self._convolve(x * style[:, :, None, None], weight)
        if self.demodulate:
            energy = (weight * weight).sum(dim=(2, 3))  # (outputs, inputs)
            y = y * (gain * torch.rsqrt(F.linear(style * style, energy) + EPSILON))[:, :, None, None]
        elif gain != 1:
            y = y * gain
        return y if bias is None else y.add_(bias.reshape(-1, 1, 1))

    def _convolve(self, x, weight):
        if self.resample == "up":
            return self.blur(conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        if self.resample == "down":
            return conv2d(self.blur(x), weight, stride=2)
        return conv2d(x, weight, padding=weight.shape[-1] // 2)


class NoiseWeight(nn.Module):
    """The strength of a layer's noise, one number."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


class ActivationBias(nn.Module):
    """The bias before a layer's activation."""

    def __init__(self, channels):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))


class StyledConv(nn.Module):
    """A modulated convolution, noise, bias and leaky activation."""

    def __init__(self, inputs, outputs, style_dim, resample=None):
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, 3, style_dim, resample=resample)
        self.noise = NoiseWeight()
        self.activate = ActivationBias(outputs)

    def forward(self, x, style, noise=None):
        """Return (B, outputs, H', W') for x (B or 1, inputs, H, W) and style vectors (B, inputs).

        noise: (B or 1, 1, H', W'), or None for none. The activation's gain lies in the weights, the noise and the
        bias: a positive factor passes through the leaky ReLU.
        """
        y = self.conv(x, style, GAIN, self.activate.bias * GAIN)
        if noise is not None:
            y.add_(noise * (self.noise.weight * GAIN))
        return F.leaky_relu_(y, SLOPE)


class ToRGB(nn.Module):
    """A 1x1 modulated convolution to three channels, added to the image of half the size."""

    def __init__(self, inputs, style_dim, has_skip=True):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))
        if has_skip:
            self.upsample = Filter(4.0, up=2, pad=(2, 1))
        self.conv = ModulatedConv(inputs, 3, 1, style_dim, demodulate=False)

    def forward(self, x, style, skip=None):
        """Return the image (B, 3, H, W) of x (B, inputs, H, W) and style vectors (B, inputs).

        skip: the image (B, 3, H / 2, W / 2) so far.
        """
        image = self.conv(x, style, bias=self.bias.reshape(3))
        return image if skip is None else image.add_(self.upsample(skip))
