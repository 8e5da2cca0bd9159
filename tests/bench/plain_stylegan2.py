"""StyleGAN2's synthesis as plainly as it is published: weights for each sample, grouped convolution, zero insertion."""

import math

import torch
import torch.nn.functional as F

from common.nn.modulated import ToRGB
from tests.bench.plain_ncsnpp import upfirdn2d


def plain_modulated(conv, x, style):
    """Return a ModulatedConv's result: each sample has its own weights, and they are the groups of one convolution."""
    batch, inputs, height, width = x.shape
    weight = conv.scale * conv.weight * style.reshape(batch, 1, inputs, 1, 1)
    if conv.demodulate:
        weight = weight * torch.rsqrt(weight.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8)
    outputs, side = weight.shape[1], weight.shape[-1]
    x = x.reshape(1, batch * inputs, height, width)
    if conv.resample == "up":
        weight = weight.transpose(1, 2).reshape(batch * inputs, outputs, side, side)
        y = F.conv_transpose2d(x, weight, stride=2, groups=batch)
        return upfirdn2d(y.reshape(batch, outputs, *y.shape[2:]), conv.blur.kernel, pad=(1, 1))
    y = F.conv2d(x, weight.reshape(batch * outputs, inputs, side, side), padding=side // 2, groups=batch)
    return y.reshape(batch, outputs, *y.shape[2:])


@torch.no_grad()
def plain_synthesis(network, style_vectors):
    """Return images of StyleSpace codes (B, D) with the stored noise."""
    styles = style_vectors.split(network.widths, dim=1)
    x, image, convolution = network.input.input.repeat(len(style_vectors), 1, 1, 1), None, 0
    for (layer, _), style in zip(network.layers(), styles):
        y = plain_modulated(layer.conv, x, style)
        if isinstance(layer, ToRGB):
            y = y + layer.bias
            image = y if image is None else y + upfirdn2d(image, layer.upsample.kernel, up=2, pad=(2, 1))
        else:
            y = y + layer.noise.weight * getattr(network.noises, f"noise_{convolution}")
            x = math.sqrt(2) * F.leaky_relu(y + layer.activate.bias[:, None, None], 0.2)
            convolution += 1
    return image
