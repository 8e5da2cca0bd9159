"""Grids of images in one picture."""

import math

import numpy as np

from common.files import write_png


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
    """Write a grid of uint8 images (N, H, W, C) as PNG, each pixel enlarged to `scale` x `scale`."""
    grid = make_grid(pixels, columns)
    write_png(path, grid.repeat(scale, 0).repeat(scale, 1))
