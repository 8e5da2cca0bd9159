"""BlobGAN's generator: StyleGAN2's synthesis with a style at each point, on a grid of any aspect ratio.

Names and shapes of the weights are those of published checkpoints. A point's style is the mix of the blobs' styles by
the shares with which they are seen there; it is computed on the square grid and repeated along the rows.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from common.networks.blobgan import splat as splatting
from common.networks.blobgan.layout import Blobs
from common.nn.convolution import conv2d, conv_transpose2d
from common.nn.equalised import GAIN, SLOPE, EqualLinear, PixelNorm
from common.nn.modulated import EPSILON, ActivationBias, Filter, ModulatedConv, NoiseWeight

FIRST_SIDE = 4  # of the noise maps that files hold, wherever the network starts


class SpatialConv(ModulatedConv):
    """A convolution whose input is scaled at each point; its weights are demodulated whatever the style."""

    def forward(self, x, style, gain=1.0, bias=None):
        """Return gain y + bias for x (B, C, h, w) and a style map (B, C, h, s), which is repeated along the rows.

        style of shape (B, C): one style for the whole picture, as in StyleGAN2.  bias: (outputs,).
        """
        if style.dim() == 2:
            return super().forward(x, style, gain, bias)
        weight, factor = self.weight[0], self.scale * gain
        if self.demodulate:
            style = style * torch.rsqrt(style.square().mean(dim=1, keepdim=True) + EPSILON)
            energy = weight.square().sum(dim=(1, 2, 3), keepdim=True)  # whatever the style
            factor = factor * torch.rsqrt(self.scale**2 * energy + EPSILON)
        x, weight = modulated(x, style), weight * factor
        if weight.shape[-1] == 1:
            return F.linear(x.permute(0, 2, 3, 1), weight[:, :, 0, 0], bias).permute(0, 3, 1, 2)
        if self.resample is None:
            return conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
        y = self.blur(conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        return y if bias is None else y + bias[:, None, None]

    def style_map(self, seen, styles):
        """Return the style map (B, C, h, h) of shares (B, K + 1, h, h) and the blobs' styles (B, K + 1, Ds).

        styles of shape (B, Ds): one for the picture, (B, C).
        """
        if styles.dim() == 2:
            return self.modulation(styles)
        per_blob = self.modulation(styles.flatten(0, 1)).unflatten(0, styles.shape[:2])  # (B, K + 1, C)
        return splatting.mixed(seen, per_blob)


def modulated(x, style):
    """Return x (B, C, h, w) times a style map (B, C, h, s) with its columns repeated to w."""
    columns, side = x.shape[3], style.shape[3]
    if columns == side or columns % side:
        return x * _channels_last(splatting.stretched(style, columns))
    x, style = x.permute(0, 2, 3, 1), style.permute(0, 2, 3, 1)  # (B, h, w, C), (B, h, s, C)
    return _Repeated.apply(x.unflatten(2, (side, columns // side)), style).flatten(2, 3).permute(0, 3, 1, 2)


class _Repeated(torch.autograd.Function):
    """x (B, h, s, r, C) times style (B, h, s, C); the style's gradient is summed over r without the products."""

    @staticmethod
    def forward(ctx, x, style):
        ctx.save_for_backward(x, style)
        return x * style[:, :, :, None]

    @staticmethod
    def backward(ctx, gradient):
        x, style = ctx.saved_tensors
        of_style = gradient[:, :, :, 0] * x[:, :, :, 0]
        for index in range(1, x.shape[3]):
            of_style = of_style.addcmul(gradient[:, :, :, index], x[:, :, :, index])
        return gradient * style[:, :, :, None], of_style


def _channels_last(x):
    """Return x laid out channels last, as convolutions are quicker; on mps they are not."""
    return x if x.device.type == "mps" else x.contiguous(memory_format=torch.channels_last)


class SpatialStyledConv(nn.Module):
    """A SpatialConv, noise, bias and leaky activation."""

    def __init__(self, inputs, outputs, style_dim, resample=None):
        super().__init__()
        self.conv = SpatialConv(inputs, outputs, 3, style_dim, resample=resample)
        self.noise = NoiseWeight()
        self.activate = ActivationBias(outputs)

    def forward(self, x, seen, styles, noise):
        """Return (B, outputs, h', w'); the activation's gain lies in weights, noise and bias."""
        y = self.conv(x, self.conv.style_map(seen, styles), GAIN, self.activate.bias * GAIN)
        return F.leaky_relu_(y.add_(noise * (self.noise.weight * GAIN)), SLOPE)


class SpatialToRGB(nn.Module):
    """A 1x1 SpatialConv to three channels, added to the picture of half the size."""

    def __init__(self, inputs, style_dim, has_skip=True):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))
        if has_skip:
            self.upsample = Filter(4.0, up=2, pad=(2, 1))
        self.conv = SpatialConv(inputs, 3, 1, style_dim, demodulate=False)

    def forward(self, x, seen, styles, skip=None):
        """Return the picture (B, 3, h, w); it is summed in float32 even where convolutions run in bfloat16."""
        style = self.conv.style_map(seen, styles)
        with torch.autocast(x.device.type, enabled=False):
            x, style = splatting.precise(x), splatting.precise(style)
            picture = self.conv(x, style, bias=self.bias.reshape(3))
            return picture if skip is None else picture + self.upsample(skip)


class _Noises(nn.Module):
    """The noise maps that files hold; they have other sizes than the layers, and nothing uses them."""

    def __init__(self, count, aspect):
        super().__init__()
        for index in range(count):
            side = FIRST_SIDE * 2 ** ((index + 1) // 2)
            self.register_buffer(f"noise_{index}", torch.randn(1, 1, side, splatting.width(side, aspect)))


class BlobGenerator(nn.Module):
    """The generator.

    channels: {height: channels} from size_in to size.  size, size_in: rows of the picture and of the first grid.
    aspect: columns over rows.  inputs: channels of the feature grid.  num_mapping: layers from noise to the one style
    of a picture, where styles are not spatial; 0 where they are.
    """

    def __init__(self, channels, size, size_in, aspect, inputs, style_dim, num_mapping=0, mapping_lr=0.01,
                 area=splatting.AREA):
        super().__init__()
        self.size, self.size_in, self.aspect, self.area = size, size_in, aspect, area
        if num_mapping:
            self.style = nn.Sequential(PixelNorm(), *(EqualLinear(style_dim, style_dim, mapping_lr, activated=True)
                                                      for _ in range(num_mapping)))
        self.is_spatial = not num_mapping
        levels = int(math.log2(size // size_in))
        self.conv1 = SpatialStyledConv(inputs, channels[size_in], style_dim)
        self.to_rgb1 = SpatialToRGB(channels[size_in], style_dim, has_skip=False)
        self.convs, self.to_rgbs = nn.ModuleList(), nn.ModuleList()
        for level in range(levels):
            before, after = channels[size_in << level], channels[size_in << level + 1]
            self.convs += [SpatialStyledConv(before, after, style_dim, resample="up"),
                           SpatialStyledConv(after, after, style_dim)]
            self.to_rgbs.append(SpatialToRGB(after, style_dim))
        self.noises = _Noises(2 * levels + 1, aspect)
        self._fixed = None

    def noise_shapes(self):
        """Return the shapes (1, 1, h, w) of the noise maps, one for each convolution."""
        first = splatting.width(self.size_in, self.aspect)
        factors = [2 ** ((index + 1) // 2) for index in range(len(self.convs) + 1)]
        return [(1, 1, self.size_in * factor, first * factor) for factor in factors]

    def fixed_noise(self):
        """Return the noise with which a loaded model renders, the same for all pictures: draws of seed 0 in order.

        The original draws them from the global generator after seeding it; here that one is left alone.
        """
        like = self.conv1.noise.weight
        if self._fixed is None or self._fixed[0].device != like.device or self._fixed[0].dtype != like.dtype:
            generator = torch.Generator().manual_seed(0)
            self._fixed = [torch.randn(shape, generator=generator).to(like) for shape in self.noise_shapes()]
        return self._fixed

    def fresh_noise(self, generators):
        """Return noise maps of pictures, (B, 1, h, w) each, from one CPU generator a picture (or a single one)."""
        generators = [generators] if isinstance(generators, torch.Generator) else generators
        rows = [[torch.randn(shape[1:], generator=generator) for shape in self.noise_shapes()]
                for generator in generators]
        return [torch.stack(maps).to(self.conv1.noise.weight) for maps in zip(*rows)]

    def splat(self, blobs, offsets=None):
        """Return the Splatted of Blobs on this generator's grids; offsets: of a jitter, see splat.Jitter."""
        return splatting.splat(blobs, self.size, self.size_in, offsets, self.area)

    def forward(self, layout, noise=None):
        """Return pictures (B, 3, size, aspect size), nominally in [-1, 1], of Blobs or what `splat` made of them.

        noise: maps, (B or 1, 1, h, w) each; None: `fixed_noise`.
        """
        splatted = self.splat(layout) if isinstance(layout, Blobs) else layout
        noise, styles = self.fixed_noise() if noise is None else noise, splatted.styles
        styles = styles if self.is_spatial else styles[:, 0]
        side, columns = self.size_in, splatting.width(self.size_in, self.aspect)
        x = _channels_last(splatting.stretched(splatted.features, columns))
        x = self.conv1(x, splatted.pyramid[side], styles, noise[0])
        picture = self.to_rgb1(x, splatted.pyramid[side], styles)
        for level, to_rgb in enumerate(self.to_rgbs):
            x = self.convs[2 * level](x, splatted.pyramid[side], styles, noise[2 * level + 1])
            side *= 2
            x = self.convs[2 * level + 1](x, splatted.pyramid[side], styles, noise[2 * level + 2])
            picture = to_rgb(x, splatted.pyramid[side], styles, picture)
        return picture
