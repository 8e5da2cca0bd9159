"""What makes pictures hard for the encoder: the degradation of its training, and the corruptions of the stress test.

The degradation is pixel2style2pixel's super-resolution transform, byte for byte: resize, bicubic reduction by a factor,
truncation to 8 bits, resize back. At factor 1 it is a slight blur and a shift by half a pixel, not the identity, and
rounding decides about 9 % of the bytes: sums are made there as the original's convolution made them, on any processor.
"""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from common.errors import InputError, Parameter

SIZE = 256  # px, of the published encoders
BY_TAPS = 2  # up to this factor exact values fall on whole levels, so that the order of rounding decides
MASK_SIDE = 6  # of the random field that masks are made of
LEVELS = ("none", "mild", "moderate", "severe", "extreme")


def check_factor(factor, size=SIZE, name="resize_factor"):
    """Raise InputError when images of this side cannot be reduced by a factor."""
    if factor < 1 or size % factor or -(-3 * factor // 2) >= size:
        raise InputError(f"images of {size} px cannot be reduced by this factor", where=Parameter(name, factor),
                         do=f"Use a factor that divides {size} and is below {size * 2 // 3}")


@lru_cache(maxsize=32)
def bicubic_kernel(factor):
    """Return the filter of the reduction, float32 (4 factor,) with sum 1: Keys' cubic, a = -1/2, stretched."""
    x = np.abs((np.arange(4 * factor) - 2 * factor + 0.5) / factor)
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    taps = np.where(x <= 1, near, np.where(x < 2, far, 0.0))
    return torch.from_numpy((taps / taps.sum()).astype(np.float32))


@lru_cache(maxsize=32)
def _matrix(length, factor):
    """Return the reduction of an axis as a matrix (length / factor, length), the reflected borders included."""
    before = 3 * factor // 2
    places = np.abs(np.arange(length // factor)[:, None] * factor + np.arange(4 * factor) - before)
    places = np.where(places < length, places, 2 * (length - 1) - places)
    matrix = np.zeros((length // factor, length), np.float32)
    np.add.at(matrix, (np.arange(len(matrix))[:, None], places), bicubic_kernel(factor).numpy())
    return torch.from_numpy(matrix)


def shrink(x, factor):
    """Return x (..., H, W) float32 reduced to (..., H / factor, W / factor), bicubic with reflected borders.

    Not clamped and not rounded. Rows are reduced first, then columns.
    """
    height, width = x.shape[-2:]
    return _matrix(height, factor).to(x) @ x @ _matrix(width, factor).to(x).t()


def _shrink_by_taps(x, factor):
    """Return what `shrink` does for an array (C, H, W), rounded as the original's: rows, then columns, tap after tap.

    Each tap is one fused multiplication and addition, whose only rounding is to float32; here through float64.
    """
    kernel, before = bicubic_kernel(factor).numpy().astype(np.float64), 3 * factor // 2
    for _ in range(2):  # rows, then, of the transposed image, columns
        length = x.shape[1]
        padded = np.pad(x, ((0, 0), (before, 3 * factor - before), (0, 0)), mode="reflect").astype(np.float64)
        total = np.float32(0)
        for index, weight in enumerate(kernel):
            total = (total + weight * padded[:, index : index + length : factor]).astype(np.float32)
        x = total.swapaxes(1, 2)
    return x


def resized(image, size=SIZE):
    """Return an image as uint8 (size, size, 3): Pillow's bilinear resize, the aspect ratio is not kept.

    image: a Pillow image of any mode, or uint8 (H, W, 3).  This alone is the target transform.
    """
    from PIL import Image

    image = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))
    return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))


def degrade(image, factor, size=SIZE):
    """Return an image as the encoder sees it at a factor: uint8 (size, size, 3). image: see `resized`.

    Raises InputError when the factor does not fit the size.
    """
    from PIL import Image

    check_factor(factor, size)
    unit = resized(image, size).transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    small = _shrink_by_taps(unit, factor) if factor <= BY_TAPS else shrink(torch.from_numpy(unit), factor).numpy()
    levels = (np.clip(small, 0, 1) * np.float32(255)).astype(np.uint8)  # truncated
    return resized(Image.fromarray(np.ascontiguousarray(levels.transpose(1, 2, 0))), size)


def network_input(pixels):
    """Return uint8 images (..., H, W, 3) as the float32 (..., 3, H, W) in [-1, 1] that encoders take."""
    unit = torch.from_numpy(np.array(np.moveaxis(pixels, -1, -3), order="C")).float().div(255)
    return unit.sub(0.5).div(0.5)


def blur(x, size, sigma):
    """Return x (..., C, H, W) under a normalised Gaussian of size x size taps (an even size grows by one), zeros
    outside."""
    size += 1 - size % 2
    offsets = torch.arange(size, dtype=torch.float32, device=x.device) - size // 2
    row = torch.exp(-offsets**2 / (2 * sigma**2))
    kernel = torch.outer(row, row)
    kernel = (kernel / kernel.sum()).to(x)
    y = F.conv2d(x.reshape(-1, 1, *x.shape[-2:]), kernel[None, None], padding=size // 2)
    return y.reshape(x.shape)


def shrink_and_enlarge(x, factor):
    """Return x (..., C, H, W) reduced by a factor, without rounding, and enlarged again by bicubic interpolation."""
    small = shrink(x, factor)
    large = F.interpolate(small.reshape(-1, *small.shape[-3:]), size=x.shape[-2:], mode="bicubic", align_corners=False)
    return large.reshape(x.shape)


def mask(x, ratio, field):
    """Return (x with holes of value 0, what is left (B, 1, H, W): 1/2 where it is, -1/2 in the holes).

    x: (B, C, H, W).  field: uniform numbers (B, 1, 6, 6), made smooth, whose values from 1 - ratio on are the holes;
    since smooth values crowd around 1/2, `ratio` is not the holes' share of the area.
    """
    smooth = F.interpolate(field.to(x), size=x.shape[-2:], mode="bilinear", align_corners=False)
    left = (smooth < 1 - ratio).to(x)
    return x * left, left - 0.5


def perturb(x, noise, strength=0.03, norm="sign"):
    """Return x plus noise of a fixed strength, within [-1, 1].

    norm: "sign", strength times the noise's signs; "l2", noise whose root of summed squares per image is `strength`.
    """
    if norm == "sign":
        step = noise.sign()
    elif norm == "l2":
        step = noise / noise.flatten(-3).norm(dim=-1)[..., None, None, None].clamp_min(1e-12)
    else:
        raise ValueError(f"norm is '{norm}', expected sign or l2")
    return (x + strength * step.to(x)).clamp(-1, 1)


def drop_blocks(x, side, share, draws):
    """Return x (..., C, H, W) with blocks of side x side px set to 0.

    draws: uniform numbers (number of blocks,), row by row; blocks whose number is below `share` are dropped. Blocks at
    the right and lower border may be smaller.
    """
    rows, columns = (-(-length // side) for length in x.shape[-2:])
    kept = (draws.reshape(rows, columns) >= share).to(x)
    kept = kept.repeat_interleave(side, 0).repeat_interleave(side, 1)
    return x * kept[: x.shape[-2], : x.shape[-1]]


def corrupt(x, level, generator):
    """Return an image (C, H, W) float32 in [-1, 1] corrupted at one of LEVELS.

    mild: blur, half the size; moderate: an eighth of the size, mask .5; severe: 1/32, mask .8; extreme: 1/64, mask .9,
    sign noise .03, blocks of 32 px.  generator: of torch, for this image alone; all levels share its mask.
    Raises InputError for images below 97 px at extreme, whose borders are too short to be reflected.
    """
    field = torch.rand((1, 1, MASK_SIDE, MASK_SIDE), generator=generator)
    if level == "none":
        return x
    if level == "mild":
        return shrink_and_enlarge(blur(x, 5, 1.0), 2)
    if level not in LEVELS:
        raise ValueError(f"level is '{level}', expected {', '.join(LEVELS)}")
    factor, ratio = {"moderate": (8, 0.5), "severe": (32, 0.8), "extreme": (64, 0.9)}[level]
    for size in x.shape[-2:]:
        check_factor(factor, size, "corruption_level")
    x = mask(shrink_and_enlarge(x, factor)[None], ratio, field)[0][0]
    if level == "extreme":
        x = perturb(x, torch.randn(x.shape, generator=generator))
        blocks = -(-x.shape[-2] // 32) * -(-x.shape[-1] // 32)
        x = drop_blocks(x, 32, 0.3, torch.rand(blocks, generator=generator))
    return x
