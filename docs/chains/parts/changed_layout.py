"""One layout of a BlobGAN, and what moving, removing and recolouring a blob does to its picture."""

import sys

import numpy as np
import torch

from common.generators.blobgan import noise_maps
from common.images.grids import save_grid, viewing_scale
from common.images.pixels import rounded_bytes
from common.networks.blobgan.files import read_blobgan
from common.networks.blobgan.layout import Blobs, cat
from common.networks.blobgan.layout_files import read_layouts
from common.networks.blobgan.splat import blob_picture


def changed(blobs, moved, removed, recoloured, like):
    """Return Blobs of four rows: as they are, one moved, one removed, one with the look of another."""
    rows = [Blobs(*(part.clone() for part in blobs)) for _ in range(4)]
    rows[1].xs[0, moved] += 0.2 if rows[1].xs[0, moved] < 0.5 else -0.2
    rows[2].sizes[0, 1 + removed] = -10
    rows[3].spatial_style[0, 1 + recoloured] = blobs.spatial_style[0, 1 + like]
    return cat(rows)


def weightiest(model, blobs, draw):
    """Return the blobs' numbers, first the one without which the picture changes most."""
    without = [Blobs(*(part.clone() for part in blobs)) for _ in range(blobs.xs.shape[1] + 1)]
    for number, row in enumerate(without[1:]):
        row.sizes[0, 1 + number] = -10
    pictures = [model.render(row, noise_maps(model, [draw])) for row in without]
    return sorted(range(len(without) - 1), key=lambda number: -float((pictures[number + 1] - pictures[0]).abs().mean()))


@torch.no_grad()
def main(checkpoint, place, path):
    """Write a grid to a path: the pictures of the first layout at a place and of three changed ones, blobs below."""
    model, layout = read_blobgan(checkpoint), read_layouts(place)[0]
    first, second, *rest = weightiest(model, layout.blobs, layout.draw)
    blobs = changed(layout.blobs, first, first, first, second)
    pictures = rounded_bytes(model.render(blobs, noise_maps(model, [layout.draw] * 4)))
    below = blob_picture(blobs, model.config.resolution, model.config.aspect_ratio, labels=False)
    tiles = np.concatenate([pictures, below.permute(0, 2, 3, 1).numpy()])
    save_grid(path, tiles, columns=4, scale=viewing_scale(model.config.resolution, 160))


if __name__ == "__main__":
    main(*sys.argv[1:])
