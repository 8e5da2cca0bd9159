"""pixel2style2pixel's encoders (Richardson et al. 2021): image -> W+ codes of a StyleGAN2, and pSp's checkpoints.

Names of weights are those of psp_*.pt, where they stand below `encoder.`, beside the generator's below `decoder.`.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

import torch
import torch.nn.functional as F
from torch import nn

from common.errors import InputError
from common.formats.checkpoints import load_strictly, load_torch
from common.networks.ir_se import DEPTHS, GradualStyleBlock, IRBackbone, channels_last, published_groups
from common.networks.quantile_encoder_weights import find_state, plain_options, published_depth
from common.networks.stylegan2_weights import build_stylegan2
from common.nn.equalised import EqualLinear
from common.nn.unfilled import unfilled

PUBLISHED = "a checkpoint of pixel2style2pixel, such as psp_celebs_super_resolution.pt"
MOST = 26  # styles, of 2**14 px
COARSE, MIDDLE = 3, 7  # styles before them come from 16 px features, 32 px features; the others from 64 px


class GradualStyleEncoder(IRBackbone):
    """A pyramid of three sizes of features, each style read from the size that fits it."""

    def __init__(self, depth, squeeze, num_styles):
        super().__init__(published_groups(depth), squeeze=squeeze)
        sides = [16 if index < COARSE else 32 if index < MIDDLE else 64 for index in range(num_styles)]
        self.styles = nn.ModuleList(GradualStyleBlock(512, 512, side) for side in sides)
        self.latlayer1, self.latlayer2 = nn.Conv2d(256, 512, 1), nn.Conv2d(128, 512, 1)
        ends = [sum(DEPTHS[depth][:count]) for count in (2, 3)]
        self.ends = (ends[0] - 1, ends[1] - 1)  # the last blocks of 128 and 256 channels

    def forward(self, x):
        """Return codes (B, num_styles, 512) of images x (B, 3, 256, 256) in [-1, 1], relative to the latent mean."""
        features, x = {}, self.input_layer(channels_last(x))
        for index, block in enumerate(self.body):
            x = features[index] = block(x)
            if index not in self.ends:
                del features[index]
        wide, middle = (features[end] for end in self.ends)  # (B, 128, 64, 64), (B, 256, 32, 32)
        middle = _enlarge(x, middle) + self.latlayer1(middle)
        wide = _enlarge(middle, wide) + self.latlayer2(wide)
        levels = [x if index < COARSE else middle if index < MIDDLE else wide for index in range(len(self.styles))]
        return torch.stack([style(level) for style, level in zip(self.styles, levels)], dim=1)


def _enlarge(x, like):
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)


class LastLayerIntoW(IRBackbone):
    """One w from the mean of the last features."""

    def __init__(self, depth, squeeze, num_styles):
        super().__init__(published_groups(depth), squeeze=squeeze)
        self.linear, self.num_styles = EqualLinear(512, 512), num_styles

    def forward(self, x):
        """Return codes (B, num_styles, 512), all rows equal; see GradualStyleEncoder."""
        w = self.linear(self.trunk(x).mean(dim=(2, 3)))
        return w[:, None].expand(-1, self.num_styles, -1)


class LastLayerIntoWPlus(IRBackbone):
    """All rows of W+ from the last features, 7 x 7."""

    def __init__(self, depth, squeeze, num_styles):
        super().__init__(published_groups(depth), squeeze=squeeze)
        self.output_layer_2 = nn.Sequential(nn.BatchNorm2d(512), nn.AdaptiveAvgPool2d(7), nn.Flatten(),
                                            nn.Linear(512 * 49, 512))
        self.linear = EqualLinear(512, 512 * num_styles)

    def forward(self, x):
        """Return codes (B, num_styles, 512); see GradualStyleEncoder."""
        return self.linear(self.output_layer_2(self.trunk(x))).reshape(len(x), -1, 512)


@dataclass
class PspFile:
    """What a pSp checkpoint holds: encoder and generator, the centre that codes are relative to, options."""

    encoder: nn.Module
    generator: Optional[object]
    latent_avg: Optional[torch.Tensor]
    opts: dict = field(default_factory=dict)

    def codes(self, x):
        """Return the W+ codes (B, num_latents, 512) of images x (B, 3, 256, 256) in [-1, 1]."""
        codes = self.encoder(x)
        return codes + self.latent_avg.to(codes) if self.opts.get("start_from_latent_avg") else codes


def load_psp(path, device="cpu"):
    """Return the PspFile of a checkpoint, on a device. Raises InputError for any other file."""
    path = Path(path)
    value = load_torch(path)
    if not isinstance(value, dict) or not isinstance(value.get("state_dict"), dict):
        raise InputError("no 'state_dict' in it", where=path, do=f"Give {PUBLISHED}")
    state = value["state_dict"]
    decoder = {name.removeprefix("decoder."): tensor for name, tensor in state.items() if name.startswith("decoder.")}
    encoder = {name: tensor for name, tensor in state.items() if not name.startswith("decoder.")}
    file = build_stylegan2(decoder, path, value.get("latent_avg"), "state_dict.decoder")
    network = build_psp_encoder(encoder, path, file.network.num_latents)
    centre = None if file.latent_avg is None else file.latent_avg.to(device)
    opts = plain_options(value.get("opts"))
    if opts.get("start_from_latent_avg") and centre is None:
        raise InputError("'latent_avg' is missing", where=path, do=f"Give {PUBLISHED}")
    return PspFile(network.to(device), file.network.to(device), centre, opts)


def build_psp_encoder(state, where, num_styles=None):
    """Return the encoder of a state dict, whose tensors become its own: which of the three, its depth and whether it
    has squeeze and excitation come from the names.

    num_styles: rows of W+; None for as many as the weights say.
    """
    kinds = {"latlayer1.weight": GradualStyleEncoder, "output_layer_2.3.weight": LastLayerIntoWPlus,
             "linear.weight": LastLayerIntoW}
    state = find_state({"state_dict": state}, where, "input_layer.0.weight", PUBLISHED)
    kind = next((kind for name, kind in kinds.items() if name in state), None)
    if kind is None:
        raise InputError("'latlayer1.weight' is missing: no encoder into W or W+", where=where, do=f"Give {PUBLISHED}")
    counted = [int(found[1]) for name in state if (found := re.match(r"styles\.(\d+)\.", name))]
    if num_styles is None:
        num_styles = max(counted) + 1 if counted else max(1, state["linear.weight"].shape[0] // 512)
    if num_styles > MOST:
        raise InputError(f"it has {num_styles} styles", where=where, do=f"Give {PUBLISHED}")
    with unfilled():
        network = kind(published_depth(state), any(".res_layer.5." in name for name in state), num_styles)
    load_strictly(network, state, where, do=f"Give {PUBLISHED}", assign=True)
    return network.eval().requires_grad_(False)
