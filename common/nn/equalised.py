"""Layers with an equalised learning rate (Karras et al. 2018), pixel norm and the leaky activation of StyleGAN2.

Weights are stored with unit variance and scaled when they are used, so that one step of Adam moves all of them
equally. Names of parameters are those of rosinality's checkpoints.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from common.nn.convolution import conv2d

SLOPE, GAIN = 0.2, math.sqrt(2)  # of the activation, which keeps the variance


def leaky_activation(x, bias=None):
    """Return sqrt(2) leaky_relu(x + bias, 0.2). bias: (C,), along x's axis 1."""
    if bias is not None:
        x = x + bias.reshape(-1, *[1] * (x.dim() - 2))  # (C, 1, ...)
    return F.leaky_relu(x, SLOPE) * GAIN


class PixelNorm(nn.Module):
    """Divides each vector along axis 1 by its root mean square."""

    def forward(self, x):
        """Return x (B, C, ...) normalised."""
        return x * torch.rsqrt((x * x).mean(dim=1, keepdim=True) + 1e-8)


class EqualLinear(nn.Module):
    """y = x (W s)^T + lr_mul b, with s = lr_mul / sqrt(inputs); then, if asked for, the leaky activation."""

    def __init__(self, inputs, outputs, lr_mul=1.0, bias_init=0.0, activated=False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_mul)
        self.bias = nn.Parameter(torch.full((outputs,), float(bias_init)))
        self.lr_mul, self.scale, self.activated = lr_mul, lr_mul / math.sqrt(inputs), activated

    def forward(self, x):
        """Return (B, outputs) of x (B, inputs)."""
        y = torch.addmm(self.bias, x, self.weight.t(), beta=self.lr_mul, alpha=self.scale)
        return leaky_activation(y) if self.activated else y


class EqualConv(nn.Module):
    """A convolution with the weight W s, s = 1 / sqrt(inputs k^2)."""

    def __init__(self, inputs, outputs, kernel_size, stride=1, padding=0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel_size, kernel_size))
        self.scale, self.stride, self.padding = 1 / math.sqrt(inputs * kernel_size**2), stride, padding

    def forward(self, x, gain=1.0, bias=None):
        """Return gain (conv(x) + bias) for x (B, inputs, H, W); bias: (outputs,) or None."""
        return conv2d(x, self.weight * (gain * self.scale), None if bias is None else bias * gain, self.stride,
                      self.padding)
