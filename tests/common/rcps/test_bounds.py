"""Bounds on a risk: check values, least numbers of images, and that they are what their names say."""

import math

import numpy as np
import pytest
from scipy.stats import beta, binom, kstest

from common.rcps.bounds import (
    BOUNDS,
    RiskTest,
    as_fraction,
    as_level,
    binomial_bound,
    constant_bet,
    counted_bound,
    log_capital,
    predictable_bets,
)
from common.rcps.choice import NoLambda, choose_exact, no_lambda, too_few
from common.rcps.splits import split_images

LEAST = [("crc", 0.1, 0.1, 9), ("crc", 0.05, 0.05, 19), ("hb", 0.1, 0.1, 22), ("hb", 0.05, 0.05, 59),
         ("hb", 0.1, 0.01, 44), ("binomial", 0.1, 0.1, 22), ("binomial", 0.05, 0.05, 59), ("binomial", 0.1, 0.01, 44),
         ("wsr", 0.1, 0.1, 25), ("wsr", 0.05, 0.05, 63), ("wsr", 0.1, 0.01, 49), ("bernstein", 0.1, 0.1, 71),
         ("bernstein", 0.05, 0.05, 174), ("bernstein", 0.1, 0.01, 125), ("hoeffding", 0.1, 0.1, 116),
         ("hoeffding", 0.05, 0.05, 600), ("hoeffding", 0.1, 0.01, 231)]


@pytest.mark.parametrize(("bound", "alpha", "delta", "least"), LEAST)
def test_least_number_of_images(bound, alpha, delta, least):
    test = RiskTest(bound, alpha, delta, 1)
    assert test.least_images() == least
    assert test.claims(np.zeros(least, int))
    assert not test.claims(np.zeros(least - 1, int))


def test_check_values_of_the_constant_bet():
    bets = [constant_bet(number, 33, 0.1, 0.1) for number in (50, 200, 2000)]
    assert bets == pytest.approx([1.11, 1.11, 0.381531], abs=1e-6)
    misses = np.repeat([0, 1, 2, 3, 4, 5, 8], [20, 40, 50, 40, 30, 15, 5])
    capital = log_capital(misses / 33, np.full(200, bets[1]), 0.1)[-1]
    assert capital == pytest.approx(5.168959, abs=1e-6)
    assert RiskTest("bet", 0.1, 0.1, 33).claims(misses)


def test_check_values_of_the_binomial_bound():
    found = [binomial_bound(14, 200, 0.1), binomial_bound(1, 50, 0.1), binomial_bound(0, 50, 0.1)]
    assert found == pytest.approx([0.0990894, 0.0755806, 0.0450074], abs=1e-6)


def test_check_values_of_bernstein_and_clt():
    losses = np.full(200, 0.08)
    losses[:100] += 0.1 * math.sqrt(199 / 200)  # mean 0.08, deviation 0.1 with n - 1
    losses[100:] -= 0.1 * math.sqrt(199 / 200)
    scale = 10**12  # shares of so many entries: whole numbers
    misses = np.rint(losses * scale).astype(np.int64)
    found = {bound: RiskTest(bound, 0.1, 0.1, scale).upper_bound(misses) for bound in ("bernstein", "clt")}
    assert found["bernstein"] == pytest.approx(0.1324340, abs=1e-6)
    assert found["clt"] == pytest.approx(0.0890619, abs=1e-6)


def test_capital_depends_on_the_order():
    def highest(*places):
        losses = np.zeros(50)
        losses[list(places)] = 1
        return log_capital(losses, predictable_bets(losses, 0.1), 0.1).max()

    assert [highest(0, 3), highest(3), highest(49)] == pytest.approx([2.455730, 2.211465, 4.603447], abs=1e-6)


@pytest.mark.parametrize("number", [50, 200])
def test_halves_of_wsr(number):
    losses = (np.random.default_rng(0).random((4000, number)) < 0.105).astype(int)
    below = RiskTest("wsr", 0.105, 0.1, 1).claims(losses).mean()  # the bound lies below a true risk of 0.105
    assert below <= 0.1


def test_compare_with_alpha():
    misses = np.zeros(60, int)
    misses[:6] = 1
    for bound in ("hb", "wsr", "binomial"):
        test = RiskTest(bound, 0.2, 0.01, 1)
        assert bool(test.claims(misses)) == (test.upper_bound(misses) <= 0.2)
    assert RiskTest("hb", 0.2, 0.01, 1).claims(np.zeros(60, int))  # delta 0.01 is not a threshold


def test_n_plus_one():
    assert RiskTest("crc", 0.29, 0.1, 1).allowed(99) == 28
    assert as_fraction(0.29).limit_denominator() == as_fraction(29 / 100)
    assert len(next(split_images(100, 1, 0.29))[0]) == 29
    assert len(next(split_images(100, 1, 0.8, "published"))[0]) == 80


def test_float_levels():
    assert as_level(0.1 + 0.2) == 0.3 == as_level(0.7 - 0.4)
    misses = np.random.default_rng(1).integers(0, 9, 300)
    for bound in (*BOUNDS[:2], "hb", "crc"):
        three = [RiskTest(bound, as_level(alpha), 0.1, 33).claims(misses) for alpha in (0.3, 0.1 + 0.2, 0.7 - 0.4)]
        assert three[0] == three[1] == three[2]
        assert RiskTest(bound, 0.1 + 0.2, 0.1, 33) == RiskTest(bound, 0.3, 0.1, 33)


def test_unattainable_is_not_clamped():
    with pytest.raises(NoLambda, match="at least 9 are needed"):
        choose_exact(np.random.default_rng(0).random((5, 3)), RiskTest("crc", 0.1, 0.1, 3))
    values = np.random.default_rng(0).random((20, 3))
    assert "at least 25 are needed" in str(no_lambda(values, RiskTest("wsr", 0.1, 0.1, 3)))
    assert "delta" not in str(no_lambda(values[:1], RiskTest("crc", 0.1, 0.1, 3)))


def test_unattainable_counts_the_images_that_are_needed_in_all():
    wsr = RiskTest("wsr", 0.1, 0.1, 3)  # 25 losses
    assert "30 images are too few (24 of them are left to choose lambda)" in str(too_few(wsr, 30, 24, 0.2))
    assert "at least 31 are needed" in str(too_few(wsr, 30, 24, 0.2))  # int(0.2 * 31) give the shape, 25 are left
    assert "1 image is too few: with bound wsr" in str(too_few(wsr, 1, 3))
    assert "at least 9 are needed" in str(too_few(wsr, 8, 24))  # at three levels each


@pytest.mark.parametrize("bound", ["wsr", "anytime"])
def test_compare_with_alpha_where_few_losses_bound_nothing(bound):
    rng = np.random.default_rng(5)
    for number in (1, 2, 12):
        for _ in range(50):
            test, misses = RiskTest(bound, 0.3, 0.5, 3), rng.integers(0, 4, number)
            assert bool(test.claims(misses)) == (test.upper_bound(misses) <= 0.3)


@pytest.mark.parametrize("bound", [*BOUNDS, "crc"])
def test_claim_is_bound_at_most_alpha(bound):
    rng = np.random.default_rng(3)
    for width in (1,) if bound == "binomial" else (1, 5):
        for rate in (0.02, 0.05, 0.08, 0.11):
            misses = rng.binomial(width, rate, 150)
            test = RiskTest(bound, 0.1, 0.1, width)
            upper = test.upper_bound(misses)
            if abs(upper - 0.1) > 1e-9:
                assert bool(test.claims(misses)) == (upper < 0.1)


def test_binomial_bound_is_where_the_tail_is_delta():
    mu = binomial_bound(7, 90, 0.05)
    assert binom.cdf(7, 90, mu) == pytest.approx(0.05, abs=1e-12)


def test_a_mean_of_zero_is_bounded_below_one():
    assert counted_bound("kl", 0.0, 0, 40, 0.1) == pytest.approx(1 - 0.1 ** (1 / 40), abs=1e-9)
    assert counted_bound("hb", 0.0, 0, 40, 0.1) <= 1 - 0.1 ** (1 / 40) + 1e-9


def test_whole_numbers_of_misses():
    number, count = 22, 15  # 22 * (15 / 22) is below 15
    assert math.floor(number * (count / number)) == 14
    assert RiskTest("bentkus", 0.8, 0.1, 1).upper_bound(np.repeat([1, 0], [15, 7])) == \
        counted_bound("bentkus", count / number, 15, number, 0.1)


def test_crc_risk_follows_its_beta_law():
    values = np.random.default_rng(5).random((20_000, 99))  # a lambda of l misses 1 - l
    test = RiskTest("crc", 0.1, 0.1, 1)
    risks = [1 - choose_exact(row[:, None], test) for row in values]
    assert kstest(risks, beta(10, 90).cdf).pvalue > 1e-3
