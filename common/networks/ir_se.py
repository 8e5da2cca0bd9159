"""The IR and IR-SE backbone of ArcFace (Deng et al. 2019), as pixel2style2pixel uses it, under its names of weights."""

import torch
from torch import nn

from common.nn.convolution import Conv2d
from common.nn.equalised import EqualLinear

DEPTHS = {50: (3, 4, 14, 3), 100: (3, 13, 30, 3), 152: (3, 8, 36, 3)}  # blocks of 64, 128, 256 and 512 channels
REDUCTION = 16  # of the channels within the squeeze and excitation


def published_groups(depth):
    """Return ((channels, number of blocks), ...) of a depth: 50, 100 or 152."""
    return tuple(zip((64, 128, 256, 512), DEPTHS[depth]))


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate in (0, 1) that depends on all channels' means."""

    def __init__(self, channels):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // REDUCTION, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // REDUCTION, channels, 1, bias=False)

    def forward(self, x):
        """Return x (B, C, H, W) scaled."""
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True)))))


class IRBlock(nn.Module):
    """A residual block; the shortcut is a strided pick of pixels where the channels stay, else a 1x1 convolution."""

    def __init__(self, inputs, outputs, stride, squeeze):
        super().__init__()
        if inputs == outputs:
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(Conv2d(inputs, outputs, 1, stride, bias=False),
                                                nn.BatchNorm2d(outputs))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs), Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.PReLU(outputs),
            Conv2d(outputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs),
            *([SqueezeExcite(outputs)] if squeeze else []))

    def forward(self, x):
        """Return (B, outputs, H / stride, W / stride) of x (B, inputs, H, W)."""
        return self.res_layer(x) + self.shortcut_layer(x)


class IRBackbone(nn.Module):
    """The stem and the blocks, to be inherited: their weights are `input_layer.*` and `body.*`.

    groups: ((channels, number of blocks), ...); the first block of each halves the sides.
    """

    def __init__(self, groups, stem=64, squeeze=True):
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, stem, 3, 1, 1, bias=False), nn.BatchNorm2d(stem),
                                         nn.PReLU(stem))
        blocks, inputs = [], stem
        for channels, count in groups:
            for index in range(count):
                blocks.append(IRBlock(inputs, channels, 1 if index else 2, squeeze))
                inputs = channels
        self.body = nn.Sequential(*blocks)
        self.channels = inputs

    def trunk(self, x):
        """Return the result (B, channels, H', W') for images x (B, 3, H, W) in [-1, 1]."""
        return self.body(self.input_layer(channels_last(x)))


def channels_last(x):
    """Return x (B, C, H, W) in the layout in which convolutions are quicker on most devices."""
    return x if x.device.type == "mps" else x.contiguous(memory_format=torch.channels_last)


class GradualStyleBlock(nn.Module):
    """Strided convolutions down to one pixel, and a linear layer (pSp's map2style)."""

    def __init__(self, inputs, outputs, side):
        """side: of the square features, a power of two."""
        super().__init__()
        layers = []
        for index in range(side.bit_length() - 1):
            layers += [Conv2d(outputs if index else inputs, outputs, 3, 2, 1), nn.LeakyReLU()]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(outputs, outputs)

    def forward(self, x):
        """Return (B, outputs) of x (B, inputs, side, side)."""
        return self.linear(self.convs(x).flatten(1))
