"""Frechet distance against closed forms and an independent formula, with full, few and degenerate rows."""

import numpy as np
import pytest

from common.errors import InputError
from common.metrics.frechet import (
    FeatureStatistics,
    Gaussian,
    frechet_distance,
    frechet_distance_between,
)
from tests.common.metrics.distances import frechet_distance_of_rows


def features(count, width, seed, rank=None):
    """Rows about an offset, of a given rank."""
    generator = np.random.default_rng(seed)
    rank = rank or width
    return (generator.standard_normal((count, rank)) @ np.random.default_rng(9).standard_normal((rank, width))
            + 0.3).astype(np.float32)


def moments(rows):
    statistics = FeatureStatistics(rows.shape[1])
    statistics.add(rows)
    return statistics.mean, statistics.covariance()


def map_moments(*sides):
    return [value for rows in sides for value in moments(rows)]


def nuclear_norm_distance(rows1, rows2):
    """tr (S1 S2)^(1/2) is the sum of the singular values of A B^T, A and B the centred rows over sqrt(n - 1)."""
    a, b = ((rows.astype(float) - rows.astype(float).mean(0)) / np.sqrt(len(rows) - 1) for rows in (rows1, rows2))
    shift = rows1.astype(float).mean(0) - rows2.astype(float).mean(0)
    return shift @ shift + (a**2).sum() + (b**2).sum() - 2 * np.linalg.svd(a @ b.T, compute_uv=False).sum()


PAIRS = {
    "full rank": (features(300, 24, 1), features(200, 24, 2)),
    "few": (features(9, 24, 1), features(14, 24, 2)),
    "one side few": (features(9, 24, 1), features(200, 24, 2)),
    "other side few": (features(200, 24, 1), features(9, 24, 2)),
    "low rank": (features(200, 24, 1, rank=5), features(150, 24, 2, rank=5)),
    "one side low rank": (features(200, 24, 1), features(150, 24, 2, rank=5)),
    "constant": (np.ones((6, 24), np.float32), features(100, 24, 2)),
    "barely full rank": (features(25, 24, 1), features(25, 24, 2)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_both_forms_agree_with_the_singular_values_of_the_features(name):
    rows1, rows2 = PAIRS[name]
    expected = nuclear_norm_distance(rows1, rows2)
    assert frechet_distance(*moments(rows1), *moments(rows2)) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    few = [len(rows) <= 24 for rows in (rows1, rows2)]
    if any(few):  # else both sides are covariances, as above
        assert frechet_distance_of_rows(rows1, rows2) == pytest.approx(expected, rel=1e-12 if all(few) else 1e-7)


def test_closed_form_of_commuting_covariances():
    generator = np.random.default_rng(3)
    basis = np.linalg.qr(generator.standard_normal((40, 40)))[0]
    for zeros in (0, 15, 40):
        values1, values2 = generator.uniform(0.1, 5, (2, 40))
        values1[:zeros] = 0
        covariances = [(basis * values) @ basis.T for values in (values1, values2)]
        expected = 4.0 * 40 + np.sum((np.sqrt(values1) - np.sqrt(values2)) ** 2)
        assert frechet_distance(np.zeros(40), covariances[0], np.full(40, 2.0),
                                covariances[1]) == pytest.approx(expected, rel=1e-9)


def test_ill_conditioned_covariances_keep_their_digits():
    values = np.logspace(0, -16, 60)
    basis = np.linalg.qr(np.random.default_rng(4).standard_normal((60, 60)))[0]
    covariance = (basis * values) @ basis.T
    covariance = (covariance + covariance.T) / 2
    distance = frechet_distance(np.zeros(60), covariance, np.zeros(60), 4 * covariance)
    assert distance == pytest.approx(values.sum(), rel=1e-8)


def test_identical_sets_have_distance_zero_and_sides_can_be_swapped():
    rows1, rows2 = PAIRS["full rank"]
    assert frechet_distance(*moments(rows1), *moments(rows1)) == pytest.approx(0, abs=1e-9)
    there, back = (frechet_distance(*moments(a), *moments(b)) for a, b in ((rows1, rows2), (rows2, rows1)))
    assert there == pytest.approx(back, rel=1e-12)


def test_statistics_do_not_depend_on_batches_or_their_order():
    rows = features(500, 10, 5) + 1000
    whole = moments(rows)
    np.testing.assert_allclose(whole[1], np.cov(rows.astype(float), rowvar=False), rtol=1e-9)
    for sizes in ([1] * 500, [7, 93, 400], [0, 500]):
        pieces = np.split(rows, np.cumsum(sizes)[:-1])
        parts = [FeatureStatistics(10), FeatureStatistics(10)]
        for index, piece in enumerate(reversed(pieces)):
            parts[index % 2].add(piece)
        parts[0].merge(parts[1])
        assert parts[0].count == 500
        np.testing.assert_allclose(parts[0].mean, whole[0], rtol=1e-13)
        np.testing.assert_allclose(parts[0].covariance(), whole[1], rtol=1e-9, atol=1e-12)


def test_order_of_rows_is_of_no_consequence():
    generator = np.random.default_rng(6)
    for rows1, rows2 in PAIRS.values():
        shuffled = [rows[generator.permutation(len(rows))] for rows in (rows1, rows2)]
        if min(len(rows1), len(rows2)) < 24:
            expected = frechet_distance_of_rows(rows1, rows2)
            assert frechet_distance_of_rows(*shuffled) == pytest.approx(expected, rel=1e-9)
        if min(np.linalg.matrix_rank(rows - rows.mean(0)) for rows in (rows1, rows2)) == rows1.shape[1]:
            expected = frechet_distance(*map_moments(rows1, rows2))
            assert frechet_distance(*map_moments(*shuffled)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["few", "one side few", "other side few", "full rank"])
def test_sides_held_as_rows_or_as_covariances_give_the_same(name):
    rows = PAIRS[name]
    sides = [Gaussian.of_few(side) if len(side) <= 24 else Gaussian(*moments(side)) for side in rows]
    assert frechet_distance_between(*sides) == pytest.approx(nuclear_norm_distance(*rows), rel=1e-9)
    with pytest.raises(InputError, match="24 and (20|3) wide"):
        frechet_distance_between(sides[0],
                                 Gaussian.of_few(rows[1][:5, :20]) if "few" in name
                                 else Gaussian(np.zeros(3), np.eye(3)))


def test_input_errors():
    rows = features(20, 4, 1)
    broken = rows.copy()
    broken[3, 2] = np.nan
    for call, what in (
        (lambda: FeatureStatistics(5).add(rows), "expected"),
        (lambda: FeatureStatistics(4).add(broken), "NaN"),
        (lambda: moments(rows[:1]), "too few"),
        (lambda: frechet_distance_of_rows(rows, broken), "NaN"),
        (lambda: frechet_distance_of_rows(rows, rows[:, :3]), "4 and 3 wide"),
        (lambda: frechet_distance_of_rows(rows, rows[:1]), "too few"),
        (lambda: frechet_distance(*moments(rows), *moments(rows[:, :3])), "differ in size"),
        (lambda: frechet_distance(np.full(4, np.inf), np.eye(4), np.zeros(4), np.eye(4)), "NaN or infinity"),
    ):
        with pytest.raises(InputError, match=what):
            call()
