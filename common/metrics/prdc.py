"""Precision, recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020).

With r_k(x) the distance from x to its k-th nearest other point of the same set, x real (n), y generated (m), strict <:
precision = mean_j [exists i: |x_i - y_j| < r_k(x_i)]          recall   = mean_i [exists j: |x_i - y_j| < r_k(y_j)]
density   = 1/(k m) sum_ij [|x_i - y_j| < r_k(x_i)]            coverage = mean_i [min_j |x_i - y_j| < r_k(x_i)]

Squared distances come in tiles from float32 matrix products of features less their common mean. What a tile cannot
decide (distances within its rounding error of a radius) is decided by float64 differences, so the numbers are those of
the formulas, duplicates and ties included.
"""

import numpy as np

from common.errors import InputError

TILE = 2048  # rows and columns of a tile: 16 MB of distances
PAIRS = 1024  # pairs whose differences are held at once
TOLERANCE = 4e-6  # bound on a tile's error, in units of |x|^2 + |y|^2 (float32 rounding is 6e-8)
TIE = 1e-12  # squared distances this close (relative) are equal


def prdc(real, fake, nearest_k=3, device="cpu"):
    """Return {"precision", "recall", "density", "coverage"} as floats.

    real: (n, D), fake: (m, D) float features: arrays, or anything with shape and row slices (common.npz_stream.NpzRows).
    Memory: n + m rows of nearest_k + 2 candidates, and tiles; no n x m matrix, and a copy of the features only block by
    block.  device: where tiles are computed.
    Raises InputError when the widths differ, a set has no k-th neighbour, or a value is not finite.
    """
    if real.shape[1] != fake.shape[1]:
        raise InputError(f"features are {real.shape[1]} and {fake.shape[1]} wide", do="Compare features of the same network")
    for kind, rows in (("real", real), ("generated", fake)):
        if nearest_k < 1 or rows.shape[0] <= nearest_k:
            raise InputError(f"{rows.shape[0]} {kind} images have no neighbour number {nearest_k}",
                             where="--nearest_k", do="Give more images, or a --nearest_k from 1 to one below their number")  # fmt: skip
    centre = _mean_of_both(real, fake)
    radii = [squared_radii(rows, nearest_k, device, centre) for rows in (real, fake)]
    return _count_memberships(real, fake, radii[0], radii[1], nearest_k, centre, device)


def squared_radii(rows, nearest_k, device="cpu", centre=None):
    """Return float64 (n,): the squared distance from each row to its nearest_k-th nearest other row."""
    import torch

    centre = _mean_of_both(rows, rows[:0]) if centre is None else centre
    candidates = min(nearest_k + 2, rows.shape[0] - 1)  # two more than needed: float32 may swap near neighbours
    best = torch.full((rows.shape[0], candidates), torch.inf)
    index = torch.zeros((rows.shape[0], candidates), dtype=torch.int64)
    spans = _spans(rows.shape[0])
    for number, span in enumerate(spans):
        block = _load(rows, span, centre, device)
        for other in spans[number:]:  # a tile serves its rows and, transposed, its columns
            tile = _squared_distances(block, block if other == span else _load(rows, other, centre, device))
            if other == span:
                tile.fill_diagonal_(torch.inf)
            else:
                _keep_nearest(best, index, other, span.start, tile.T.contiguous())
            _keep_nearest(best, index, span, other.start, tile)
    return _exact_kth(rows, index.numpy(), nearest_k)


def _mean_of_both(real, fake):
    """Return the mean (D,) float32 of all rows; raises InputError for NaN or infinity."""
    total = np.zeros(real.shape[1])
    for rows in (real, fake):
        for span in _spans(rows.shape[0]):
            total += np.asarray(rows[span], dtype=np.float64).sum(axis=0)
    if not np.isfinite(total).all():
        raise InputError("features hold NaN or infinity", do="Find out which images gave them")
    return (total / (real.shape[0] + fake.shape[0])).astype(np.float32)


def _spans(count):
    return [slice(start, min(start + TILE, count)) for start in range(0, count, TILE)]


def _load(rows, span, centre, device):
    """Return (block (b, D) float32, its squared norms (b,)) on the device."""
    import torch

    block = torch.from_numpy(np.asarray(rows[span], dtype=np.float32) - centre).to(device)
    return block, (block * block).sum(dim=1)


def _squared_distances(block1, block2):
    """Return squared distances (b1, b2), in error by at most TOLERANCE (|x|^2 + |y|^2)."""
    import torch

    (x, x_norm), (y, y_norm) = block1, block2
    return torch.addmm(y_norm, x, y.T, alpha=-2.0).add_(x_norm[:, None])


def _keep_nearest(best, index, span, first, tile):
    """Merge a tile (b, c), whose columns are rows first and on, into the candidates of the rows in span."""
    import torch

    count = best.shape[1]
    values, columns = torch.topk(tile, min(count, tile.shape[1]), dim=1, largest=False, sorted=False)
    values = torch.cat([best[span], values.cpu()], dim=1)
    columns = torch.cat([index[span], columns.cpu() + first], dim=1)
    best[span], order = torch.topk(values, count, dim=1, largest=False, sorted=False)
    index[span] = torch.gather(columns, 1, order)


def _exact_kth(rows, neighbours, nearest_k):
    """Return float64 (n,): the nearest_k-th smallest exact squared distance from each row to its candidates."""
    count, candidates = neighbours.shape
    pairs = np.stack([np.repeat(np.arange(count), candidates), neighbours.reshape(-1)])
    exact = _exact_squared(rows, rows, *pairs).reshape(count, candidates)
    return np.partition(exact, nearest_k - 1, axis=1)[:, nearest_k - 1]


def _exact_squared(rows1, rows2, index1, index2):
    """Return float64 (p,): |rows1[index1] - rows2[index2]|^2 from differences."""
    result = np.empty(len(index1))
    for start in range(0, len(index1), PAIRS):
        part = slice(start, start + PAIRS)
        difference = _gather(rows1, index1[part]) - _gather(rows2, index2[part])
        result[part] = np.einsum("pd,pd->p", difference, difference)
    return result


def _gather(rows, index):
    """Return float64 rows in the given order; a file is asked for each distinct row once."""
    if isinstance(rows, np.ndarray):
        return rows[index].astype(np.float64)
    distinct, inverse = np.unique(index, return_inverse=True)
    return np.concatenate([rows[i : i + 1] for i in distinct]).astype(np.float64)[inverse]


def _count_memberships(real, fake, real_radii, fake_radii, nearest_k, centre, device):
    """Return the four values from one pass over the tiles of real against generated rows."""
    n, m = real.shape[0], fake.shape[0]
    in_real, in_fake, density = np.zeros(m, bool), np.zeros(n, bool), 0
    covered = np.zeros(n, bool)  # some generated row lies within the real row's radius
    for span in _spans(n):
        block = _load(real, span, centre, device)
        for other in _spans(m):
            tile, slack = _tile_and_slack(block, _load(fake, other, centre, device))
            inside = _within(tile, slack, real_radii[span, None], real, fake, span, other)
            in_real[other] |= inside.any(dim=0).numpy()
            covered[span] |= inside.any(dim=1).numpy()
            density += int(inside.sum())
            inside = _within(tile, slack, fake_radii[None, other], real, fake, span, other)
            in_fake[span] |= inside.any(dim=1).numpy()
    return {
        "precision": float(in_real.mean()), "recall": float(in_fake.mean()),
        "density": density / (nearest_k * m), "coverage": float(covered.mean()),
    }  # fmt: skip


def _tile_and_slack(block1, block2):
    """Return squared distances (b1, b2) and the bound on their errors (b1, b2)."""
    tile = _squared_distances(block1, block2)
    return tile, (block1[1][:, None] + block2[1]).mul_(TOLERANCE)


def _within(tile, slack, radii, real, fake, span, other):
    """Return bool (b1, b2), on the CPU: squared distance < squared radius, exactly."""
    import torch

    limit = torch.from_numpy(radii.astype(np.float32)).to(tile.device)
    surely = (tile + slack) < limit
    unsure = ((tile - slack) < limit).logical_xor_(surely).nonzero().cpu().numpy().T
    surely = surely.cpu()
    if unsure.size:
        exact = _exact_squared(real, fake, unsure[0] + span.start, unsure[1] + other.start)
        limits = np.broadcast_to(radii, surely.shape)[unsure[0], unsure[1]]
        surely[unsure[0], unsure[1]] = torch.from_numpy(exact < limits * (1.0 - TIE))
    return surely
