"""An encoder of residual blocks as in ResNet-18, the other choice of `train_encoder --arch`.

The original's repository holds such an encoder, too, without published weights. Group normalisation in place of batch
normalisation: a row's latent does not depend on the others, however a batch is split.
"""

import torch
import torch.nn.functional as F
from torch import nn

CHANNELS = (64, 128, 256, 512)
SIDE = 4  # of the maps that the last layers read, as in the other encoder; positions must survive


def _norm(channels):
    return nn.GroupNorm(min(32, channels // 2 or 1), channels)


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), _norm(outputs)
        self.conv2, self.norm2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), _norm(outputs)
        self.skip = None
        if stride != 1 or inputs != outputs:
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), _norm(outputs))

    def forward(self, x):
        """Return (B, outputs, H / stride, W / stride) of x (B, inputs, H, W)."""
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + (x if self.skip is None else self.skip(x)))


class ResNetEncoder(nn.Module):
    """Images (B, 3, size, aspect_ratio size) in [-1, 1] -> layout latents (B, outputs).

    channels: of the stages, each at half the side of the one before; the first works at a quarter of the image's side
    (at all of it up to 64 px).
    """

    def __init__(self, size, aspect_ratio=1, outputs=1024, channels=CHANNELS):
        super().__init__()
        stride = 1 if size <= 64 else 2
        self.stem = nn.Sequential(nn.Conv2d(3, channels[0], 7 if stride > 1 else 3, stride, 3 if stride > 1 else 1,
                                            bias=False), _norm(channels[0]), nn.ReLU())
        self.pool = nn.MaxPool2d(3, 2, 1) if stride > 1 else nn.Identity()
        blocks, inputs = [], channels[0]
        for stage, width in enumerate(channels):
            blocks += [Block(inputs, width, 2 if stage else 1), Block(width, width, 1)]
            inputs = width
        self.blocks = nn.Sequential(*blocks)
        self.shape = SIDE, int(SIDE * aspect_ratio)
        self.linear = nn.Sequential(nn.Linear(inputs * SIDE * self.shape[1], inputs), nn.LeakyReLU(0.2),
                                    nn.Linear(inputs, outputs))

    @property
    def last(self):
        """The layer whose outputs are the latents."""
        return self.linear[-1]

    def forward(self, x):
        """Return the latents."""
        maps = F.adaptive_avg_pool2d(self.blocks(self.pool(self.stem(x))), self.shape)
        return self.linear(torch.flatten(maps, 1))
