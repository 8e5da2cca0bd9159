"""NCSN++ as the continuous VE models use it (Song et al. 2021, appendix H; Chao et al. 2023).

One flat list `all_modules` whose numbering is the published checkpoints'. State-dict names are theirs, less the
prefix `module.` that DataParallel put before each.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from common.nn.dropout import Dropout
from common.nn.fir import downsample2, fir_kernel, smooth, upsample2
from common.nn.unfilled import unfilled


@dataclass(frozen=True)
class NetworkConfig:
    """The network's architecture and noise range. Defaults are the published CIFAR-10 model's."""

    image_size: int = 32
    num_channels: int = 3
    nf: int = 128  # channels at full resolution
    ch_mult: tuple = (1, 2, 2, 2)  # channels per level, in units of nf
    num_res_blocks: int = 8
    attn_resolutions: tuple = (16,)
    dropout: float = 0.1
    fourier_scale: float = 16.0
    init_scale: float = 0.0  # of the layers initialised near zero: last of each block, last of all
    centered: bool = False  # data in [-1, 1] rather than [0, 1]
    num_scales: int = 1000
    sigma_min: float = 0.01
    sigma_max: float = 50.0


class GaussianFourierProjection(nn.Module):
    """Fixed random Fourier features of log(sigma). The phases reach 1e3, so they are float32 at any precision."""

    def __init__(self, size, scale):
        super().__init__()
        self.W = nn.Parameter(torch.randn(size) * scale, requires_grad=False)

    def forward(self, log_sigma):
        """Return the embedding (B, 2 size) of log_sigma (B,), float32."""
        with torch.autocast(log_sigma.device.type, enabled=False):
            phase = log_sigma[:, None] * self.W[None, :] * 2 * math.pi  # (B, size)
            return torch.cat([torch.sin(phase), torch.cos(phase)], dim=-1)  # (B, 2 size)


class NIN(nn.Module):
    """A 1x1 convolution whose weight is stored (in, out)."""

    def __init__(self, size, scale):
        super().__init__()
        self.W = nn.Parameter(_uniform((size, size), scale))
        self.b = nn.Parameter(torch.zeros(size))

    def forward(self, x):
        """Return the 1x1 convolution of x (B, C, H, W)."""
        return F.conv2d(x, self.W.t()[:, :, None, None], self.b)  # (B, C, H, W)


class AttnBlockpp(nn.Module):
    """Single-head self-attention over all positions, with the residual scaled by 1/sqrt(2)."""

    def __init__(self, channels, init_scale=0.0):
        super().__init__()
        self.GroupNorm_0 = _group_norm(channels)
        self.NIN_0, self.NIN_1, self.NIN_2 = (NIN(channels, 0.1) for _ in range(3))  # the original's default scale
        self.NIN_3 = NIN(channels, init_scale)

    def forward(self, x):
        """Return x (B, C, H, W) with self-attention over all positions."""
        batch, channels, height, width = x.shape
        h = self.GroupNorm_0(x)  # (B, C, H, W)
        q, k, v = (layer(h).flatten(2).transpose(1, 2) for layer in (self.NIN_0, self.NIN_1, self.NIN_2))  # (B, HW, C)
        if torch.is_grad_enabled():  # plain products: the fused kernel has no second derivative
            weights = torch.softmax(q @ k.transpose(1, 2) * channels**-0.5, dim=-1)  # (B, HW, HW)
            h = weights @ v  # (B, HW, C)
        else:
            h = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]  # (B, HW, C)
        h = self.NIN_3(h.transpose(1, 2).reshape(batch, channels, height, width))  # (B, C, H, W)
        return (x + h) / math.sqrt(2)  # (B, C, H, W)


class ResnetBlockBigGANpp(nn.Module):
    """BigGAN residual block; up- and downsampling by the FIR filter inside."""

    def __init__(self, channels_in, channels_out, embedding, dropout, resample=None, init_scale=0.0):
        super().__init__()
        self.resample = resample
        self.GroupNorm_0 = _group_norm(channels_in)
        self.Conv_0 = _conv(channels_in, channels_out)
        self.Dense_0 = _linear(embedding, channels_out)
        self.GroupNorm_1 = _group_norm(channels_out)
        self.Dropout_0 = Dropout(dropout)
        self.Conv_1 = _conv(channels_out, channels_out, scale=init_scale)
        if channels_in != channels_out or resample is not None:
            self.Conv_2 = _conv(channels_in, channels_out, size=1)

    def forward(self, x, embedding, kernel):
        """x: (B, channels_in, H, W).  embedding: (B, 4 nf), already through swish.  kernel: the FIR filter."""
        h = F.silu(self.GroupNorm_0(x))  # (B, channels_in, H, W)
        if self.resample is not None:
            h, x = self.resample(h, kernel), self.resample(x, kernel)  # (B, channels_in, H', W')
        h = self.Conv_0(h) + self.Dense_0(embedding)[:, :, None, None]  # (B, channels_out, H', W')
        h = self.Conv_1(self.Dropout_0(F.silu(self.GroupNorm_1(h))))  # (B, channels_out, H', W')
        if hasattr(self, "Conv_2"):
            x = self.Conv_2(x)  # (B, channels_out, H', W')
        return (x + h) / math.sqrt(2)  # skip_rescale: the sum of two unit variances has variance 1 again


class Downsample(nn.Module):
    """The input pyramid's step: FIR filter, then a 3x3 convolution with stride 2."""

    def __init__(self, channels_in, channels_out):
        super().__init__()
        self.Conv2d_0 = _conv(channels_in, channels_out, stride=2, padding=0)

    def forward(self, x, kernel):
        """Return x (B, C, H, W) smoothed by the FIR kernel and at half the size."""
        return self.Conv2d_0(smooth(x, kernel, padding=2))  # (B, C, H + 1, W + 1), then (B, C', H/2, W/2)


class NCSNpp(nn.Module):
    """s(x, sigma): images (B, C, H, W) float32 and noise levels (B,) -> score (B, C, H, W)."""

    def __init__(self, config):
        super().__init__()
        self.config, self.activation_checkpointing = config, False
        table = torch.exp(torch.linspace(math.log(config.sigma_max), math.log(config.sigma_min), config.num_scales,
                                         dtype=torch.float64))
        self.register_buffer("sigmas", table)  # descending; in every published file, but Fourier networks never read it
        self.register_buffer("kernel", fir_kernel(), persistent=False)
        self.all_modules = nn.ModuleList(_build(config))
        for number, layer in enumerate(module for module in self.modules() if isinstance(module, Dropout)):
            layer.layer = number

    def set_dropout_draw(self, draw):
        """Make the following training-mode passes draw the masks of a DropoutDraw (None: torch's generator)."""
        for module in self.modules():
            if isinstance(module, Dropout):
                module.draw = draw

    def forward(self, x, sigma):
        """x: (B, C, H, W) float32, data in [0, 1] plus noise.  sigma: (B,) float32.  Returns the score."""
        return self.walk(x, self.embed(sigma), _Plain(self)).float() / sigma[:, None, None, None]  # scale_by_sigma

    def embed(self, sigma):
        """Return the embedding (B, 4 nf) that every residual block reads: already through the blocks' first swish."""
        fourier, first, second = self.all_modules[:3]
        return F.silu(second(F.silu(first(fourier(torch.log(sigma))))))  # (B, 2 nf), then (B, 4 nf) twice

    def walk(self, x, embedding, ops):
        """Run the layers after the embedding on `x`, each by a method of `ops`; returns the last convolution's output.

        The one description of how the layers connect: with plain tensors and `_Plain` it is the forward pass, with
        `ncsnpp_pullback.Tape` and its variables the forward pass that can be run backwards.
        """
        config, modules = self.config, iter(self.all_modules[3:])
        pyramid = x if config.centered else ops.affine(x, 2, -1)  # (B, num_channels, H, W), data in [-1, 1]
        skips = [ops.conv(next(modules), pyramid)]  # (B, nf, H, W)
        resolutions = _resolutions(config)
        for level, resolution in enumerate(resolutions):
            for _ in range(config.num_res_blocks):
                h = ops.block(next(modules), skips[-1], embedding)  # (B, C, H, W)
                skips.append(ops.attention(next(modules), h) if resolution in config.attn_resolutions else h)
            if level + 1 < len(resolutions):
                h = ops.block(next(modules), skips[-1], embedding)  # (B, C, H/2, W/2)
                pyramid = ops.mean(ops.pyramid(next(modules), pyramid), h)  # (B, C, H/2, W/2)
                skips.append(pyramid)
        h = ops.block(next(modules), skips[-1], embedding)  # (B, C, H, W) of the lowest resolution
        h = ops.attention(next(modules), h)
        h = ops.block(next(modules), h, embedding)
        for level, resolution in reversed(list(enumerate(resolutions))):
            for _ in range(config.num_res_blocks + 1):
                h = ops.block(next(modules), ops.join(h, skips.pop()), embedding)  # (B, C + skip, H, W) -> (B, C, H, W)
            if resolution in config.attn_resolutions:  # once a level here, after every block on the way down
                h = ops.attention(next(modules), h)
            if level > 0:
                h = ops.block(next(modules), h, embedding)  # (B, C, 2H, 2W)
        h = ops.norm_swish(next(modules), h)  # (B, C, H, W) at full resolution
        return ops.conv(next(modules), h)  # (B, num_channels, H, W)


def outline(config):
    """Return the NCSNpp of a NetworkConfig without memory for its weights, which are to be assigned (load_strictly)."""
    with unfilled():
        network = NCSNpp(config)
    network.kernel = fir_kernel()  # in no file
    return network


class _Plain:
    """The layers on plain tensors."""

    def __init__(self, network):
        self.kernel = network.kernel
        self.checkpointing = network.activation_checkpointing and torch.is_grad_enabled()

    def _run(self, module, *inputs):
        return recompute(module, *inputs) if self.checkpointing else module(*inputs)

    def affine(self, x, scale, shift):
        return scale * x + shift

    def conv(self, module, x):
        return module(x)

    def block(self, module, x, embedding):
        return self._run(module, x, embedding, self.kernel)

    def attention(self, module, x):
        return self._run(module, x)

    def pyramid(self, module, x):
        return module(x, self.kernel)

    def mean(self, a, b):
        return (a + b) / math.sqrt(2)

    def join(self, a, b):
        return torch.cat([a, b], dim=1)

    def norm_swish(self, module, x):
        return F.silu(module(x))


def recompute(function, *inputs):
    """Run a function under gradient checkpointing: the backward pass recomputes everything but its inputs."""
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)  # masks come from seeds


def _resolutions(config):
    return [config.image_size // 2**level for level in range(len(config.ch_mult))]


def _build(config):
    """Yield the modules in the published order, which numbers them: `all_modules.0` is the Fourier projection."""
    nf, embedding = config.nf, 4 * config.nf
    widths = [nf * factor for factor in config.ch_mult]
    resolutions = _resolutions(config)

    def block(channels_in, channels_out, resample=None):
        return ResnetBlockBigGANpp(channels_in, channels_out, embedding, config.dropout, resample, config.init_scale)

    yield GaussianFourierProjection(nf, config.fourier_scale)
    yield _linear(2 * nf, embedding)
    yield _linear(embedding, embedding)
    yield _conv(config.num_channels, nf)
    skips, channels, pyramid = [nf], nf, config.num_channels
    for level, width in enumerate(widths):
        for _ in range(config.num_res_blocks):
            yield block(channels, width)
            channels = width
            if resolutions[level] in config.attn_resolutions:
                yield AttnBlockpp(channels, config.init_scale)
            skips.append(channels)
        if level + 1 < len(widths):
            yield block(channels, channels, downsample2)
            yield Downsample(pyramid, channels)
            pyramid = channels
            skips.append(channels)
    yield block(channels, channels)
    yield AttnBlockpp(channels, config.init_scale)
    yield block(channels, channels)
    for level, width in reversed(list(enumerate(widths))):
        for _ in range(config.num_res_blocks + 1):
            yield block(channels + skips.pop(), width)
            channels = width
        if resolutions[level] in config.attn_resolutions:
            yield AttnBlockpp(channels, config.init_scale)
        if level > 0:
            yield block(channels, channels, upsample2)
    yield _group_norm(channels)
    yield _conv(channels, config.num_channels, scale=config.init_scale)


def _uniform(shape, scale, fan_in=None, fan_out=None):
    """Return uniform weights of variance scale / mean fan; "zero" layers have scale 1e-10, as in the original."""
    fan_out, fan_in = (fan_out or shape[0]), (fan_in or shape[1])
    bound = math.sqrt(3 * (scale or 1e-10) / ((fan_in + fan_out) / 2))
    return torch.empty(shape).uniform_(-bound, bound)


def _conv(channels_in, channels_out, size=3, stride=1, padding=None, scale=1.0):
    layer = nn.Conv2d(channels_in, channels_out, size, stride, size // 2 if padding is None else padding)
    with torch.no_grad():
        layer.weight.copy_(_uniform(layer.weight.shape, scale, channels_in * size**2, channels_out * size**2))
        layer.bias.zero_()
    return layer


def _linear(features_in, features_out):
    layer = nn.Linear(features_in, features_out)
    with torch.no_grad():
        layer.weight.copy_(_uniform(layer.weight.shape, 1.0))
        layer.bias.zero_()
    return layer


def _group_norm(channels):
    return nn.GroupNorm(min(channels // 4, 32), channels, eps=1e-6)  # the original's eps, not torch's 1e-5
