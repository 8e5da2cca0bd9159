"""Uncertainty of distances: jackknife standard errors, and the bias of too few images.

Delete-a-group jackknife: the value is recomputed without each of G groups of rows, and
stderr^2 = (G - 1) / G sum_g (value_g - mean)^2. Rows with the same index modulo G form a group, so that groups do not
depend on batches, and both sides drop their group together. The Frechet distance has its derivative with respect to
each row's weight instead, which costs one more pass over the rows.
"""

import numpy as np

from common.formats.rows import blocks
from common.metrics.frechet import product_of

PUBLISHED = 50_000  # images on each side of a published FID
FEW = 10_000  # the minimum that the authors of the FID recommend
INCEPTION = 2048  # number of features of the FID


def jackknife(values):
    """Return the standard error from the values (G,) without each of G groups, G at least 2."""
    values = np.asarray(values, dtype=np.float64)
    return float(np.sqrt((len(values) - 1) / len(values) * np.sum((values - values.mean()) ** 2)))


def usable_groups(num_groups, *counts):
    """Return how many groups, at most num_groups, `counts` rows allow (two rows must remain on each side), else 0."""
    groups = min(num_groups, *counts)
    return groups if groups >= 2 and all(count - -(-count // groups) >= 2 for count in counts) else 0


def frechet_error(statistics1, statistics2):
    """Return the standard error of the Frechet distance between two `Statistics`, or None.

    It covers the sides that have rows (`features`); a side with only mean and covariance counts as exact.  None where
    neither has rows, or too few.  To first order (infinitesimal jackknife) a row x of side 1, c = x - mean1, moves the
    distance by its weight times 2 (mean1 - mean2) c + |c|^2 - c^T T c, T the optimal transport map from side 1 to side
    2, T S1 T = S2; rows of side 2 likewise.  Rows of the same index count as one: valid for independent sides, and for
    a side generated image by image from the other.
    Raises InputError when the widths differ or a value is not finite.
    """
    sides = (statistics1, statistics2)
    if not any(side.features is not None and side.count > 2 for side in sides):
        return None
    swapped = _is_better_factor(statistics2, statistics1)
    sides = sides[::-1] if swapped else sides
    shift = sides[0].mean_of_rows() - sides[1].mean_of_rows()
    found = [_influence(side, quadratic, sign * shift)
             for side, quadratic, sign in zip(sides, _transport(*sides), (1.0, -1.0))]
    common = min(len(moves) for moves in found)
    return float(np.sqrt(np.sum((found[0][:common] + found[1][:common]) ** 2)
                         + sum(np.sum(moves[common:] ** 2) for moves in found)))


def _is_better_factor(side, other):
    """True where the first side has the smaller factor: fewer rows, which also makes a larger factor singular."""
    return side.is_short and (not other.is_short or side.count < other.count)


def _transport(side1, side2):
    """Return c -> c^T T c of both sides: from a factor F of S1, by the eigenvalues of F^T S2 F.

    A (D, D) float32 matrix T, or for a short side the (n,) values of its own rows.
    """
    import scipy.linalg

    first, second = side1.gaussian(), side2.gaussian()
    factor = first.factor  # (D, r)
    if second.covariance is None:
        half = second.factor.T @ factor
        product = half.T @ half
    elif first.is_regular:
        product = product_of(first, second)
    else:
        product = factor.T @ second.covariance @ factor
    values, vectors = scipy.linalg.eigh(product, driver="evd", overwrite_a=True, check_finite=False)
    positive = values > values.max(initial=0.0) * len(values) * np.finfo(np.float64).eps  # none of equal rows
    values, vectors = np.sqrt(values[positive]), vectors[:, positive]
    if side1.is_short:
        to_second = (side1.count - 1) * (vectors**2 @ values)
    else:
        half = np.linalg.lstsq(factor.T, vectors * np.sqrt(values), rcond=None)[0] if not first.is_regular else \
            scipy.linalg.solve_triangular(factor, vectors * np.sqrt(values), lower=True, trans="T", check_finite=False)
        to_second = half @ half.T
    half = factor @ (vectors / np.sqrt(values))
    if side2.is_short:
        to_first = (side2.count - 1) * np.sum((second.factor.T @ half) ** 2, axis=1)
    else:
        to_first = half @ half.T
    return to_second, to_first


def _influence(side, transport, shift):
    """Return (n,): how each row of a side moves the distance, zeros (0,) for a side without rows.

    transport: from `_transport`.  shift: mean of this side less mean of the other.
    """
    if side.features is None or side.count < 3:
        return np.zeros(0)
    mean, moves = side.mean_of_rows(), []
    weights = None if side.is_short else (np.eye(len(mean)) - transport).astype(np.float32)
    for block in blocks(side.features):
        rows = np.asarray(block, dtype=np.float64) - mean
        if weights is None:
            squares = np.einsum("nd,nd->n", rows, rows)
        else:  # float32 is far more than an error needs, near 1
            exponent = int(np.frexp(np.abs(rows).max())[1])
            low = np.ldexp(rows, -exponent).astype(np.float32)
            squares = np.ldexp(np.einsum("nd,nd->n", low @ weights, low).astype(np.float64), 2 * exponent)
        moves.append(2.0 * rows @ shift + squares)
    moves = np.concatenate(moves)
    if weights is None:
        moves -= transport
    return (moves - moves.mean()) / np.sqrt(len(moves) * (len(moves) - 1))


def frechet_excess(covariance, count1, count2=None):
    """Return the expected Frechet distance between two samples of one Gaussian, to first order.

    covariance: (D, D).  count1, count2: rows of the samples, many more than D; None: that side is known exactly.
    (1/n + 1/m) (tr S + sum_ij s_i s_j / (2 (s_i + s_j)) + sum_i s_i / 4), s the eigenvalues, from the second-order term
    of the distance about equal covariances and the Wishart variance of their entries.
    """
    values = np.linalg.eigvalsh(covariance)
    values = values[values > max(values[-1], 0.0) * len(values) * np.finfo(np.float64).eps]
    pairs = np.sum(values[:, None] * values / (values[:, None] + values))
    share = 1.0 / count1 + (1.0 / count2 if count2 else 0.0)
    return float(share * (values.sum() + pairs / 2.0 + values.sum() / 4.0))


def bias_note(count, width=INCEPTION, excess=None):
    """Return a warning when `count` images are too few for comparison with published values, else None.

    count: of the side with fewer images.  width: of the features; only 2048 is the FID.  excess: from
    `frechet_excess`, where known.
    """
    if count >= PUBLISHED:
        return None
    if count <= width:
        return (f"{count:,} images are not more than the {width:,} features: the covariance is singular and the "
                f"distance far too high; compare it only with distances of {count:,} other images, or use the KID")
    if width != INCEPTION:
        return None
    by = "" if excess is None else f", here by about {excess:.2g} (first order)"
    few = " are too few for comparison with published FIDs, which" if count < FEW else ": published FIDs"
    return f"{count:,} images{few} use {PUBLISHED:,}; with fewer the FID is too high{by}"
