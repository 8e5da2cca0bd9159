"""StyleGAN2's generator (Karras et al. 2020, config F) with its three latent spaces: W, W+ and StyleSpace.

Names and shapes of the weights are those of rosinality's checkpoints. The picture is made from style vectors alone:
`synthesise(style_vectors(wplus(mapping(z))))`. Images lie in [-1, 1], nominally, and are not clamped.
"""

from dataclasses import dataclass

import torch
from torch import nn

from common.nn.equalised import EqualLinear, PixelNorm
from common.nn.modulated import StyledConv, ToRGB
from common.seeding import unit_generator


@dataclass(frozen=True)
class StyleGAN2Config:
    """Sizes of a generator. channels: of 4, 8, 16, ... px, one for each resolution."""

    channels: tuple
    style_dim: int = 512
    num_mapping: int = 8  # layers from z to w
    mapping_lr: float = 0.01  # their learning rate multiplier, which scales their weights

    @property
    def size(self):
        """The side of the images in pixels."""
        return 4 * 2 ** (len(self.channels) - 1)


@dataclass
class Features:
    """What the generator has computed before layer `vector`: activations (B, C, H, W), and the image so far."""

    vector: int
    x: torch.Tensor
    image: torch.Tensor = None


class _Constant(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))


class _Noises(nn.Module):
    """The noise that is stored with the weights, one map for each convolution."""

    def __init__(self, sides):
        super().__init__()
        for index, side in enumerate(sides):
            self.register_buffer(f"noise_{index}", torch.randn(1, 1, side, side))


class StyleGAN2(nn.Module):
    """The generator.

    widths: of the style vectors, in the order in which their layers run; vector v is layer v.  num_latents: rows of
    W+.  noise_sides: of the noise maps in pixels, one for each convolution.
    """

    def __init__(self, config):
        super().__init__()
        self.config, self.size, dim, channels = config, config.size, config.style_dim, config.channels
        self.style = nn.Sequential(PixelNorm(), *(EqualLinear(dim, dim, config.mapping_lr, activated=True)
                                                  for _ in range(config.num_mapping)))
        self.noise_sides = [4, *(side for level in range(1, len(channels)) for side in [4 << level] * 2)]
        self.input = _Constant(channels[0])
        self.conv1 = StyledConv(channels[0], channels[0], dim)
        self.to_rgb1 = ToRGB(channels[0], dim, has_skip=False)
        self.convs, self.to_rgbs = nn.ModuleList(), nn.ModuleList()
        for before, after in zip(channels, channels[1:]):
            self.convs += [StyledConv(before, after, dim, resample="up"), StyledConv(after, after, dim)]
            self.to_rgbs.append(ToRGB(after, dim))
        self.noises = _Noises(self.noise_sides)
        self.num_latents = 2 * len(channels)
        self.widths = [layer.conv.modulation.weight.shape[0] for layer, _ in self.layers()]

    @property
    def device(self):
        """Where the weights are."""
        return self.input.input.device

    def layers(self):
        """Yield (layer, row of W+ that it reads) in the order in which they run."""
        yield self.conv1, 0
        yield self.to_rgb1, 1
        for index, to_rgb in enumerate(self.to_rgbs):
            yield self.convs[2 * index], 2 * index + 1
            yield self.convs[2 * index + 1], 2 * index + 2
            yield to_rgb, 2 * index + 3

    def mapping(self, z):
        """Return w (B, style_dim) of codes z ~ N(0, 1) (B, style_dim)."""
        return self.style(z)

    def wplus(self, w):
        """Return w (B, style_dim) repeated for every row of W+: (B, num_latents, style_dim)."""
        return w[:, None].expand(-1, self.num_latents, -1)

    def style_vectors(self, wplus):
        """Return the StyleSpace code (B, D) of W+ codes (B, num_latents, style_dim): all modulations, in order."""
        return torch.cat([layer.conv.modulation(wplus[:, row]) for layer, row in self.layers()], dim=1)

    def draw_noise(self, indices, seed):
        """Return noise maps [(n, 1, side, side)] on the network's device for the images of these numbers.

        Image i's depend on (seed, i) alone.
        """
        generators = [unit_generator(seed, "noise", int(index)) for index in indices]
        return [torch.stack([torch.randn(1, side, side, generator=generator) for generator in generators])
                .to(self.device) for side in self.noise_sides]

    def synthesise(self, style_vectors, noise="stored", features=None):
        """Return images (B, 3, size, size) float32 of StyleSpace codes (B, D).

        noise: "stored" with the weights, "none", or a list of maps (B or 1, 1, side, side).  features: what `features`
        gave for codes that are equal before its layer; one row of it serves all codes.
        """
        return self.features(style_vectors, len(self.widths), noise, features).image

    def features(self, style_vectors, vector, noise="stored", features=None):
        """Return the Features before layer `vector` for StyleSpace codes (B, D). Other arguments: see `synthesise`.

        A change of vectors from v on alone needs the layers from v on alone:
        `synthesise(changed, noise, features(codes, v, noise))`.
        """
        if style_vectors.shape[1:] != (sum(self.widths),):
            raise ValueError(f"codes of shape {tuple(style_vectors.shape)}, expected (B, {sum(self.widths)})")
        styles, maps = style_vectors.split(self.widths, dim=1), self._maps(noise)
        x, image, start = self._start() if features is None else (features.x, features.image, features.vector)
        x, image = (part if part is None or len(part) in (1, len(style_vectors)) else _mismatch(part, style_vectors)
                    for part in (x, image))
        for index, (layer, _) in enumerate(self.layers()):
            if not start <= index < vector:
                continue
            if isinstance(layer, ToRGB):
                image = layer(x, styles[index], image)
            else:
                x = layer(x, styles[index], maps[index - (index + 1) // 3])
        return Features(vector, x, image)

    def _start(self):
        """Return (constant input, no image, first layer); on most devices convolutions are quicker channels-last."""
        x = self.input.input
        return x if x.device.type == "mps" else x.contiguous(memory_format=torch.channels_last), None, 0

    def _maps(self, noise):
        """Return the noise of each convolution, None for none."""
        if isinstance(noise, str):
            if noise not in ("stored", "none"):
                raise ValueError(f"noise is '{noise}', expected stored, none or maps")
            noise = [getattr(self.noises, f"noise_{index}") if noise == "stored" else None
                     for index in range(len(self.noise_sides))]
        if len(noise) != len(self.noise_sides):
            raise ValueError(f"{len(noise)} noise maps, expected {len(self.noise_sides)}")
        return noise


def _mismatch(part, style_vectors):
    raise ValueError(f"features of {len(part)} codes for {len(style_vectors)} codes")


def truncate(w, centre, truncation):
    """Return w or W+ codes drawn towards a centre: centre + truncation (w - centre)."""
    return w if truncation == 1 else centre + truncation * (w - centre)


def mix(first, second, inject_index):
    """Return W+ codes (B, num_latents, style_dim): rows of `first` before inject_index, of `second` from there on."""
    return torch.cat([first[:, :inject_index], second[:, inject_index:]], dim=1)
