"""A fixed random-convolution feature space for small images, where Inception features are unavailable or unsuitable.

Random convolutions separate images well enough to rank samples of 8 x 8 to 64 x 64 pixels: noise, blur, shifted pixels
and missing modes all increase the Frechet distance. A distance in this space is not a FID and compares only with others
in the same space; every figure is shown with NAME. All constants below are final: other values need another NAME.
"""

from functools import lru_cache

from common.errors import InputError

NAME = "small-features-v1"
NUM_FEATURES = 128
DESCRIPTION = (
    "small-features-v1: bytes to (x - 127.5) / 127.5, grey repeated to 3 channels; three 3x3 convolutions of stride 1, "
    "reflect padding, 32, 64, 128 channels, random weights and biases (seed 1), leaky ReLU 0.2; mean over positions"
)
_WIDTHS = (32, 64, 128)
_SEED = 1
_BIAS = 0.5
_SLOPE = 0.2
_LEVELS = 1000  # weights are integers in [-1000, 1000] times a scale: the same on every platform
_POSITIONS = 16384  # pixels at a time, whose activations stay in the processor's caches


def small_features(images, device="cpu"):
    """Return float32 (n, 128) features of images, an array on the CPU.

    images: uint8 (n, H, W, C), C 1 or 3, H and W at least 2.  The features of an image do not depend on its batch.
    Raises InputError for another type or shape.
    """
    import numpy as np
    import torch

    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or min(images.shape[1:3]) < 2:
        raise InputError(f"images are {images.dtype} {tuple(images.shape)}, expected uint8 (n, height, width, 1 or 3)")
    features = np.empty((len(images), NUM_FEATURES), np.float32)
    step = max(2, _POSITIONS // (images.shape[1] * images.shape[2]))
    with torch.inference_mode():
        for start in range(0, len(images), step):
            batch = torch.from_numpy(np.array(images[start : start + step])).to(device)
            single = len(batch) == 1  # other convolution kernels run on a batch of one, with other rounding
            rows = _forward(batch.repeat(2, 1, 1, 1) if single else batch, str(device)).cpu().numpy()
            features[start : start + step] = rows[:1] if single else rows
    return features


def _forward(batch, device):
    """Return float32 features (n, 128) of a uint8 batch (n, H, W, C)."""
    import torch
    from torch.nn import functional

    x = ((batch.float() - 127.5) / 127.5).permute(0, 3, 1, 2).expand(-1, 3, -1, -1)  # (n, 3, H, W)
    x = x.contiguous(memory_format=torch.channels_last)
    for weight, bias in _layers(device):
        x = functional.conv2d(functional.pad(x, (1, 1, 1, 1), mode="reflect"), weight, bias)  # (n, out, H, W)
        x = functional.leaky_relu_(x, _SLOPE)
    return x.mean(dim=(2, 3))  # (n, 128)


@lru_cache(maxsize=4)
def _layers(device):
    """Return [(weight (out, in, 3, 3), bias (out,))], float32, drawn as integers so that no rounding differs."""
    import torch

    generator = torch.Generator().manual_seed(_SEED)
    layers, channels = [], 3
    for width in _WIDTHS:
        scale = (6.0 / (9 * channels)) ** 0.5 / _LEVELS  # uniform, variance 2 / fan-in (He et al. 2015)
        weight = torch.randint(-_LEVELS, _LEVELS + 1, (width, channels, 3, 3), generator=generator)
        bias = torch.randint(-_LEVELS, _LEVELS + 1, (width,), generator=generator)
        weight = (weight.float() * scale).contiguous(memory_format=torch.channels_last)
        layers.append((weight.to(device), (bias.float() * (_BIAS / _LEVELS)).to(device)))
        channels = width
    return layers
