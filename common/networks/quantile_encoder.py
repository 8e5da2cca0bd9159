"""The encoder of StyleSpace with quantiles (Sankaranarayanan et al. 2022): image -> lower, point and upper value.

Three heads without an order between them: nothing keeps a lower value from exceeding an upper one. Names of weights
are those of superres_alpha_0.1.pt.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

from common.networks.ir_se import GradualStyleBlock, IRBackbone, channels_last, published_groups
from common.networks.resnet import ResNet

HEADS = ("projection_lq", "projection", "projection_uq")  # in the order of the output: lower, point, upper
POOLED = 16  # side of the last features of 256 px images, for which the unused pooling block was made


@dataclass(frozen=True)
class QuantileEncoderConfig:
    """Sizes of an encoder.

    groups: ((channels, blocks), ...) of the IR backbone; empty for a ResNet-18.  squeeze: IR-SE rather than IR.
    pooling: whether the weights of the original's pooling block, which it never uses, are there.
    """

    style_dims: int
    groups: tuple = field(default_factory=lambda: published_groups(50))
    stem: int = 64
    squeeze: bool = True
    pooling: bool = False


PRESETS = {  # what a training may start from; pooling: so that the original's strict loading takes the file
    "ir_se50": {"pooling": True},
    "ir50": {"pooling": True, "squeeze": False},
    "resnet18": {"pooling": True, "groups": (), "stem": 64, "squeeze": False},
    "small": {"groups": ((32, 1), (64, 1), (64, 1)), "stem": 16},  # for images of some 16 px
}


def preset_config(name, style_dims):
    """Return the QuantileEncoderConfig of one of PRESETS for D numbers."""
    return QuantileEncoderConfig(style_dims, **PRESETS[name])


class QuantileEncoder(IRBackbone):
    """The encoder with an IR or IR-SE backbone."""

    def __init__(self, config):
        super().__init__(config.groups, config.stem, config.squeeze)
        self.config = config
        add_heads(self, config, self.channels)

    def forward(self, x, dims=None):
        """Return (B, 3, D) of images x (B, 3, H, W) in [-1, 1]: lower, point and upper values.

        dims: (K,) integers, to compute these of the D numbers alone: (B, 3, K).
        """
        return predict(self, self.trunk(x), dims)


class ResNetQuantileEncoder(nn.Module):
    """The encoder with a ResNet-18, whose features are one pixel."""

    def __init__(self, config):
        super().__init__()
        self.config, self.body = config, ResNet(18)
        add_heads(self, config, 512)

    def forward(self, x, dims=None):
        """See QuantileEncoder."""
        return predict(self, self.trunk(x), dims)

    def trunk(self, x):
        """Return the features (B, 512, 1, 1)."""
        return self.body(channels_last(x))


def build_encoder(config):
    """Return a new encoder of a configuration, with torch's initial weights."""
    return QuantileEncoder(config) if config.groups else ResNetQuantileEncoder(config)


def add_heads(module, config, channels):
    """Give an encoder its heads, 1x1 convolutions, and the pooling block where the configuration has it."""
    if config.pooling:
        block = GradualStyleBlock(channels, channels, POOLED)
        module.pooling_block = block.requires_grad_(False)  # no gradient reaches it, for which DDP would wait
    for name in ("projection", "projection_lq", "projection_uq"):
        setattr(module, name, nn.Sequential(nn.Conv2d(channels, config.style_dims, 1)))


def predict(module, features, dims=None):
    """Return the heads' values (B, 3, D or len(dims)) of features (B, C, H, W): leaky ReLU, then the spatial mean."""
    values = []
    for name in HEADS:
        head = getattr(module, name)[0]
        weight, bias = (head.weight, head.bias) if dims is None else (head.weight[dims], head.bias[dims])
        values.append(F.leaky_relu_(F.conv2d(features, weight, bias), 0.2).mean(dim=(2, 3)))
    return torch.stack(values, dim=1)
