"""DeepLabV3 (Chen et al. 2017) with a ResNet-50 or -101, under torchvision's names of weights.

Written out because a torchvision whose compiled operators do not fit the installed torch cannot be imported at all.
"""

import torch
import torch.nn.functional as F
from torch import nn

from common.networks.resnet import ResNet

RATES = (12, 24, 36)  # dilations of the pyramid
WIDTH = 256


def dilated(resnet):
    """Return a ResNet whose last two groups keep the size of the second: dilation in place of their strides."""
    for name, first, rest in (("layer3", 1, 2), ("layer4", 2, 4)):
        for number, block in enumerate(getattr(resnet, name)):
            rate = first if number == 0 else rest
            block.conv2.stride, block.conv2.dilation, block.conv2.padding = (1, 1), (rate, rate), (rate, rate)
            if number == 0:
                block.downsample[0].stride = (1, 1)
    return resnet


def _normed(inputs, outputs, kernel=1, rate=1):
    padding = rate if kernel == 3 else 0
    return [nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=rate, bias=False), nn.BatchNorm2d(outputs),
            nn.ReLU()]


class Pyramid(nn.Module):
    """Convolutions of several dilations and the mean of the whole picture, side by side."""

    def __init__(self, inputs):
        super().__init__()
        branches = [nn.Sequential(*_normed(inputs, WIDTH))]
        branches += [nn.Sequential(*_normed(inputs, WIDTH, 3, rate)) for rate in RATES]
        branches.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), *_normed(inputs, WIDTH)))
        self.convs = nn.ModuleList(branches)
        self.project = nn.Sequential(*_normed(len(branches) * WIDTH, WIDTH), nn.Identity())  # there a dropout

    def forward(self, x):
        """Return (B, 256, h, w) of maps (B, inputs, h, w)."""
        found = [branch(x) for branch in self.convs[:-1]]
        whole = self.convs[-1](x).expand(-1, -1, *x.shape[2:])  # bilinear from one point
        return self.project(torch.cat([*found, whole], dim=1))


class DeepLabV3(nn.Module):
    """Logits of classes at every pixel. depth: 50 or 101.  has_second: a second head, for training alone."""

    def __init__(self, depth, num_classes, has_second=False):
        super().__init__()
        self.backbone = dilated(ResNet(depth))
        self.classifier = nn.Sequential(Pyramid(self.backbone.width), *_normed(WIDTH, WIDTH, 3),
                                        nn.Conv2d(WIDTH, num_classes, 1))
        if has_second:
            inputs = self.backbone.width // 2
            self.aux_classifier = nn.Sequential(*_normed(inputs, inputs // 4, 3), nn.Identity(),
                                                nn.Conv2d(inputs // 4, num_classes, 1))

    def forward(self, x):
        """Return {"out": logits (B, num_classes, H, W)} of pictures (B, 3, H, W), from an eighth of the size."""
        maps = self.classifier(self.backbone.maps(x)[-1])
        return {"out": F.interpolate(maps, size=x.shape[2:], mode="bilinear", align_corners=False)}
