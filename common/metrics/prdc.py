"""Precision, recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020).

With r_k(x) the distance from x to its k-th nearest other point of the same set, x real (n), y generated (m), strict <:
precision = mean_j [exists i: |x_i - y_j| < r_k(x_i)]          recall   = mean_i [exists j: |x_i - y_j| < r_k(y_j)]
density   = 1/(k m) sum_ij [|x_i - y_j| < r_k(x_i)]            coverage = mean_i [min_j |x_i - y_j| < r_k(x_i)]

Squared distances come in tiles from matrix products of features less their common mean, in float32, or in float64
where a sample says that clusters are too tight for it. Where a tile cannot decide (distances within its rounding error
of a radius), float64 differences do, so the numbers are those of the formulas, duplicates and ties included.
"""

import numpy as np

from common.errors import InputError, Parameter
from common.formats.rows import blocks, gather
from common.metrics.pairs import MANY, PAIRS, exact_squared, refined, squared_norms

TILE = 2048  # rows and columns of a tile: 16 MB of distances
SAMPLE, SHARE = 256, 0.1  # rows that are tried in float32, and what part of them may be unsure
SEARCHED = 1 << 22  # float64 distances in memory at once where float32 tiles cannot tell neighbours apart: 32 MB
TIE = 1e-12  # squared distances this close (relative) are equal


def prdc(real, fake, nearest_k=3, device="cpu", inclusive=False):
    """Return {"precision", "recall", "density", "coverage"} as floats.

    real: (n, D), fake: (m, D) float features: arrays, or anything with shape and row slices (formats.npz.NpzRows).
    Memory: n + m rows of nearest_k + 2 candidates, and tiles; no n x m matrix, and features are copied block by block.
    device: where tiles are computed.  inclusive: <= for <, as in torch-fidelity; it affects ties only.
    Raises InputError when the widths differ, a set has no k-th neighbour, or a value is not finite.
    """
    if real.shape[1] != fake.shape[1]:
        raise InputError(f"features are {real.shape[1]} and {fake.shape[1]} wide",
                         do="Compare features of the same network")
    for kind, rows in (("real", real), ("generated", fake)):
        if nearest_k < 1 or rows.shape[0] <= nearest_k:
            raise InputError(f"k = {nearest_k} needs at least {max(nearest_k, 1) + 1} {kind} images, there are "
                             f"{rows.shape[0]}", where=Parameter("nearest_k"),
                             do="Use more images, or a `nearest_k` from 1 to one below their number")
    real, fake = _in_range(real, fake)
    tiles = _Tiles(_mean_of_both(real, fake), device)
    tiles = tiles.exact() if any(_is_tight(rows, nearest_k, tiles) for rows in (real, fake)) else tiles
    radii = [squared_radii(rows, nearest_k, tiles) for rows in (real, fake)]
    return _count_memberships(real, fake, radii[0], radii[1], nearest_k, tiles, inclusive)


class _Tiles:
    """Tiles of squared distances in float32 or float64, and how far they may be off.

    tolerance: a bound on their errors in units of |x|^2 + |y|^2: ten standard deviations of rounding.
    """

    def __init__(self, centre, device, wide=False):
        """centre: what is subtracted from all rows.  wide: float64."""
        import torch

        self.centre = centre
        self.device = "cpu" if wide and torch.device(device).type == "mps" else device  # mps has no float64
        self.kind, self.dtype = (np.float64, torch.float64) if wide else (np.float32, torch.float32)
        self.epsilon = 2e-16 if wide else 1e-7
        self.tolerance = (10.0 + 2.0 * len(centre) ** 0.5) * self.epsilon

    def exact(self):
        """Return the same in float64."""
        return _Tiles(self.centre, self.device, wide=True)

    def load(self, rows, span):
        """Return (block (b, D), its squared norms (b,)) on the device."""
        import torch

        block = torch.from_numpy(self.centred(np.asarray(rows[span]))).to(self.device)
        return block, (block * block).sum(dim=1)

    def centred(self, rows):
        """Return rows less the centre in the tiles' type, subtracted in their own where that is wider: large values of
        float64 may differ in digits that float32 lacks."""
        return np.subtract(rows, self.centre, dtype=np.result_type(rows, self.kind)).astype(self.kind, copy=False)

    def above(self, values):
        """Return float64 values in the tiles' type, raised by more than its rounding."""
        import torch

        return torch.from_numpy((values * (1.0 + 2.0 * self.epsilon)).astype(self.kind)).to(self.device)


def _is_tight(rows, nearest_k, tiles):
    """True where float32 cannot tell the nearest rows of many a row apart, tried on a sample."""
    import torch

    index = np.arange(0, rows.shape[0], -(-rows.shape[0] // SAMPLE))
    sample = torch.from_numpy(tiles.centred(gather(rows, index))).to(tiles.device)
    sample = sample, (sample * sample).sum(dim=1)
    nearest = None
    for span in _spans(rows.shape[0]):
        found = _squared_distances(sample, tiles.load(rows, span))
        nearest = found if nearest is None else torch.cat([nearest, found], dim=1)
        count = min(nearest_k + 1, nearest.shape[1])  # the row itself is one of them
        nearest = torch.topk(nearest, count, dim=1, largest=False).values
    unsure = (nearest[:, -1] < 6.0 * tiles.tolerance * sample[1]).float().mean()
    return bool(unsure > SHARE)


class _Scaled:
    """Rows times a power of two: what is within a radius stays so, and float32 squares neither overflow nor vanish."""

    def __init__(self, rows, exponent):
        self._rows, self._exponent, self.shape = rows, exponent, rows.shape

    def __getitem__(self, rows):
        return np.ldexp(np.asarray(self._rows[rows]), self._exponent)


def _in_range(*sides):
    """Return the rows of all sides, scaled by one factor where the largest value is beyond 2^-30 to 2^30."""
    largest = max(float(np.abs(block).max(initial=0)) for rows in sides for block in blocks(rows))
    exponent = -int(np.frexp(largest)[1])
    return [_Scaled(rows, exponent) for rows in sides] if abs(exponent) > 30 and np.isfinite(largest) else sides


def squared_radii(rows, nearest_k, tiles=None):
    """Return float64 (n,): the squared distance from each row to its nearest_k-th nearest other row."""
    import torch

    tiles = tiles or _Tiles(_mean_of_both(rows, rows[:0]), "cpu")
    candidates = min(nearest_k + 2, rows.shape[0] - 1)  # two more than needed: float32 may swap near neighbours
    best = torch.full((rows.shape[0], candidates), torch.inf, dtype=tiles.dtype)
    index = torch.zeros((rows.shape[0], candidates), dtype=torch.int64)
    norms = torch.empty(rows.shape[0], dtype=tiles.dtype)
    spans = _spans(rows.shape[0])
    for number, span in enumerate(spans):
        block = tiles.load(rows, span)
        norms[span] = block[1].cpu()
        for other in spans[number:]:  # a tile serves its rows and, transposed, its columns
            tile = _squared_distances(block, block if other == span else tiles.load(rows, other))
            if other == span:
                tile.fill_diagonal_(torch.inf)
            else:
                _keep_nearest(best, index, other, span.start, tile.T.contiguous())
            _keep_nearest(best, index, span, other.start, tile)
    radii = _exact_kth(rows, index.numpy(), nearest_k)
    if candidates < rows.shape[0] - 1:
        # A row y nearer than the radius r that is not a candidate has |y|^2 < 2 |x|^2 + 2 r^2, which bounds the tile's
        # error: its distance in the tile, at least best's largest, is then below r^2 + error.
        error = tiles.tolerance * (3.0 * norms.numpy().astype(np.float64) + 2.0 * radii)
        unsure = np.flatnonzero((radii > 0.0) & (best.amax(dim=1).numpy() < radii + error))
        radii[unsure] = _search_kth(rows, unsure, nearest_k, tiles.exact())
    return radii


def _mean_of_both(real, fake):
    """Return the mean (D,) float32 of all rows; raises InputError for NaN or infinity."""
    total = np.zeros(real.shape[1])
    for rows in (real, fake):
        for span in _spans(rows.shape[0]):
            total += np.asarray(rows[span]).sum(axis=0, dtype=np.float64)
    if not np.isfinite(total).all():
        raise InputError("features hold NaN or infinity", do="Find the images that produce them")
    return (total / (real.shape[0] + fake.shape[0])).astype(np.float32)


def _spans(count):
    return [slice(start, min(start + TILE, count)) for start in range(0, count, TILE)]


def _squared_distances(block1, block2, shrink=0.0):
    """Return squared distances (b1, b2), less `shrink` times |x|^2 + |y|^2."""
    import torch

    (x, x_norm), (y, y_norm) = block1, block2
    return torch.addmm(y_norm * (1.0 - shrink), x, y.T, alpha=-2.0).add_(x_norm[:, None] * (1.0 - shrink))


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
    exact = np.empty((count, candidates))
    step = max(1, PAIRS // candidates)
    for start in range(0, count, step):
        own = np.asarray(rows[start : min(start + step, count)], dtype=np.float64)
        others = gather(rows, neighbours[start : start + step].reshape(-1)).reshape(len(own), candidates, -1)
        exact[start : start + step] = squared_norms(others - own[:, None])
    return np.partition(exact, nearest_k - 1, axis=1)[:, nearest_k - 1]


def _search_kth(rows, wanted, nearest_k, tiles):
    """Return float64 (u,): the exact squared distance of the wanted rows to their nearest_k-th neighbour of all rows.

    For rows whose neighbours the tiles cannot tell apart: clusters that are small compared with their distance from the
    centre.  tiles: in float64.
    """
    centre = tiles.centre
    radii = np.empty(len(wanted))
    step = max(1, SEARCHED // rows.shape[0])
    for start in range(0, len(wanted), step):
        part = wanted[start : start + step]
        own = gather(rows, part) - centre
        own_norms = squared_norms(own)[:, None]
        distances, errors = np.empty((2, len(part), rows.shape[0]))
        for span in _spans(rows.shape[0]):
            others = np.asarray(rows[span], dtype=np.float64) - centre
            errors[:, span] = own_norms + squared_norms(others)
            distances[:, span] = errors[:, span] - 2.0 * (own @ others.T)
        errors *= tiles.tolerance
        distances[np.arange(len(part)), part] = np.inf
        limit = np.partition(distances + errors, nearest_k - 1, axis=1)[:, nearest_k - 1, None]
        first, second = np.nonzero(distances - errors <= limit)
        if len(first) > MANY:
            first, second = _nearest_of(rows, part, first, second, nearest_k)
        exact = exact_squared(rows, rows, part[first], second)
        by_row = np.split(exact, np.searchsorted(first, np.arange(1, len(part))))
        radii[start : start + step] = [np.partition(values, nearest_k - 1)[nearest_k - 1] for values in by_row]
    return radii


def _nearest_of(rows, part, first, second, nearest_k):
    """Return those of the pairs (part[first], second) that may be among the nearest_k of their first row."""
    distances, errors = refined(rows, rows, part[first], second)
    ends = np.flatnonzero(np.diff(first, append=-1)) + 1  # of each first row's pairs; each has nearest_k or more
    limits = [np.partition(upper, nearest_k - 1)[nearest_k - 1] for upper in np.split(distances + errors, ends[:-1])]
    near = distances - errors <= np.repeat(limits, np.diff(ends, prepend=0))
    return first[near], second[near]


def _count_memberships(real, fake, real_radii, fake_radii, nearest_k, tiles, inclusive):
    """Return the four values from one pass over the tiles of real against generated rows."""
    n, m = real.shape[0], fake.shape[0]
    in_real, in_fake = np.zeros(m, bool), np.zeros(n, bool)  # within the radius of some real, some generated row
    covered, memberships = np.zeros(n, bool), 0  # some generated row lies within this real row's radius
    for span in _spans(n):
        block = tiles.load(real, span)
        for other in _spans(m):
            against = tiles.load(fake, other)
            lower = _squared_distances(block, against, shrink=tiles.tolerance)
            tile = lower, block, against, tiles
            rows, columns = _within(*tile, real_radii[span, None], real, fake, span, other, inclusive)
            covered[rows], in_real[columns] = True, True
            memberships += len(rows)
            rows, _ = _within(*tile, fake_radii[None, other], real, fake, span, other, inclusive)
            in_fake[rows] = True
    return {
        "precision": float(in_real.mean()), "recall": float(in_fake.mean()),
        "density": memberships / (nearest_k * m), "coverage": float(covered.mean()),
    }


def _within(lower, block, against, tiles, radii, real, fake, span, other, inclusive):
    """Return the pairs (real rows, generated rows) of a tile whose exact squared distance is below the squared radius.

    inclusive: or equal to it.  lower: (b1, b2) lower bounds of the squared distances.  radii: float64 squares, (b1, 1)
    or (1, b2).
    """
    limit = tiles.above(radii if inclusive else np.where(radii > 0.0, radii, -np.inf))  # nothing is nearer than 0
    rows, columns = (lower <= limit if inclusive else lower < limit).nonzero(as_tuple=True)
    upper = lower[rows, columns] + 2.0 * tiles.tolerance * (block[1][rows] + against[1][columns])
    rows, columns, upper = rows.cpu().numpy(), columns.cpu().numpy(), upper.cpu().numpy()
    limits = np.broadcast_to(radii, lower.shape)[rows, columns]
    inside = upper < limits
    unsure = np.flatnonzero(~inside)
    rows, columns = rows + span.start, columns + other.start
    if len(unsure) > MANY:
        distances, errors = refined(real, fake, rows[unsure], columns[unsure])
        inside[unsure] = distances + errors < limits[unsure]
        unsure = unsure[np.abs(distances - limits[unsure]) <= errors]
    exact, limits = exact_squared(real, fake, rows[unsure], columns[unsure]), limits[unsure]
    inside[unsure] = exact <= limits * (1.0 + TIE) if inclusive else exact < limits * (1.0 - TIE)
    return rows[inside], columns[inside]
