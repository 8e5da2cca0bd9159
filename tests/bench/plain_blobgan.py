"""BlobGAN as plainly as it is published: inverted matrices, alphas and products stored, zero insertion, style maps over
the stretched grid."""

import math

import torch
import torch.nn.functional as F

from common.nn.fir import fir_kernel
from tests.bench.plain_ncsnpp import upfirdn2d


def plain_covariances(raw, area=0.02):
    """Return the ellipses' matrices (B, K, 2, 2) of raw ones (B, K, 4)."""
    a, b = torch.sigmoid(raw[..., 0]), torch.sigmoid(raw[..., 1])
    scale = area / torch.sqrt(a * b)
    along = F.normalize(raw[..., 2:], dim=-1)
    basis = torch.stack([along, torch.stack([-along[..., 1], along[..., 0]], dim=-1)], dim=-1)
    axes = torch.diag_embed(torch.stack([a * scale, b * scale], dim=-1))
    return basis @ axes @ basis.transpose(-1, -2) + 1e-5 * torch.eye(2, dtype=raw.dtype)


def plain_shares(blobs, grid):
    """Return the shares (B, K + 1, grid, grid) of blobs and background."""
    places = torch.arange(grid, dtype=blobs.xs.dtype)
    points = torch.stack([places.repeat(grid), places.repeat_interleave(grid)])  # (2, grid^2): x, y
    centres = torch.stack([blobs.xs, blobs.ys], dim=-1)[..., None] * grid
    delta = (points - centres) / grid  # (B, K, 2, grid^2)
    distance = (delta * (torch.linalg.inv(plain_covariances(blobs.covs)) @ delta)).sum(dim=2)
    alpha = torch.sigmoid(blobs.sizes[:, None, 1:] - distance.transpose(1, 2)).unflatten(1, (grid, grid))
    alpha = torch.cat([torch.ones_like(alpha[..., :1]), alpha], dim=-1)  # (B, grid, grid, K + 1)
    order = list(range(alpha.shape[-1] - 1, -1, -1))
    shares = (1 - alpha[..., order]).cumprod(dim=-1)[..., order].roll(-1, -1) * alpha
    shares = torch.cat([shares[..., :-1], alpha[..., -1:]], dim=-1)
    return shares.permute(0, 3, 1, 2)


def plain_splat(blobs, grid, low):
    """Return ({side: shares}, feature grid) of Blobs, as common.networks.blobgan.splat does."""
    pyramid = {grid: plain_shares(blobs, grid)}
    while grid > low:
        pyramid[grid // 2] = F.interpolate(pyramid[grid], scale_factor=0.5, mode="bilinear", align_corners=False)
        grid //= 2
    return pyramid, torch.einsum("nmhw,nmc->nchw", pyramid[low], blobs.features)


def plain_modulated(conv, x, shares, styles):
    """Return a SpatialConv's result; shares (B, K + 1, h, w) at the size of x."""
    per_blob = conv.modulation(styles.flatten(0, 1)).unflatten(0, styles.shape[:2])
    style = torch.einsum("nmhw,nmc->nchw", shares, per_blob).contiguous()
    weight = conv.scale * conv.weight[0]
    if conv.demodulate:
        style = style * torch.rsqrt(style.pow(2).mean(dim=1, keepdim=True) + 1e-8)
        weight = weight * torch.rsqrt(weight.pow(2).sum(dim=(1, 2, 3), keepdim=True) + 1e-8)
    if conv.resample == "up":
        return upfirdn2d(F.conv_transpose2d(x * style, weight.transpose(0, 1), stride=2), conv.blur.kernel, pad=(1, 1))
    return F.conv2d(x * style, weight, padding=weight.shape[-1] // 2)


def plain_styled(layer, x, shares, styles, noise):
    """Return a SpatialStyledConv's result."""
    y = plain_modulated(layer.conv, x, shares, styles) + layer.noise.weight * noise
    return math.sqrt(2) * F.leaky_relu(y + layer.activate.bias[:, None, None], 0.2)


def plain_generator(network, blobs, noise):
    """Return pictures of Blobs from a BlobGenerator's weights."""
    pyramid, grid = plain_splat(blobs, network.size, network.size_in)
    aspect, styles, side = network.aspect, blobs.spatial_style, network.size_in
    pyramid = {side: F.interpolate(shares, size=(side, int(aspect * side))) for side, shares in pyramid.items()}
    x = plain_styled(network.conv1, F.interpolate(grid, size=(side, int(aspect * side))), pyramid[side], styles,
                     noise[0])
    picture = plain_modulated(network.to_rgb1.conv, x, pyramid[side], styles) + network.to_rgb1.bias
    for level, to_rgb in enumerate(network.to_rgbs):
        x = plain_styled(network.convs[2 * level], x, pyramid[side], styles, noise[2 * level + 1])
        side *= 2
        x = plain_styled(network.convs[2 * level + 1], x, pyramid[side], styles, noise[2 * level + 2])
        picture = upfirdn2d(picture, to_rgb.upsample.kernel, up=2, pad=(2, 1)) \
            + plain_modulated(to_rgb.conv, x, pyramid[side], styles) + to_rgb.bias
    return picture


def plain_conv(conv, x, **how):
    """Return an EqualConv's result."""
    return F.conv2d(x, conv.weight / math.sqrt(conv.weight[0].numel()), **how)


def plain_activated(bias, x):
    """Return sqrt(2) leaky_relu(x + bias, 0.2)."""
    return math.sqrt(2) * F.leaky_relu(x + bias.bias[:, None, None], 0.2)


def plain_stddev(x):
    """Return x with the channel of the minibatch standard deviation."""
    batch = len(x)
    group = min(batch, 4) if batch % 4 == 0 or batch < 4 else batch
    deviation = torch.sqrt(x.view(group, -1, *x.shape[1:]).var(dim=0, unbiased=False) + 1e-8).mean(dim=(1, 2, 3))
    return torch.cat([x, deviation.repeat(group)[:, None, None, None].expand(-1, 1, *x.shape[2:])], dim=1)


def plain_discriminator(network, x):
    """Return logits (B,) of a Discriminator's weights."""
    kernel = fir_kernel()
    (conv, bias), *blocks = network.convs
    x = plain_activated(bias, plain_conv(conv, x))
    for block in blocks:
        (conv, bias), (_, second, second_bias), (_, skip) = block.conv1, block.conv2, block.skip
        y = plain_activated(bias, plain_conv(conv, x, padding=1))
        y = plain_activated(second_bias, plain_conv(second, upfirdn2d(y, kernel, pad=(2, 2)), stride=2))
        x = (y + plain_conv(skip, upfirdn2d(x, kernel, pad=(1, 1)), stride=2)) / math.sqrt(2)
    conv, bias = network.final_conv
    x = plain_activated(bias, plain_conv(conv, plain_stddev(x), padding=1)).flatten(1)
    return network.final_linear(x)[:, 0]
