"""ResNet-18 to 152 (He et al. 2016) without a classifier, under torchvision's names of weights.

Written out because a torchvision whose compiled operators do not fit the installed torch cannot be imported at all.
"""

import torch
from torch import nn

CHANNELS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, inputs, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _shortcut(inputs, channels, stride)

    def forward(self, x):
        """Return (B, channels, H / stride, W / stride) of x (B, inputs, H, W)."""
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.downsample(x))


class Bottleneck(nn.Module):
    """A 3x3 convolution between two of 1x1, and a shortcut; the stride is the middle one's, as in torchvision."""

    expansion = 4

    def __init__(self, inputs, channels, stride):
        super().__init__()
        outputs = channels * self.expansion
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x):
        """Return (B, 4 channels, H / stride, W / stride) of x (B, inputs, H, W)."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(torch.relu(self.bn2(self.conv2(y)))))
        return torch.relu(y + self.downsample(x))


def _shortcut(inputs, outputs, stride):
    """Return what brings a block's input to the shape of its output, nothing where it has it."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


DEPTHS = {18: (BasicBlock, (2, 2, 2, 2)), 34: (BasicBlock, (3, 4, 6, 3)), 50: (Bottleneck, (3, 4, 6, 3)),
          101: (Bottleneck, (3, 4, 23, 3)), 152: (Bottleneck, (3, 8, 36, 3))}


class ResNet(nn.Module):
    """The maps and their mean over all pixels. depth: one of DEPTHS.  width: of the features."""

    def __init__(self, depth):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        (block, counts), inputs = DEPTHS[depth], 64
        for index, (channels, count) in enumerate(zip(CHANNELS, counts)):
            blocks = []
            for number in range(count):
                blocks.append(block(inputs, channels, 2 if index and number == 0 else 1))
                inputs = channels * block.expansion
            setattr(self, f"layer{index + 1}", nn.Sequential(*blocks))
        self.width = inputs

    def maps(self, x):
        """Return the maps of images x (B, 3, H, W): after the first layer, and after each of the four groups."""
        found = [torch.relu(self.bn1(self.conv1(x)))]
        x = self.maxpool(found[0])
        for index in range(len(CHANNELS)):
            x = getattr(self, f"layer{index + 1}")(x)
            found.append(x)
        return found

    def forward(self, x):
        """Return features (B, width, 1, 1) of images x (B, 3, H, W)."""
        return self.maps(x)[-1].mean(dim=(2, 3), keepdim=True)
