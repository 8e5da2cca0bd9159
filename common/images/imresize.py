"""Bicubic resizing of float images as Matlab's imresize does it (Keys' cubic with a = -1/2, symmetric borders)."""

import math
from functools import lru_cache

import numpy as np

SUPPORT = 4.0  # pixels under the cubic kernel


def imresize(image, scale, antialiasing=True):
    """Return an (H, W, C) or (H, W) float image at ceil(H scale) x ceil(W scale), float32, not clipped.

    antialiasing: stretch the kernel by 1 / scale when shrinking, as Matlab does by default.
    Rows are resized first, then columns, as in its public ports (Matlab starts with the smaller factor; the factors
    are equal here). Raises ValueError for a scale that is not positive.
    """
    if not 0 < scale < math.inf:
        raise ValueError(f"scale is {scale}, expected a positive number")
    image = np.asarray(image, np.float32)
    rows = _along(image, scale, antialiasing)
    return _along(rows.swapaxes(0, 1), scale, antialiasing).swapaxes(0, 1)


def _along(image, scale, antialiasing):
    """Return the image with its first axis resized: a weighted sum over taps of whole rows."""
    indices, weights = contributions(image.shape[0], float(scale), bool(antialiasing))
    shape = (-1,) + (1,) * (image.ndim - 1)
    result = weights[:, 0].reshape(shape) * image[indices[:, 0]]
    for tap in range(1, indices.shape[1]):
        result += weights[:, tap].reshape(shape) * image[indices[:, tap]]
    return result


@lru_cache(maxsize=64)
def contributions(length, scale, antialiasing):
    """Return (indices (M, P) int64, weights (M, P) float32) of M = ceil(length scale) results on an axis of `length`.

    Result k (from 0) lies at (k + 1/2) / scale - 1/2 of the source; the weights of each row add up to 1. Places outside
    the source are mirrored at its edges, as often as needed, so kernels wider than the image work too.
    """
    stretch = scale if antialiasing and scale < 1 else 1.0
    width = SUPPORT / stretch
    count = math.ceil(length * scale)
    centres = (np.arange(count) + 0.5) / scale - 0.5
    first = np.floor(centres - width / 2).astype(np.int64)
    places = first[:, None] + np.arange(math.ceil(width) + 2)  # Matlab's count of taps; the outer ones may weigh 0
    weights = cubic((centres[:, None] - places) * stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    used = np.flatnonzero(np.abs(weights).max(axis=0) > 0)
    mirrored = places[:, used] % (2 * length)
    mirrored = np.where(mirrored < length, mirrored, 2 * length - 1 - mirrored)
    return mirrored, weights[:, used].astype(np.float32)


def cubic(x):
    """Return Keys' cubic kernel (1981) with a = -1/2; 0 beyond 2."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
