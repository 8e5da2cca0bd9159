"""Grids of images in one picture."""

import io
import math

import numpy as np

from common.files import write_bytes, write_png

JPEG_QUALITY = 92


def make_grid(pixels, columns=None, padding=2):
    """Return uint8 images (N, H, W, C) as a grid (H', W', C) on black; columns: floor(sqrt(N)) by default."""
    count, height, width, channels = pixels.shape
    columns = columns or max(int(math.sqrt(count)), 1)
    rows = -(-count // columns)
    grid = np.zeros((padding + rows * (height + padding), padding + columns * (width + padding), channels), np.uint8)
    for index, image in enumerate(pixels):
        top = padding + index // columns * (height + padding)
        left = padding + index % columns * (width + padding)
        grid[top : top + height, left : left + width] = image
    return grid


def viewing_scale(side, least=32):
    """Return the factor by which images of a few pixels are enlarged to be seen: to at least `least` pixels a side."""
    return -(-least // side)


def save_grid(path, pixels, columns=None, scale=1):
    """Write a grid of uint8 images (N, H, W, C), each pixel enlarged to `scale` x `scale`: PNG, or JPEG for .jpg."""
    grid = make_grid(pixels, columns).repeat(scale, 0).repeat(scale, 1)
    if str(path).endswith((".jpg", ".jpeg")):
        write_bytes(path, _jpeg_bytes(grid))
    else:
        write_png(path, grid)


def _jpeg_bytes(pixels):
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=JPEG_QUALITY)
    return stream.getvalue()
