"""MIND, Monge inception distance (Berthet et al. 2026, arXiv 2605.06797), as in torch-fidelity's 0.5 development.

MIND = 3 D mean_u mean_j (sort(u.x)_j - sort(u.y)_j)^2 over random directions u of length 1: a multiple of the sliced
squared Wasserstein distance between two equally large sets of features.
"""

import numpy as np

from common.errors import InputError
from common.formats.rows import blocks, check_same_width

VALUES = 1 << 23  # projected values in memory at once per side: 64 MB


def mind(features1, features2, num_projections=1000, seed=2020):
    """Return MIND as a float.

    features1: (n, D), features2: (m, D), any float type: arrays, or anything with shape and row slices (NpzRows), which
    is read once for every VALUES / n directions.  Projections are float64, and the order of rows does not matter where
    n = m.  Otherwise the larger set is subsampled by the same torch generator, before it draws the directions.
    Raises InputError when the widths differ, a side is empty, or a value is not finite.
    """
    check_same_width(features1, features2)
    counts = features1.shape[0], features2.shape[0]
    if min(counts) < 1 or num_projections < 1:
        raise InputError(f"{counts[0]} and {counts[1]} images, {num_projections} directions",
                         do="Use at least one of each")
    masks, directions = _draw(*counts, features1.shape[1], num_projections, seed)
    step = max(1, VALUES // max(counts))
    total = 0.0
    for start in range(0, num_projections, step):
        part = directions[start : start + step]
        sorted1, sorted2 = (_sorted(rows, mask, part) for rows, mask in zip((features1, features2), masks))
        total += np.square(sorted1 - sorted2).mean(axis=1).sum()
    if not np.isfinite(total):
        raise InputError("features hold NaN or infinity", do="Find the images that produce them")
    return float(3.0 * features1.shape[1] * total / num_projections)


def _draw(count1, count2, width, num_projections, seed):
    """Return ([mask1, mask2] of rows, directions (M, D) float64), drawn in torch-fidelity's order."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    masks = []
    for count, other in ((count1, count2), (count2, count1)):
        mask = np.full(count, count <= other)
        if count > other:
            mask[torch.randperm(count, generator=generator)[:other].numpy()] = True
        masks.append(mask)
    directions = torch.randn(num_projections, width, generator=generator)
    directions = directions / directions.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return masks, directions.numpy().astype(np.float64)


def _sorted(rows, mask, directions):
    """Return float64 (directions, rows in the mask): sorted projections."""
    values = np.empty((len(directions), int(mask.sum())))
    first = read = 0
    for block in blocks(rows):
        chosen = block[mask[read : read + len(block)]].astype(np.float64)
        values[:, first : first + len(chosen)] = directions @ chosen.T
        first, read = first + len(chosen), read + len(block)
    values.sort(axis=1)
    return values
