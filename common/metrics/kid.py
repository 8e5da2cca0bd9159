"""Kernel inception distance: unbiased squared MMD with k(x, y) = (x.y / D + 1)^3 (Binkowski et al. 2018).

KID = sum_{i != j} k(x_i, x_j) / (n (n - 1)) + sum_{i != j} k(y_i, y_j) / (m (m - 1)) - 2 sum_ij k(x_i, y_j) / (n m)

`kid` uses all pairs and is deterministic. `kid_subsets` averages over random subsets, as clean-fid, torch-fidelity and
StyleGAN-ADA do; its value varies with the subsets. Neither is multiplied by 1000.
"""

import numpy as np

from common.errors import InputError
from common.formats.rows import check_same_width, gather
from common.metrics.intervals import jackknife, usable_groups

TILE = 1024  # rows and columns of a tile: 8 MB of kernel values
SEEDS = {"clean_fid": 0, "torch_fidelity": 2020}  # clean-fid itself draws from numpy's unseeded global generator


def kid(features1, features2, num_groups=10, device="cpu"):
    """Return (KID over all pairs, its standard error or None).

    features1: (n, D), features2: (m, D), any float type: arrays, or anything with shape and row slices (NpzRows).
    Products and sums are float64, tile by tile: memory does not grow with n and m, and the tile size affects rounding
    only.  The standard error is a delete-a-group jackknife: rows with the same index modulo num_groups leave both sides
    together.  It is None when too few rows would remain.
    Raises InputError when the widths differ, a side has fewer than two rows, or a value is not finite.
    """
    _check_counts(features1, features2)
    counts = features1.shape[0], features2.shape[0]
    groups = max(usable_groups(num_groups, *counts), 1)
    sums = [
        _kernel_sums(features1, features1, groups, device, same=True),
        _kernel_sums(features2, features2, groups, device, same=True),
        _kernel_sums(features1, features2, groups, device, same=False),
    ]
    value = _unbiased(*(part.sum() for part in sums), *counts)
    if not np.isfinite(value):
        raise InputError("features hold NaN or infinity", do="Find the images that produce them")
    if groups == 1:
        return float(value), None
    left = [part.sum() - part.sum(axis=0) - part.sum(axis=1) + np.diag(part) for part in sums]  # each (groups,)
    sizes = [count - np.array([len(range(group, count, groups)) for group in range(groups)]) for count in counts]
    return float(value), jackknife(_unbiased(*left, *sizes))


def kid_subsets(features1, features2, num_subsets=100, subset_size=1000, seed=None, order="clean_fid"):
    """Return (mean, standard deviation) of the KID over random subsets of rows.

    features1, features2: as for `kid`.
    order: "clean_fid" draws each subset's rows of features2, then those of features1, and uses all rows when there are
    fewer than subset_size; "torch_fidelity" draws features1 first and rejects too few rows.  seed: of numpy's legacy
    generator, None: torch-fidelity's 2020, or 0.  `numpy.random.seed(seed)` gives clean-fid the same subsets.
    Raises InputError when the widths differ, there are too few rows, or a value is not finite.
    """
    _check_counts(features1, features2)
    width = features1.shape[1]
    values = np.empty(num_subsets)
    rows = subset_rows(features1.shape[0], features2.shape[0], num_subsets, subset_size, seed, order)
    for number, (index1, index2) in enumerate(rows):
        x, y = gather(features1, index1), gather(features2, index2)
        within = [_cubic(x @ x.T, width), _cubic(y @ y.T, width)]
        sums = [kernel.sum() - np.trace(kernel) for kernel in within]
        values[number] = _unbiased(*sums, _cubic(x @ y.T, width).sum(), len(x), len(y))
    if not np.isfinite(values).all():
        raise InputError("features hold NaN or infinity", do="Find the images that produce them")
    return float(values.mean()), float(values.std())


def subset_rows(count1, count2, num_subsets, subset_size, seed=None, order="clean_fid"):
    """Yield (rows of features1, rows of features2), int64 (size,) each, for every subset; see `kid_subsets`."""
    if order not in SEEDS:
        raise InputError(f"unknown order '{order}'", do=f"Choose from {', '.join(SEEDS)}")
    size = min(subset_size, count1, count2)
    if order == "torch_fidelity" and size < subset_size:
        raise InputError(f"{size} images are fewer than the subset size {subset_size}",
                         do="Use more images or smaller subsets")
    if size < 2 or num_subsets < 1:
        raise InputError(f"{num_subsets} subsets of {size} images are too few",
                         do="Use at least one subset of at least two images")
    generator = np.random.RandomState(SEEDS[order] if seed is None else seed)  # draws like numpy's global one
    for _ in range(num_subsets):
        if order == "clean_fid":
            index2 = generator.choice(count2, size, replace=False)
            index1 = generator.choice(count1, size, replace=False)
        else:
            index1 = generator.choice(count1, size, replace=False)
            index2 = generator.choice(count2, size, replace=False)
        yield index1, index2


def _check_counts(features1, features2):
    check_same_width(features1, features2)
    for features in (features1, features2):
        if features.shape[0] < 2:
            raise InputError(f"{features.shape[0]} images are too few for a kernel distance", do="Use at least two")


def _cubic(products, width):
    kernel = products / width + 1.0
    return kernel * kernel * kernel  # far faster than ** 3


def _unbiased(within1, within2, cross, count1, count2):
    """Return the unbiased estimate from sums over pairs of different rows and over cross pairs."""
    return within1 / (count1 * (count1 - 1)) + within2 / (count2 * (count2 - 1)) - 2 * cross / (count1 * count2)


def _kernel_sums(rows1, rows2, num_groups, device, same):
    """Return float64 (G, G): sums of k between each group of rows1 and of rows2 (index modulo G).

    same: rows2 is rows1; then no row is paired with itself, and each off-diagonal tile counts twice.
    """
    import torch

    width = rows1.shape[1]
    device = "cpu" if torch.device(device).type == "mps" else device  # mps has no float64
    one = torch.ones(1, dtype=torch.float64, device=device)
    total = torch.zeros(num_groups, num_groups, dtype=torch.float64, device=device)
    spans1, spans2 = ([slice(start, start + TILE) for start in range(0, rows.shape[0], TILE)]
                      for rows in (rows1, rows2))
    for number, span in enumerate(spans1):
        block, groups = _load(rows1, span, num_groups, device)
        for other in spans2[number:] if same else spans2:
            diagonal = same and other == span
            against, other_groups = (block, groups) if diagonal else _load(rows2, other, num_groups, device)
            kernel = torch.addmm(one, block, against.T, alpha=1.0 / width)
            kernel *= kernel * kernel
            if diagonal:
                kernel.fill_diagonal_(0.0)
            part = groups.T @ (kernel @ other_groups)
            total += part + part.T if same and not diagonal else part
    return total.cpu().numpy()


def _load(rows, span, num_groups, device):
    """Return (block (b, D), one-hot groups (b, G)), float64, on the device."""
    import torch

    block = torch.from_numpy(np.array(rows[span], dtype=np.float64)).to(device)
    index = torch.arange(span.start, span.start + len(block)) % num_groups
    return block, torch.nn.functional.one_hot(index, num_groups).to(device, torch.float64)
