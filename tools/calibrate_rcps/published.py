"""A calibration in the nesting that the original's users hold in their hands, computed entry by entry.

Sets, losses and set sizes of all images at all lambdas would fill gigabytes: each entry is made when it is asked for.
"""

from collections.abc import Sequence

import numpy as np


class Lazy(Sequence):
    """A list whose entries are computed by `make(index)` when they are asked for."""

    def __init__(self, count, make):
        self._count, self._make = count, make

    def __len__(self):
        return self._count

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self._make(place) for place in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return self._make(index % self._count)


def plain_lists(value):
    """Return a value with each Lazy as a list, in dictionaries, lists and tuples too."""
    if isinstance(value, dict):
        return {key: plain_lists(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return tuple(plain_lists(each) for each in value)
    if isinstance(value, (list, Lazy)):
        return [plain_lists(each) for each in value]
    return value


def prediction_sets(level, lambdas):
    """Return (lower edges, upper edges) of a level at each lambda: two Lazy of float64 (N, K)."""
    low = Lazy(len(lambdas), lambda place: level.point - lambdas[place] * level.intervals.below)
    high = Lazy(len(lambdas), lambda place: level.point + lambdas[place] * level.intervals.above)
    return low, high


def losses(level, lambdas):
    """Return a Lazy of float64 (N, K) for each lambda: 1 where the set misses the truth, 0 where it covers it."""
    if level.first is not None:
        return Lazy(len(lambdas), lambda place: (level.first > place).astype(np.float64))
    edges = prediction_sets(level, lambdas)

    def missed(place):
        return (~((edges[0][place] < level.truth) & (level.truth < edges[1][place]))).astype(np.float64)

    return Lazy(len(lambdas), missed)


def level_stats(level, lambdas, runs):
    """Return the entry of all_rcps_stats of a level: its own sizes and risks of all images at each run's lambda."""
    at = runs.lambdas[:, 0]
    miss = losses(level, lambdas)

    def sizes(run):
        return at[run] * (level.intervals.below + level.intervals.above) * level.scale

    def risks(run):
        place = runs.places[run, 0]
        return np.full(level.count, np.nan) if place < 0 else miss[place].mean(axis=1)  # no lambda passed in that run

    return {"all_set_sizes": Lazy(len(at), sizes), "all_emp_risks": Lazy(len(at), risks),
            "mean_emp_risks": [np.float64(value) for value in runs.risks], "lambda_calib": at.copy(),
            "idx_lambda_calib": [int(place) for place in runs.places[:, 0]]}


def published_results(levels, lambdas, runs):
    """Return the four entries of calibration_results.pkl, their large arrays as Lazy.

    levels: [Level].  lambdas: the grid.  runs: the Runs of all levels pooled.
    """
    return {
        "all_rcps_stats": {level.name: level_stats(level, lambdas, runs) for level in levels},
        "all_prediction_sets": {level.name: [prediction_sets(level, lambdas)] for level in levels},
        "all_losses_per_lambda": {level.name: [losses(level, lambdas)] for level in levels},
        "test_idx_list": {level.name: list(runs.test) if place == 0 else [] for place, level in enumerate(levels)},
    }


def pickle_size(levels, lambdas, runs):
    """Return about how many bytes the pickle of published_results has."""
    cells = sum(level.point.size for level in levels)
    return 8 * cells * (3 * len(lambdas) + len(runs.risks)) + 8 * sum(level.count for level in levels) * len(runs.risks)
