"""The Inception-v3 network of FID, KID and IS: the port of TensorFlow's 2015-12-05 network (Szegedy et al. 2016).

Names and order of the state dict are those of pt_inception-2015-12-05-6726825d.pth (pytorch-fid, clean-fid,
torch-fidelity). It differs from torchvision's Inception in the average pools of blocks A, C and 7b, which do not count
padding, in the max pool of 7c, in 1008 classes, and has no auxiliary head. This is the plain form, as published;
inception_fast.py holds the form that tools run.
"""

import torch
from torch import nn
from torch.nn import functional

SIZE = 299  # pixels of the square input
NUM_FEATURES = 2048
NUM_CLASSES = 1008
TAPS = (64, 192, 768, 2048)  # widths of the published feature layers


class BasicConv(nn.Module):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(self, in_channels, out_channels, kernel_size=1, stride=1, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x):
        return functional.relu(self.bn(self.conv(x)), inplace=True)


def average_pool():
    """Return the 3x3 average pool of stride 1 that leaves padding out of its count, as TensorFlow's."""
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


class BlockA(nn.Module):
    """35x35: 1x1, 5x5, double 3x3 and pool branches -> 224 + pool_features channels."""

    def __init__(self, in_channels, pool_features):
        super().__init__()
        self.branch1x1 = BasicConv(in_channels, 64)
        self.branch5x5_1 = BasicConv(in_channels, 48)
        self.branch5x5_2 = BasicConv(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = BasicConv(in_channels, 64)
        self.branch3x3dbl_2 = BasicConv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv(96, 96, 3, padding=1)
        self.pool = average_pool()
        self.branch_pool = BasicConv(in_channels, pool_features)

    def forward(self, x):
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        wide = self.branch5x5_2(self.branch5x5_1(x))
        return torch.cat([self.branch1x1(x), wide, double, self.branch_pool(self.pool(x))], 1)


class BlockB(nn.Module):
    """35x35 -> 17x17: 288 -> 768 channels."""

    def __init__(self):
        super().__init__()
        self.branch3x3 = BasicConv(288, 384, 3, stride=2)
        self.branch3x3dbl_1 = BasicConv(288, 64)
        self.branch3x3dbl_2 = BasicConv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv(96, 96, 3, stride=2)
        self.pool = nn.MaxPool2d(3, stride=2)

    def forward(self, x):
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, self.pool(x)], 1)


class BlockC(nn.Module):
    """17x17, 768 channels: 1x1, factorised 7x7, double factorised 7x7 and pool branches, 192 channels each."""

    def __init__(self, inner):
        super().__init__()
        row, column = {"kernel_size": (1, 7), "padding": (0, 3)}, {"kernel_size": (7, 1), "padding": (3, 0)}
        self.branch1x1 = BasicConv(768, 192)
        self.branch7x7_1 = BasicConv(768, inner)
        self.branch7x7_2 = BasicConv(inner, inner, **row)
        self.branch7x7_3 = BasicConv(inner, 192, **column)
        self.branch7x7dbl_1 = BasicConv(768, inner)
        self.branch7x7dbl_2 = BasicConv(inner, inner, **column)
        self.branch7x7dbl_3 = BasicConv(inner, inner, **row)
        self.branch7x7dbl_4 = BasicConv(inner, inner, **column)
        self.branch7x7dbl_5 = BasicConv(inner, 192, **row)
        self.pool = average_pool()
        self.branch_pool = BasicConv(768, 192)

    def forward(self, x):
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(self.pool(x))], 1)


class BlockD(nn.Module):
    """17x17 -> 8x8: 768 -> 1280 channels."""

    def __init__(self):
        super().__init__()
        self.branch3x3_1 = BasicConv(768, 192)
        self.branch3x3_2 = BasicConv(192, 320, 3, stride=2)
        self.branch7x7x3_1 = BasicConv(768, 192)
        self.branch7x7x3_2 = BasicConv(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = BasicConv(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = BasicConv(192, 192, 3, stride=2)
        self.pool = nn.MaxPool2d(3, stride=2)

    def forward(self, x):
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, self.pool(x)], 1)


class BlockE(nn.Module):
    """8x8 -> 2048 channels; the pool is an average in 7b and a maximum in 7c."""

    def __init__(self, in_channels, pool):
        super().__init__()
        row, column = {"kernel_size": (1, 3), "padding": (0, 1)}, {"kernel_size": (3, 1), "padding": (1, 0)}
        self.branch1x1 = BasicConv(in_channels, 320)
        self.branch3x3_1 = BasicConv(in_channels, 384)
        self.branch3x3_2a = BasicConv(384, 384, **row)
        self.branch3x3_2b = BasicConv(384, 384, **column)
        self.branch3x3dbl_1 = BasicConv(in_channels, 448)
        self.branch3x3dbl_2 = BasicConv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = BasicConv(384, 384, **row)
        self.branch3x3dbl_3b = BasicConv(384, 384, **column)
        self.pool = pool
        self.branch_pool = BasicConv(in_channels, 192)

    def forward(self, x):
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return torch.cat([
            self.branch1x1(x), self.branch3x3_2a(three), self.branch3x3_2b(three),
            self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(self.pool(x)),
        ], 1)  # fmt: skip


class InceptionV3(nn.Module):
    """The whole network. Input: float (n, 3, 299, 299), about [-1, 1], normalised by the mode of the metric."""

    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv(32, 32, 3)
        self.Conv2d_2b_3x3 = BasicConv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = BasicConv(64, 80)
        self.Conv2d_4a_3x3 = BasicConv(80, 192, 3)
        self.Mixed_5b = BlockA(192, 32)
        self.Mixed_5c = BlockA(256, 64)
        self.Mixed_5d = BlockA(288, 64)
        self.Mixed_6a = BlockB()
        self.Mixed_6b = BlockC(128)
        self.Mixed_6c = BlockC(160)
        self.Mixed_6d = BlockC(160)
        self.Mixed_6e = BlockC(192)
        self.Mixed_7a = BlockD()
        self.Mixed_7b = BlockE(1280, average_pool())
        self.Mixed_7c = BlockE(2048, nn.MaxPool2d(3, stride=1, padding=1))
        self.fc = nn.Linear(NUM_FEATURES, NUM_CLASSES)

    def stages(self):
        """Return the four functions whose composition leads to the features; after each of them is one of TAPS."""
        stem_pool = nn.MaxPool2d(3, stride=2)
        return (
            nn.Sequential(self.Conv2d_1a_3x3, self.Conv2d_2a_3x3, self.Conv2d_2b_3x3, stem_pool),  # 149, 147, 147, 73
            nn.Sequential(self.Conv2d_3b_1x1, self.Conv2d_4a_3x3, stem_pool),  # 73, 71, 35
            nn.Sequential(self.Mixed_5b, self.Mixed_5c, self.Mixed_5d, self.Mixed_6a,
                          self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e),  # 35, then 17
            nn.Sequential(self.Mixed_7a, self.Mixed_7b, self.Mixed_7c),  # 8
        )  # fmt: skip

    def taps(self, x):
        """Return {64, 192, 768, 2048: (n, width)}: means over positions after the stem's two pools, 6e and 7c."""
        found = {}
        for width, stage in zip(TAPS, self.stages()):
            x = stage(x)
            found[width] = x.mean((2, 3))
        return found

    def forward(self, x):
        """Return the features (n, 2048) of images (n, 3, 299, 299)."""
        for stage in self.stages():
            x = stage(x)
        return x.mean((2, 3))

    def logits(self, features, bias=True):
        """Return logits (n, 1008) of features; without the bias as torch-fidelity and StyleGAN take them for IS."""
        return functional.linear(features, self.fc.weight, self.fc.bias if bias else None)
