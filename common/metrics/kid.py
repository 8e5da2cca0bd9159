"""Kernel inception distance: unbiased squared MMD with k(x, y) = (x.y / D + 1)^3 (Binkowski et al. 2018).

KID = sum_{i != j} k(x_i, x_j) / (n (n - 1)) + sum_{i != j} k(y_i, y_j) / (m (m - 1)) - 2 sum_ij k(x_i, y_j) / (n m)

`kid` uses all pairs and is deterministic. `kid_subsets` averages over random subsets, as clean-fid, torch-fidelity and
StyleGAN-ADA do; its value varies with the subsets. `kid_both` takes the subsets' sums from the tiles of all pairs,
which costs no more than the subsets alone while these have as many pairs. Neither is multiplied by 1000.

Kernel values less a constant enter the sums, which leaves the estimate as it is: so float32 tiles serve for many rows.
"""

import numpy as np

from common.errors import InputError
from common.formats.rows import blocks, check_same_width, gather
from common.metrics.intervals import jackknife, usable_groups
from common.numerals import counted

TILE = 2048  # rows and columns of a tile: 16 or 32 MB of kernel values
FEW = 4096  # rows of a side up to which products are float64
LARGE = 1e3  # values of features from which on they are, too; Inception's reach 30
ROUNDING, SHARE = 6e-8, 1e-3  # of float32, and what part it may be of how kernel values vary beyond their rows' means
SAMPLE = 256  # rows of a side by which that, and the usual kernel value, is judged
IN_MEMORY = 1 << 30  # bytes of rows that are read as a whole for the subsets
SEEDS = {"clean_fid": 0, "torch_fidelity": 2020}  # clean-fid itself draws from numpy's unseeded global generator


class Cubic:
    """(x.y / D + 1)^3, the KID's own kernel."""

    def factor(self, width):
        """Return what rows are multiplied by."""
        return width**-0.5

    def of(self, products, norms1, norms2):
        """Turn products x.y (b1, b2) of such rows into kernel values, in place."""
        products += 1.0
        products *= products * products  # far faster than ** 3
        return products


class Gaussian:
    """exp(-|x - y|^2 / (2 sigma^2)), torch-fidelity's other kernel."""

    def __init__(self, sigma):
        self.sigma = sigma

    def factor(self, width):
        """Return what rows are multiplied by."""
        return 0.5**0.5 / self.sigma

    def of(self, products, norms1, norms2):
        """Turn products x.y (b1, b2) of such rows into kernel values; norms: |x|^2 (b1,), |y|^2 (b2,)."""
        products *= 2.0
        products -= norms1[:, None]
        products -= norms2
        return np.exp(products) if isinstance(products, np.ndarray) else products.exp_()


def kid(features1, features2, num_groups=10, device="cpu", kernel=None):
    """Return (KID over all pairs, its standard error or None).

    features1: (n, D), features2: (m, D), any float type: arrays, or anything with shape and row slices (NpzRows).
    kernel: Cubic, or another with `of`.  Tile by tile: memory does not grow with n and m, and the tile size affects
    rounding only.  The standard error is a delete-a-group jackknife: rows with the same index modulo num_groups leave
    both sides together.  It is None when too few rows would remain.
    Raises InputError when the widths differ, a side has fewer than two rows, or a value is not finite.
    """
    return kid_both(features1, features2, 0, num_groups=num_groups, device=device, kernel=kernel)[:2]


def kid_both(features1, features2, num_subsets=100, subset_size=1000, seed=None, order="clean_fid", num_groups=10,
             device="cpu", kernel=None):
    """Return (KID over all pairs, its error or None, mean over the subsets, their standard deviation).

    The last two are None for no subsets.  Arguments and errors: see `kid` and `kid_subsets`.
    """
    _check_counts(features1, features2)
    counts = features1.shape[0], features2.shape[0]
    groups = max(usable_groups(num_groups, *counts), 1)
    drawn = list(subset_rows(*counts, num_subsets, subset_size, seed, order)) if num_subsets else []
    kernel = kernel or Cubic()
    exact = max(counts) <= FEW or _is_coarse(features1, features2, kernel)
    sides = [_Side(features, groups, [rows[number] for rows in drawn], device, exact, kernel)
             for number, features in enumerate((features1, features2))]
    constant = _usual_value(sides, kernel)
    sums, parts = zip(*(_kernel_sums(*pair, constant)
                        for pair in ((sides[0],) * 2, (sides[1],) * 2, tuple(sides))))
    value = _unbiased(*(part.sum() for part in sums), *counts)
    if not np.isfinite(value):
        raise _not_finite()
    values = _unbiased(*parts, *(len(rows) for rows in drawn[0])) if drawn else None
    subsets = (None, None) if values is None else (float(values.mean()), float(values.std()))
    if groups == 1:
        return float(value), None, *subsets
    left = [part.sum() - part.sum(axis=0) - part.sum(axis=1) + np.diag(part) for part in sums]  # each (groups,)
    sizes = [count - np.array([len(range(group, count, groups)) for group in range(groups)]) for count in counts]
    return float(value), jackknife(_unbiased(*left, *sizes)), *subsets


def has_fewer_pairs(count1, count2, num_subsets, subset_size):
    """True where all pairs are no more than those of the subsets: `kid_both` then costs no more than these."""
    size = min(subset_size, count1, count2)
    return count1**2 / 2 + count2**2 / 2 + count1 * count2 <= 2.02 * num_subsets * size**2


def kid_subsets(features1, features2, num_subsets=100, subset_size=1000, seed=None, order="clean_fid", kernel=None):
    """Return (mean, standard deviation) of the KID over random subsets of rows.

    features1, features2, kernel: as for `kid`.
    order: "clean_fid" draws each subset's rows of features2, then those of features1, and uses all rows when there are
    fewer than subset_size; "torch_fidelity" draws features1 first and rejects too few rows.  seed: of numpy's legacy
    generator, None: torch-fidelity's 2020, or 0.  `numpy.random.seed(seed)` gives clean-fid the same subsets.
    Raises InputError when the widths differ, there are too few rows, or a value is not finite.
    """
    _check_counts(features1, features2)
    kernel = kernel or Cubic()
    features = [_whole(rows) for rows in (features1, features2)]
    values = np.empty(num_subsets)
    exact = min(subset_size, *map(len, features)) <= FEW // 8 or _is_coarse(*features, kernel)
    factor = np.float64(kernel.factor(features1.shape[1])) if exact else np.float32(kernel.factor(features1.shape[1]))
    drawn = subset_rows(features1.shape[0], features2.shape[0], num_subsets, subset_size, seed, order)
    for number, index in enumerate(drawn):
        x, y = (_taken(*side, exact) * factor for side in zip(features, index))
        norms = [np.einsum("nd,nd->n", rows, rows) for rows in (x, y)]
        own = [_total(kernel.of(rows @ rows.T, norm, norm), diagonal=False) for rows, norm in zip((x, y), norms)]
        values[number] = _unbiased(*own, _total(kernel.of(x @ y.T, *norms)), len(x), len(y))
    if not np.isfinite(values).all():
        raise _not_finite()
    return float(values.mean()), float(values.std())


def _not_finite():
    return InputError("kernel values are not finite: features hold NaN or infinity, or are too large for the kernel",
                      do="Find the images that produce them, or take another kernel or a larger sigma")


def _total(values, diagonal=True):
    """Return the sum of kernel values, in float64 over the rows' sums."""
    if not diagonal:
        np.fill_diagonal(values, 0.0)
    return values.sum(axis=1).sum(dtype=np.float64)


def _is_coarse(features1, features2, kernel):
    """True where float32 is too coarse for the kernel: large values, or rows that differ little for what they share.

    With c a row less the mean, times the kernel's factor, kernel values vary as c.c' does, by about E |c|^2 / sqrt(D),
    and float32 rounds 1 + x.y.
    """
    if max(float(np.abs(block).max(initial=0)) for rows in (features1, features2) for block in blocks(rows)) > LARGE:
        return True
    for rows in (features1, features2):
        sample = gather(rows, np.arange(0, rows.shape[0], -(-rows.shape[0] // SAMPLE)))
        sample *= kernel.factor(sample.shape[1])
        varying = np.sum(sample.var(axis=0)) / sample.shape[1] ** 0.5
        if ROUNDING * (1.0 + np.square(sample).sum(axis=1).mean()) > SHARE * varying:
            return True
    return False


def _taken(rows, index, exact):
    """Return rows in the order of index, float64 or, less exact, float32."""
    taken = rows[index] if isinstance(rows, np.ndarray) else gather(rows, index)
    return taken.astype(np.float64 if exact else np.float32)


def _whole(rows):
    """Return rows in memory where they are not too many, else as they are."""
    if isinstance(rows, np.ndarray) or rows.shape[0] * rows.shape[1] * 4 > IN_MEMORY:
        return rows
    return np.concatenate(list(blocks(rows)))


def subset_rows(count1, count2, num_subsets, subset_size, seed=None, order="clean_fid"):
    """Yield (rows of features1, rows of features2), int64 (size,) each, for every subset; see `kid_subsets`."""
    if order not in SEEDS:
        raise InputError(f"unknown order '{order}'", do=f"Choose from {', '.join(SEEDS)}")
    size = min(subset_size, count1, count2)
    if order == "torch_fidelity" and size < subset_size:
        raise InputError(f"too few images for subsets of {subset_size:,}: {size:,}",
                         do="Use more images or smaller subsets")
    if size < 2 or num_subsets < 1:
        raise InputError(f"too few: {counted(num_subsets, 'subset')} of {counted(size, 'image')}",
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
            raise InputError(f"too few images for a kernel distance: {features.shape[0]}", do="Use at least two")


def _unbiased(within1, within2, cross, count1, count2):
    """Return the unbiased estimate from sums over pairs of different rows and over cross pairs."""
    return within1 / (count1 * (count1 - 1)) + within2 / (count2 * (count2 - 1)) - 2 * cross / (count1 * count2)


class _Side:
    """Rows of one side, and what each of them belongs to: one of the groups, and some of the subsets."""

    def __init__(self, rows, num_groups, subsets, device, exact, kernel):
        """subsets: arrays of row numbers.  exact: tiles in float64."""
        import torch

        self.rows, self.num_groups, self.kernel = rows, num_groups, kernel
        self.device = "cpu" if torch.device(device).type == "mps" else device  # mps has no float64
        self.dtype = torch.float64 if exact else torch.float32
        self.member = np.zeros((rows.shape[0], len(subsets)), bool)
        for number, index in enumerate(subsets):
            self.member[index, number] = True

    def spans(self):
        """Return the slices of the tiles."""
        return [slice(start, start + TILE) for start in range(0, self.rows.shape[0], TILE)]

    def load(self, span):
        """Return rows (b, D) times the kernel's factor, their squared norms (b,), and columns (b, groups + subsets) of
        0 and 1, on the device."""
        import torch

        block = torch.from_numpy(np.array(self.rows[span])).to(self.device, self.dtype)
        block *= self.kernel.factor(block.shape[1])
        index = torch.arange(span.start, span.start + len(block)) % self.num_groups
        groups = torch.nn.functional.one_hot(index, self.num_groups)
        columns = torch.cat([groups, torch.from_numpy(self.member[span]).long()], dim=1)
        return block, (block * block).sum(dim=1), columns.to(self.device, self.dtype)


def _usual_value(sides, kernel):
    """Return the mean kernel between both sides' first rows."""
    (x, x_norms), (y, y_norms) = ([part.double() for part in side.load(slice(0, SAMPLE))[:2]] for side in sides)
    return float(kernel.of(x @ y.T, x_norms, y_norms).mean())


def _kernel_sums(side1, side2, constant):
    """Return sums of k - constant: float64 (G, G) between each group of both sides, and (S,) within each subset.

    Where both sides are one no row is paired with itself, and each off-diagonal tile counts twice.
    """
    import torch

    groups, same = side1.num_groups, side1 is side2
    total = torch.zeros(groups, groups, dtype=torch.float64, device=side1.device)
    within = torch.zeros(side1.member.shape[1], dtype=torch.float64, device=side1.device)
    for number, span in enumerate(side1.spans()):
        own = side1.load(span)
        for other in side2.spans()[number:] if same else side2.spans():
            diagonal = same and other == span
            against = own if diagonal else side2.load(other)
            values = side1.kernel.of(own[0] @ against[0].T, own[1], against[1])
            values -= constant
            if diagonal:
                values.fill_diagonal_(0.0)
            columns = (values @ against[2]).double()
            first = own[2].double()
            part = first[:, :groups].T @ columns[:, :groups]
            inside = (first[:, groups:] * columns[:, groups:]).sum(dim=0)
            twice = same and not diagonal
            total += part + part.T if twice else part
            within += 2.0 * inside if twice else inside
    return total.cpu().numpy(), within.cpu().numpy()
