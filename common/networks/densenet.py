"""DenseNet-121 (Huang et al. 2017) without its classifier, under torchvision's names of weights.

Written out because a torchvision whose compiled operators do not fit the installed torch cannot be imported at all.
"""

import re
from collections import OrderedDict

import torch
from torch import nn

GROWTH, BOTTLENECK, LAYERS = 32, 4, (6, 12, 24, 16)
OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)")  # norm.1 of torchvision's older files: norm1


class DenseLayer(nn.Module):
    """A 1x1 and a 3x3 convolution, each after batch norm and a rectifier; GROWTH new channels."""

    def __init__(self, inputs):
        super().__init__()
        inner = BOTTLENECK * GROWTH
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, GROWTH, 3, padding=1, bias=False)

    def forward(self, x):
        """Return (B, GROWTH, H, W) of x (B, inputs, H, W)."""
        return self.conv2(torch.relu(self.norm2(self.conv1(torch.relu(self.norm1(x))))))


class DenseBlock(nn.ModuleDict):
    """Layers each of which sees the channels of all before it."""

    def __init__(self, inputs, count):
        super().__init__({f"denselayer{number + 1}": DenseLayer(inputs + number * GROWTH) for number in range(count)})

    def forward(self, x):
        """Return (B, inputs + count GROWTH, H, W) of x (B, inputs, H, W)."""
        for layer in self.values():
            x = torch.cat([x, layer(x)], dim=1)
        return x


class DenseNet121(nn.Module):
    """The features: the mean over all pixels of the rectified last maps."""

    width = 1024

    def __init__(self):
        super().__init__()
        channels = 64
        parts = OrderedDict(conv0=nn.Conv2d(3, channels, 7, 2, 3, bias=False), norm0=nn.BatchNorm2d(channels))
        for number, count in enumerate(LAYERS, 1):
            parts[f"denseblock{number}"] = DenseBlock(channels, count)
            channels += count * GROWTH
            if number < len(LAYERS):
                parts[f"transition{number}"] = nn.ModuleDict({
                    "norm": nn.BatchNorm2d(channels), "conv": nn.Conv2d(channels, channels // 2, 1, bias=False)})
                channels //= 2
        parts["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.ModuleDict(parts)

    def maps(self, x):
        """Return the maps of images x (B, 3, H, W): after the first layer, and after each of the four blocks."""
        parts = self.features
        found = [torch.relu(parts["norm0"](parts["conv0"](x)))]
        x = nn.functional.max_pool2d(found[0], 3, 2, 1)
        for number in range(1, len(LAYERS) + 1):
            x = parts[f"denseblock{number}"](x)
            if number == len(LAYERS):
                x = torch.relu(parts["norm5"](x))
            found.append(x)
            if number < len(LAYERS):
                transition = parts[f"transition{number}"]
                # Pooling and a 1x1 convolution commute; a quarter of the pixels is convolved.
                x = transition["conv"](nn.functional.avg_pool2d(torch.relu(transition["norm"](x)), 2))
        return found

    def forward(self, x):
        """Return features (B, 1024) of images x (B, 3, H, W)."""
        return self.maps(x)[-1].mean(dim=(2, 3))


def current_name(name):
    """Return the present name of a weight in a DenseNet's file, which older ones write `norm.1`, `conv.2`."""
    return OLD_NAME.sub(r"\1", name)
