"""MIND, Monge inception distance (Berthet et al. 2026, arXiv 2605.06797), as torch-fidelity 0.5 development computes
it.

MIND = 3 D mean_u mean_j (sort(u.x)_j - sort(u.y)_j)^2 over random directions u of length 1: a multiple of the sliced
squared Wasserstein distance between two equally large sets of features.
"""

import numpy as np

from common.errors import InputError
from common.formats.rows import blocks, check_same_width

VALUES = 1 << 23  # projected values held at once for a side: 64 MB


def mind(features1, features2, num_projections=1000, seed=2020):
    """Return MIND as a float.

    features1: (n, D), features2: (m, D), any float type: arrays, or anything with shape and row slices (NpzRows), which
    is read once for every VALUES / n directions.  Projections are float64, and the order of rows is of no consequence
    where n = m.  Else the larger set is cut to rows that the same torch generator draws before the directions.
    Raises InputError when the widths differ, a side is empty, or a value is not finite.
    """
    check_same_width(features1, features2)
    counts = features1.shape[0], features2.shape[0]
    if min(counts) < 1 or num_projections < 1:
        raise InputError(f"{counts[0]} and {counts[1]} images, {num_projections} directions",
                         do="Give one or more of each")
    kept, directions = _draw(*counts, features1.shape[1], num_projections, seed)
    step = max(1, VALUES // max(counts))
    total = 0.0
    for start in range(0, num_projections, step):
        part = directions[start : start + step]
        sorted1, sorted2 = (_sorted(rows, keep, part) for rows, keep in zip((features1, features2), kept))
        total += np.square(sorted1 - sorted2).mean(axis=1).sum()
    if not np.isfinite(total):
        raise InputError("features hold NaN or infinity", do="Find out which images gave them")
    return float(3.0 * features1.shape[1] * total / num_projections)


def _draw(count1, count2, width, num_projections, seed):
    """Return ((kept1, kept2) boolean row masks, directions (M, D) float64), drawn in torch-fidelity's order."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    kept = []
    for count, other in ((count1, count2), (count2, count1)):
        keep = np.full(count, count <= other)
        if count > other:
            keep[torch.randperm(count, generator=generator)[:other].numpy()] = True
        kept.append(keep)
    directions = torch.randn(num_projections, width, generator=generator)
    directions = directions / directions.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return kept, directions.numpy().astype(np.float64)


def _sorted(rows, keep, directions):
    """Return float64 (directions, kept rows): sorted projections."""
    values = np.empty((len(directions), int(keep.sum())))
    first = read = 0
    for block in blocks(rows):
        chosen = block[keep[read : read + len(block)]].astype(np.float64)
        values[:, first : first + len(chosen)] = directions @ chosen.T
        first, read = first + len(chosen), read + len(block)
    values.sort(axis=1)
    return values
