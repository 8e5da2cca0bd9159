"""From the intervals of difficulty levels to the lambda that their sets need, and its spread over splits."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from common.errors import InputError, Parameter
from common.numerals import counted
from common.rcps.bounds import RiskTest, as_fraction
from common.rcps.choice import GRIDS, NoLambda, choose_exact, choose_first_hit, choose_rigorous, no_lambda, too_few
from common.rcps.levels import level_groups
from common.rcps.sets import SIDES, count_misses, critical_values, image_values, misses_from_first
from common.rcps.splits import image_order, split_images


@dataclass(frozen=True)
class Rules:
    """How lambda is chosen: the flags of calibrate_rcps of the same names.

    shape: None, or the share of the calibration images that gives each coordinate a width of its own.
    grid: "fine", "published", or None for the exact lambda of a monotone bound.
    """

    alpha: float = 0.1
    delta: float = 0.1
    bound: str = "wsr"
    loss: str = "fraction"
    levels_as: str = "mean"
    shape: float | None = None
    sides: str = "one"
    rule: str = "rigorous"
    grid: str | None = "fine"
    runs: int = 50
    share: float = 0.8
    splits: str = "seeded"
    seed: int = 0
    published_count: bool = False

    @property
    def arms(self):
        """The sides that have a lambda of their own: (None,) for both together."""
        return SIDES if self.sides == "separate" else (None,)

    def arm_loss(self, side):
        """Return the loss of an arm that has a lambda of its own.

        Misses of both arms add up: no more than J // 2 below and J - J // 2 above are no more than J in all.
        """
        if len(self.arms) == 1 or not self.loss.startswith("more_than:"):
            return self.loss
        most = int(self.loss.removeprefix("more_than:"))
        return f"more_than:{most // 2 if side == 0 else most - most // 2}"


@dataclass
class Setting:
    """What a choice gives: a lambda for each arm that has its own.

    lambdas: float64 (1,), or (2,) for the lower and the upper arm; NaN where none passes.  places: their places in the
    grid, -1 where there is none or lambda is exact.  shape: float64 (K,), factors of the arms.  images: those that the
    test looked at, in order.
    """

    lambdas: np.ndarray
    places: np.ndarray
    shape: np.ndarray
    images: np.ndarray | None = None


class Group:
    """Levels that share a lambda, and the losses of their images.

    name, members, delta: see level_groups.  levels: [Intervals] of the members.
    firsts: [(N, K)] of sets.first_covering on the grid, which replaces exact critical values there (parity), or None.
    """

    def __init__(self, name, members, delta, levels, rules, firsts=None):
        self.name, self.members, self.delta, self.rules = name, members, delta, rules
        self.sides = [[critical_values(level, side) for level in levels] for side in rules.arms]
        self.count, self.num_dims = levels[0].residual.shape
        self.plain = np.ones(self.num_dims)
        self._firsts = firsts

    def test(self, width):
        """Return the RiskTest of one arm, or of both together."""
        parts = len(self.sides)
        return RiskTest(self.rules.bound, self.rules.alpha / parts, self.delta / parts, width,
                    self.rules.published_count)

    def matrix(self, side, images, shape=None):
        """Return the critical values (n, width) of the losses of some images, in units of the shape."""
        parts = [critical[images] if shape is None else critical[images] / shape for critical in self.sides[side]]
        parts = [image_values(part, self.rules.arm_loss(side)) for part in parts]
        return np.concatenate(parts, axis=0 if self.rules.levels_as == "pooled" else 1)

    def rows(self, images):
        """Return where the losses of some images lie among those of all."""
        copies = len(self.members) if self.rules.levels_as == "pooled" else 1
        return np.concatenate([images + copy * self.count for copy in range(copies)])

    @cached_property
    def tables(self):
        """Misses (L, n) of all images on the grid, for each arm that has its own lambda."""
        grid, everyone = GRIDS[self.rules.grid], np.arange(self.count)
        if self._firsts is not None:
            axis = 0 if self.rules.levels_as == "pooled" else 1
            return [misses_from_first(np.concatenate(self._firsts, axis=axis), len(grid))]
        return [count_misses(self.matrix(side, everyone), grid) for side in range(len(self.sides))]

    def image_losses(self, images, setting):
        """Return the mean loss over the levels of each image: float64 (n,)."""
        found = [share_missed(self.missed(place, setting, images), self.rules.loss)
                 for place in range(len(self.members))]
        return np.mean(found, axis=0)

    def missed(self, place, setting, images=slice(None)):
        """Return bools (n, K): which truths of a member the sets do not cover."""
        found = False
        for side, value in zip(self.sides, setting.lambdas, strict=True):
            found = found | (side[place][images] >= value * setting.shape)
        return found

    def choose(self, images):
        """Return the Setting for images in the order in which the test looks at them. Raises NoLambda."""
        given = len(images)
        shape, images = self._shape(images)
        lambdas, places = [], []
        for side in range(len(self.sides)):
            try:
                value, place = self._choose_arm(side, images, shape)
            except NoLambda as error:
                if error.reason == "images":
                    error = too_few(self.test(self.width), given, len(self.rows(images)), self.rules.shape or 0.0)
                error.where = error.where or (self.name if self.name != self.rules.levels_as else None)
                raise error from None
            lambdas.append(value)
            places.append(place)
        return Setting(np.array(lambdas), np.array(places), self.plain if shape is None else shape, images)

    def _shape(self, images):
        """Return (each coordinate's conformal quantile (K,), the images that are left to calibrate), or (None, all)."""
        if self.rules.shape is None:
            return None, images
        count = int(self.rules.shape * len(images))
        if count < 1:
            raise InputError(f"is less than one of {counted(len(images), 'image')}", where=Parameter("shape",
                             f"per_dim:{self.rules.shape:g}"), do="Pass a larger share, or calibrate with more images")
        values = np.concatenate([critical[images[:count]] for side in self.sides for critical in side])
        return conformal_quantiles(values[:, :], self.rules.alpha), images[count:]

    def _choose_arm(self, side, images, shape):
        """Return (lambda, its place in the grid or -1)."""
        if self.rules.grid is None:
            critical = self.matrix(side, images, shape)
            return choose_exact(critical, self.test(critical.shape[1])), -1
        grid, rows = GRIDS[self.rules.grid], self.rows(images)
        if shape is None:
            table = self.tables[side]
            test = self.test(self.width)
        else:
            critical = self.matrix(side, images, shape)
            table, rows, test = count_misses(critical, grid), np.arange(len(critical)), self.test(critical.shape[1])
        if self.rules.rule == "first_hit":
            place = choose_first_hit(table, rows, table[:, rows].sum(axis=1, dtype=np.int64), test)
        else:
            place = choose_rigorous(np.take(table, rows, axis=1), test)
        if place is None:
            raise no_lambda(self.matrix(side, images, shape), test, grid)
        return grid[place], place

    @cached_property
    def width(self):
        """How many entries a loss is the share of."""
        inner = self.num_dims if self.rules.loss == "fraction" else 1
        return inner * (1 if self.rules.levels_as == "pooled" else len(self.members))


def share_missed(missed, loss):
    """Return the loss of each image, float64 (n,), from bools (n, K)."""
    count = missed.sum(axis=1)
    if loss == "fraction":
        return count / missed.shape[1]
    return (count > (0 if loss == "any" else int(loss.removeprefix("more_than:")))).astype(np.float64)


def conformal_quantiles(values, alpha):
    """Return each column's ceil((m + 1)(1 - alpha))-th smallest of m values (m, K), positive and finite (K,).

    Where that is infinite the largest finite value stands for it: the shape may be any, lambda keeps the promise.
    """
    values = np.sort(values, axis=0)
    place = min(math.ceil((len(values) + 1) * (1 - as_fraction(alpha))), len(values)) - 1  # an exact product
    found = values[place]
    finite = np.where(np.isfinite(values), values, 0).max(axis=0)
    found = np.where(np.isfinite(found), found, finite)
    return np.where(found > 0, found, 1.0)


@dataclass
class Runs:
    """Splits of one group: float64 (runs, arms) lambdas, int64 (runs, arms) places, float64 (runs,) mean losses of
    the test images at these lambdas and at lambda 1 (risks NaN where a run has no lambda), the splits, and the
    [Setting], None where there is none."""

    lambdas: np.ndarray
    places: np.ndarray
    risks: np.ndarray
    plain_risks: np.ndarray
    calibration: np.ndarray
    test: np.ndarray
    settings: list


def make_groups(names, levels, rules, firsts=None):
    """Return the [Group] of levels [Intervals] with these names.  firsts: see Group, for each level."""
    found = []
    for name, members, delta in level_groups(names, [len(level.residual) for level in levels], rules.levels_as,
                                             rules.delta):
        found.append(Group(name, members, delta, [levels[place] for place in members], rules,
                           firsts and [firsts[place] for place in members]))
    return found


def choose_for_all(group):
    """Return the Setting for all images of a group, in the order of the rules. Raises NoLambda."""
    published = group.rules.splits == "published"
    return group.choose(np.arange(group.count) if published else image_order(group.count, group.rules.seed))


def describe(group, setting):
    """Return (mean loss, upper bound) of the images that gave a setting: a list of each arm's, twice."""
    risks, bounds = [], []
    for side, value in enumerate(setting.lambdas):
        critical = group.matrix(side, setting.images, setting.shape)
        misses = (critical >= value).sum(axis=1)
        risks.append(float(misses.sum() / critical.size))
        bounds.append(group.test(critical.shape[1]).upper_bound(misses))
    return risks, bounds


def repeat_splits(group, advance=lambda n=1: None):
    """Return the Runs of a group: how far lambda and the test risk depend on which images calibrate."""
    rules = group.rules
    splits = list(split_images(group.count, rules.runs, rules.share, rules.splits, rules.seed))
    unit = Setting(np.ones(len(group.sides)), np.full(len(group.sides), -1), group.plain)
    plain = group.image_losses(slice(None), unit)
    lambdas = np.full((len(splits), len(group.sides)), np.nan)
    places = np.full(lambdas.shape, -1)
    risks = np.full(len(splits), np.nan)
    quick = rules.rule == "first_hit" and rules.shape is None and len(group.sides) == 1
    settings = []
    for setting in (_choose_quickly if quick else _choose_one_by_one)(group, splits):
        settings.append(setting)
        advance()
    for run, (setting, (_, test)) in enumerate(zip(settings, splits)):
        if setting is not None:
            lambdas[run], places[run] = setting.lambdas, setting.places
            risks[run] = _test_risk(group, setting, test)
    return Runs(lambdas, places, risks, np.array([plain[test].mean() for _, test in splits]),
                np.stack([calibration for calibration, _ in splits]), np.stack([test for _, test in splits]), settings)


def _choose_one_by_one(group, splits):
    for calibration, _ in splits:
        try:
            yield group.choose(calibration)
        except NoLambda:
            yield None


def _choose_quickly(group, splits):
    """Yield the Setting of each split, None for none: sums of all splits on all lambdas by one matrix product."""
    table, grid, test = group.tables[0], GRIDS[group.rules.grid], group.test(group.width)
    rows = [group.rows(calibration) for calibration, _ in splits]
    exact = np.float32 if table.shape[1] * group.width < 2**24 else np.float64  # whole numbers
    chosen = np.zeros((len(rows), table.shape[1]), exact)
    for run, found in enumerate(rows):
        chosen[run, found] = 1
    totals = table.astype(exact) @ chosen.T
    for run, found in enumerate(rows):
        place = choose_first_hit(table, found, totals[:, run], test)
        yield None if place is None else Setting(grid[[place]], np.array([place]), group.plain, found)


def _test_risk(group, setting, images):
    """Return the mean loss of some images at a setting."""
    if setting.places[0] >= 0 and len(group.sides) == 1 and setting.shape is group.plain:
        found = group.tables[0][setting.places[0], group.rows(images)]
        return found.sum(dtype=np.int64) / (found.size * group.width)
    return group.image_losses(images, setting).mean()


@dataclass
class Calibrated:
    """A group with the setting that is kept, and its splits."""

    group: object
    setting: object
    runs: object
    risk: list
    upper_bound: list


def calibrate(levels, rules, advance=lambda n=1: None):
    """Return the [Calibrated] of [Level] at these rules. Raises NoLambda."""
    found = []
    for group in groups_of(levels, rules):
        setting = choose_for_all(group)
        risk, upper = describe(group, setting)
        found.append(Calibrated(group, setting, repeat_splits(group, advance), risk, upper))
    return found


def spread_over_splits(levels, rules):
    """Return [(Group, Runs)] of [Level]: the splits alone, which may find no lambda."""
    return [(group, repeat_splits(group)) for group in groups_of(levels, rules)]


def groups_of(levels, rules):
    """Return the [Group] of [Level]."""
    firsts = [level.first for level in levels] if levels[0].first is not None else None
    return make_groups([level.name for level in levels], [level.intervals for level in levels], rules, firsts)
