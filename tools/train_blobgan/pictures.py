"""Pictures of a training: what the discriminator sees, and what fixed noise becomes."""

import numpy as np
import torch

from common.images.grids import save_grid, viewing_scale
from common.images.pixels import rounded_bytes
from common.networks.blobgan.splat import blob_picture
from common.seeding import unit_generator

BATCH = 8  # pictures per forward pass


def fixed_codes(seed, count, noise_dim):
    """Return the codes (count, noise_dim) of all sample grids of a run."""
    return torch.stack([torch.randn(noise_dim, generator=unit_generator(seed, "samples", row))
                        for row in range(count)])


@torch.no_grad()
def render(layout_net, generator, z):
    """Return (pictures (n, 3, H, W) in [-1, 1], their blob pictures (n, H, W, 3) uint8), with fixed noise maps."""
    pictures, layouts = [], []
    for part in z.split(BATCH):
        blobs = layout_net(part)
        pictures.append(generator(blobs))
        layouts.append(blob_picture(blobs, generator.size, generator.aspect).permute(0, 2, 3, 1).numpy())
    return torch.cat(pictures), np.concatenate(layouts)


def draw_samples(path, pairs, z):
    """Write a grid with two rows for each pair (layout network, generator): pictures, and their blobs.

    Returns the pictures of the last pair.
    """
    rows = []
    for layout_net, generator in pairs:
        pictures, layouts = render(layout_net, generator, z)
        rows += [rounded_bytes(pictures), layouts]
    save_grid(path, np.concatenate(rows), columns=len(z), scale=viewing_scale(pictures.shape[2]))
    return pictures


def spread(pictures):
    """Return the mean over pairs of pictures (n, 3, H, W) of their root mean square difference."""
    flat = pictures.flatten(1).float()
    distances = torch.pdist(flat) / flat.shape[1] ** 0.5
    return float(distances.mean())
