"""The choice of lambda: exact where the bound is monotone, rigorous on a grid elsewhere."""

import numpy as np
import pytest

from common.rcps.bounds import MONOTONE, RiskTest
from common.rcps.choice import (
    FINE,
    PUBLISHED,
    NoLambda,
    choose_exact,
    choose_first_hit,
    choose_rigorous,
    no_lambda,
)
from common.rcps.sets import (
    count_misses,
    critical_values,
    first_covering,
    image_values,
    make_intervals,
)


def tables():
    """Yield 200 tables of critical values with ties, infinite and zero entries, and values beyond 10."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        table = rng.lognormal(0, 1, (int(rng.integers(10, 60)), int(rng.integers(1, 5))))
        table = np.where(rng.random(table.shape) < 0.3, np.round(table, 1), table)
        table[rng.random(table.shape) < 0.02] = np.inf
        table[rng.random(table.shape) < 0.05] = 0
        table[rng.random(table.shape) < 0.05] *= 30
        yield table


def brute_force(table, test):
    """Return the smallest lambda beyond a critical value from which every larger one passes, None for none."""
    found = None
    for value in np.unique(table[np.isfinite(table)])[::-1]:
        lambda_hat = np.nextafter(value, np.inf)
        if not test.claims((table >= lambda_hat).sum(axis=1)):
            break
        found = lambda_hat
    return found


@pytest.mark.parametrize("bound", [bound for bound in MONOTONE if bound != "binomial"])
def test_exact_lambda_is_that_of_brute_force(bound):
    passing = 0
    for table in tables():
        test = RiskTest(bound, 0.25, 0.2, table.shape[1])
        try:
            lambda_hat = choose_exact(table, test)
        except NoLambda:
            lambda_hat = None
        assert lambda_hat == brute_force(table, test)
        passing += lambda_hat is not None
    assert passing > 20


def test_exact_lambda_of_the_binomial_bound_is_that_of_brute_force():
    for table in tables():
        table, test = image_values(table, "any"), RiskTest("binomial", 0.4, 0.2, 1)
        expected = brute_force(table, test)
        if expected is None:
            with pytest.raises(NoLambda):
                choose_exact(table, test)
        else:
            assert choose_exact(table, test) == expected


def test_constant_bet_does_not_depend_on_the_order():
    rng = np.random.default_rng(1)
    table, test = rng.lognormal(0, 0.5, (300, 5)), RiskTest("bet", 0.1, 0.1, 5)
    assert len({choose_exact(rng.permutation(table), test) for _ in range(20)}) == 1


def test_fine_grid_is_at_most_a_step_above_brute_force():
    rng, test = np.random.default_rng(2), RiskTest("wsr", 0.1, 0.1, 5)
    for _ in range(10):
        table = rng.lognormal(0, 0.5, (120, 5))
        place = choose_rigorous(count_misses(table, FINE), test)
        exact = brute_force(table, test)
        assert exact <= FINE[place] <= exact * 1.002


@pytest.mark.parametrize("seed", range(4))
def test_every_lambda_is_tested_or_has_the_misses_of_one_that_is(seed):
    rng, test = np.random.default_rng(seed), RiskTest("wsr", 0.1, 0.1, 5)
    misses = count_misses(rng.lognormal(0, 0.2, (90, 5)), FINE)  # below and above all critical values nothing changes
    assert (misses[1:] == misses[:-1]).all(axis=1).mean() > 0.2
    failing = [index for index, row in enumerate(misses) if not test.claims(row)]
    assert choose_rigorous(misses, test) == failing[-1] + 1
    assert choose_rigorous(misses[:failing[-1] + 1], test) is None


def test_custom_loss_monotone():
    grid = np.array([1.0, 2.0, 3.0])
    critical = np.zeros((50, 1))
    critical[0], critical[3] = 1.5, 2.5  # misses at lambda 1: images 0 and 3, claimed; at 2: image 3, not; at 3: none
    misses, test = count_misses(critical, grid), RiskTest("wsr", 0.1, 0.1, 1)
    assert test.claims(misses).tolist() == [True, False, True]
    assert choose_rigorous(misses, test) == 2
    assert choose_first_hit(misses, np.arange(50), misses.sum(axis=1), test) == 0


def test_ties():
    critical, test = np.full((100, 1), 1.5), RiskTest("hb", 0.1, 0.1, 1)
    assert choose_exact(critical, test) == np.nextafter(1.5, 2)
    intervals = make_intervals([[1.0]], [[0.0]], [[-2.0]], [[2.0]], 0)
    value = critical_values(intervals)[0, 0]
    assert value == 0.5
    assert count_misses(np.array([[value]]), np.array([value, np.nextafter(value, 1)])).ravel().tolist() == [1, 0]


def test_no_lambda_is_said():
    critical = np.random.default_rng(0).random((200, 4))
    critical[:100] = np.inf
    with pytest.raises(NoLambda, match=r"0\.5000 of the truths lie on a side") as caught:
        choose_exact(critical, RiskTest("hb", 0.1, 0.1, 4))
    assert caught.value.reason == "floor"
    assert no_lambda(critical, RiskTest("wsr", 0.1, 0.1, 4), FINE).reason == "floor"
    assert no_lambda(20 + np.zeros((200, 4)), RiskTest("wsr", 0.1, 0.1, 4), FINE).reason == "grid"
    critical = np.full((200, 4), 20.0)  # beyond the grid; half of the truths lie on the other side of the point
    critical[:, 2:] = -np.inf
    assert no_lambda(critical, RiskTest("wsr", 0.1, 0.1, 4), FINE).reason == "grid"


def literal_misses(point, below, above, truth, grid):
    """Return misses (L, N) by forming every set."""
    return np.stack([(~((point - value * below < truth) & (truth < point + value * above))).sum(axis=1)
                     for value in grid])


def test_critical_values_say_when_literal_sets_cover():
    rng = np.random.default_rng(4)
    shape = (200, 6)
    truth, point = rng.normal(size=shape).astype(np.float32), rng.normal(size=shape).astype(np.float32)
    lower, upper = point - rng.random(shape).astype(np.float32), point + rng.random(shape).astype(np.float32)
    lower[::17] = point[::17] + 0.1  # crossed
    truth[::13] = point[::13]
    truth[5], lower[5], upper[5] = 1, 1, 3
    intervals = make_intervals(truth, point, lower, upper, 0)
    found = count_misses(critical_values(intervals), PUBLISHED)
    below, above = np.maximum(point - lower, 0), np.maximum(upper - point, 0)
    first = first_covering(point, below, above, truth, PUBLISHED)
    expected = literal_misses(point, below, above, truth, PUBLISHED)
    literal = (first[None] > np.arange(len(PUBLISHED))[:, None, None]).sum(axis=2)
    assert (literal == expected).all()
    assert np.abs(found.astype(int) - expected).max() <= 1  # rounding at most
    assert (np.diff(found.astype(int), axis=0) <= 0).all()


def test_crossing_counted():
    truth, point = np.zeros((4, 1)), np.zeros((4, 1))
    lower, upper = np.array([[1.0], [1.0], [-2.0], [-1.0]]), np.array([[-1.0], [2.0], [-1.0], [1.0]])
    intervals = make_intervals(truth + [[0.5], [-0.5], [0.5], [0.5]], point, lower, upper, 0)
    assert intervals.crossed.ravel().tolist() == [True, True, True, False]  # l > u, l > h, u < h
    assert min(intervals.below.min(), intervals.above.min()) >= 0  # sets are never inverted
    assert np.isinf(critical_values(intervals)).ravel().tolist() == [True, True, True, False]


def test_losses_of_an_image():
    critical = np.array([[1.0, 3.0, 2.0]])
    assert image_values(critical, "any").tolist() == [[3.0]]
    assert image_values(critical, "more_than:1").tolist() == [[2.0]]
    assert image_values(critical, "fraction") is critical
