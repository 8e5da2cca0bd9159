"""ResNet-18 (He et al. 2016) without its classifier, under torchvision's names of weights.

Written out because a torchvision whose compiled operators do not fit the installed torch cannot be imported at all.
"""

import torch
from torch import nn

CHANNELS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        """Return (B, outputs, H / stride, W / stride) of x (B, inputs, H, W)."""
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class ResNet18(nn.Module):
    """The features: the mean of the last layer over all pixels."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for index, channels in enumerate(CHANNELS):
            blocks = BasicBlock(inputs, channels, 2 if index else 1), BasicBlock(channels, channels, 1)
            setattr(self, f"layer{index + 1}", nn.Sequential(*blocks))
            inputs = channels

    def forward(self, x):
        """Return features (B, 512, 1, 1) of images x (B, 3, H, W)."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for index in range(len(CHANNELS)):
            x = getattr(self, f"layer{index + 1}")(x)
        return x.mean(dim=(2, 3), keepdim=True)
