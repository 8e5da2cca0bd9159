"""Nested prediction sets, and the critical lambda of each truth.

The set of a coordinate at lambda is the open interval (point - lambda * below, point + lambda * above), whose arms are
max(point - lower, 0) and max(upper - point, 0). A truth is covered exactly from its critical lambda on: missed at that
value, covered at the next float64.
"""

from dataclasses import dataclass

import numpy as np

SIDES = ("lower", "upper")


@dataclass
class Intervals:
    """What a level's outputs say of N images and K coordinates: float64 (N, K) each.

    residual: truth - point.  below, above: the arms, 0 or longer.  crossed: whether lower > upper, lower > point or
    upper < point, which leaves an arm of length 0.
    """

    residual: np.ndarray
    below: np.ndarray
    above: np.ndarray
    crossed: np.ndarray

    def widths(self):
        """Return below + above, the widths at lambda 1, float64 (N, K)."""
        return self.below + self.above


def make_intervals(truth, point, lower, upper, centre):
    """Return the Intervals of (N, K) floats.

    centre (K,) or 0: what is added to point, lower and upper to compare them with the truth; it cancels in the arms.
    """
    truth, point, lower, upper = (np.asarray(array, np.float64) for array in (truth, point, lower, upper))
    crossed = (lower > upper) | (lower > point) | (upper < point)
    below, above = np.maximum(point - lower, 0), np.maximum(upper - point, 0)
    return Intervals(truth - (point + np.asarray(centre, np.float64)), below, above, crossed)


def critical_values(intervals, side=None):
    """Return the critical lambda of each truth: float64 (N, K) in 0..inf; missed iff lambda <= it.

    Infinite where the arm on the truth's side is 0: no lambda covers it.  side: "lower" counts misses below the set
    alone, "upper" those above it; the truth on the other side is then never missed (-inf).
    """
    residual, below, above = intervals.residual, intervals.below, intervals.above
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        lower, upper = -residual / below, residual / above  # x / 0 is inf, 0 / 0 NaN
    if side is not None:
        value = lower if side == "lower" else upper
        on_side = residual <= 0 if side == "lower" else residual >= 0
        return np.where(on_side, np.where(np.isnan(value), np.inf, value + 0.0), -np.inf)
    value = np.where(residual < 0, lower, upper)
    at_point = np.where((below > 0) & (above > 0), 0.0, np.inf)  # an open interval holds its point only if both arms do
    return np.where(residual == 0, at_point, value)


def missed_by(intervals, lambdas, shape=1.0):
    """Return bools (N, K): which truths the sets of Intervals do not cover.

    lambdas: (1,), or (2,) for the lower and the upper arm.  shape: (K,) factors of the arms.
    """
    found = False
    for side, value in zip(SIDES if len(lambdas) == 2 else (None,), lambdas):
        found = found | (critical_values(intervals, side) >= value * shape)
    return found


def image_values(critical, loss):
    """Return the critical values (N, M) of a loss that is the share of M entries missed.

    loss: "fraction": all K of them; "any": the largest, missed when any coordinate is; "more_than:J": the (J + 1)-th
    largest, missed when more than J are.
    """
    if loss == "fraction":
        return critical
    rank = 0 if loss == "any" else int(loss.removeprefix("more_than:"))
    return np.sort(critical, axis=1)[:, critical.shape[1] - 1 - rank][:, None]


def count_misses(critical, lambdas):
    """Return how many entries of each image are missed at each lambda: unsigned integers (L, N).

    critical: (N, M).  lambdas: float64 (L,), ascending.
    """
    first = np.searchsorted(lambdas, critical, side="right")  # the first lambda > critical covers
    return misses_from_first(first, len(lambdas))


def misses_from_first(first, count):
    """Return misses (count, N) from the index of the first lambda that covers each entry (N, M), `count` for none."""
    number, width = first.shape
    place = first + np.arange(number)[:, None] * (count + 1)
    covered = np.bincount(place.ravel(), minlength=number * (count + 1)).reshape(number, count + 1)
    kind = np.min_scalar_type(width)
    return np.ascontiguousarray((width - np.cumsum(covered[:, :count], axis=1)).T.astype(kind))


def first_covering(point, below, above, truth, lambdas):
    """Return the index (N, K) of the first lambda whose literal edges cover the truth, len(lambdas) for none.

    The published arithmetic, ties and rounding included: point, arms and truth as float32 (or whatever they come as),
    lambda float64.  lambdas: ascending.
    """
    point, below, above, truth = (np.asarray(array, np.float64) for array in (point, below, above, truth))
    residual = truth - point
    arm = np.where(residual < 0, below, above)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        critical = np.abs(residual) / arm
    critical[(residual == 0) & ((below == 0) | (above == 0))] = np.inf
    critical[np.isnan(critical)] = 0.0
    first = np.searchsorted(lambdas, critical, side="right")
    # Only where a lambda all but meets the critical value can rounding put the literal edge on the other side.
    spaced = np.concatenate([[-np.inf], lambdas, [np.inf]])
    slack = 1e-9 * (np.abs(point) + np.abs(truth) + arm)
    with np.errstate(invalid="ignore"):
        close = np.minimum(critical - spaced[first], spaced[first + 1] - critical) * arm <= slack
    for place in zip(*np.nonzero(close)):
        first[place] = _first_literal(*(array[place] for array in (point, below, above, truth, first)), lambdas)
    return first


def _first_literal(point, below, above, truth, first, lambdas):
    """Return the first of the lambdas near place `first` whose literal edges cover one truth."""
    for near in range(max(first - 1, 0), min(first + 2, len(lambdas))):
        if point - lambdas[near] * below < truth < point + lambdas[near] * above:
            return near
    return min(first + 2, len(lambdas))
