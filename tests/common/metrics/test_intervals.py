"""Standard errors against leaving groups out by hand and against repeated draws; the warnings."""

import numpy as np
import pytest

from common.errors import InputError
from common.features.statistics import Statistics, frechet, read_statistics, statistics_of_rows
from common.metrics.frechet import frechet_distance
from common.metrics.intervals import bias_note, frechet_error, frechet_excess, jackknife, usable_groups
from tests.common.metrics.distances import frechet_distance_of_rows


def features(count, width, seed):
    mixing = np.random.default_rng(9).standard_normal((width, width))
    return (np.random.default_rng(seed).standard_normal((count, width)) @ mixing + 1).astype(np.float32)


def test_jackknife_of_means_is_the_standard_error():
    values = np.random.default_rng(0).standard_normal(30)
    left = [np.delete(values, index).mean() for index in range(30)]
    assert jackknife(left) == pytest.approx(values.std(ddof=1) / np.sqrt(30), rel=1e-12)


def test_groups_leave_two_rows():
    assert [usable_groups(10, count) for count in (1, 2, 3, 4, 50)] == [0, 0, 3, 4, 10]
    assert usable_groups(2, 3) == 0
    assert usable_groups(10, 1000, 5) == 5


def weighted(rows, weights):
    """Return mean and covariance of rows (n, D) of these weights (n,)."""
    rows, weights = rows.astype(float), weights / weights.mean()
    mean = weights @ rows / len(rows)
    return mean, (rows - mean).T @ ((rows - mean) * weights[:, None]) / (len(rows) - 1)


def slopes(rows1, rows2, side, step=1e-4):
    """Return how the distance moves with the weight of each row of a side, by differences."""
    def distance(row, change):
        weights = [np.ones(len(rows)) for rows in (rows1, rows2)]
        weights[side][row] += change
        return frechet_distance(*weighted(rows1, weights[0]), *weighted(rows2, weights[1]))

    return np.array([(distance(row, step) - distance(row, -step)) / (2 * step)
                     for row in range(len((rows1, rows2)[side]))])


@pytest.mark.parametrize(("count1", "count2"), [(90, 70), (12, 15), (90, 15), (15, 90), (17, 90), (16, 16)])
def test_frechet_error_is_that_of_the_rows_weights(tmp_path, count1, count2):
    """Rows of one index move together: those of a pair of independent sides do so by chance."""
    rows = features(count1, 16, 1), features(count2, 16, 2)
    moves = [slopes(*rows, side) for side in (0, 1)]
    common = min(count1, count2)
    expected = np.sqrt(np.sum((moves[0][:common] + moves[1][:common]) ** 2)
                       + sum(np.sum(side[common:] ** 2) for side in moves))
    sides = [Statistics(features=side) for side in rows]
    # n or n - 1 in the denominators
    assert frechet_error(*sides) == pytest.approx(expected, rel=1 / common)
    assert frechet_error(*sides[::-1]) == pytest.approx(frechet_error(*sides), rel=1e-4)
    np.savez(tmp_path / "rows.npz", feats=rows[0])
    with read_statistics(tmp_path / "rows.npz") as stored:
        assert frechet_error(stored, sides[1]) == pytest.approx(frechet_error(*sides), rel=1e-4)
        assert frechet(stored, sides[1]) == pytest.approx(frechet_distance_of_rows(*rows), rel=1e-7)


def test_frechet_error_of_a_singular_covariance(tmp_path):
    """More rows than features, one of which never moves."""
    rows = [features(count, 8, seed) for count, seed in ((60, 1), (50, 2))]
    flat = [np.concatenate([side, np.ones((len(side), 2), np.float32)], axis=1) for side in rows]
    assert frechet_error(*(Statistics(features=side) for side in flat)) == pytest.approx(
        frechet_error(*(Statistics(features=side) for side in rows)), rel=1e-3)


@pytest.mark.parametrize("count", [80, 11])
def test_a_side_without_rows_is_exact(count):
    rows, other = features(count, 16, 1), features(90, 16, 2)
    side, known = Statistics(features=rows), statistics_of_rows([other], 16)
    expected = np.sqrt(np.sum(slopes(rows, other, 0) ** 2))
    assert frechet_error(side, known) == pytest.approx(expected, rel=1 / count)
    assert frechet_error(known, side) == pytest.approx(expected, rel=1 / count)
    assert frechet_error(known, known) is None
    assert frechet_error(Statistics(features=rows[:2]), known) is None


def test_frechet_error_and_excess_are_those_of_repeated_draws():
    """Many rows beside the width; 10 groups give an error known to a quarter of its value."""
    shifted, same, errors = [], [], []
    for seed in range(60):
        side1, side2 = (Statistics(features=features(400, 6, 2 * seed + i)) for i in (0, 1))
        moved = Statistics(features=side2.features + np.float32(2))
        shifted.append(frechet(side1, moved))
        errors.append(frechet_error(side1, moved))
        same.append(frechet(side1, side2))
    assert 0.7 < np.mean(errors) / np.std(shifted) < 1.4
    mixing = np.random.default_rng(9).standard_normal((6, 6))
    assert frechet_excess(mixing.T @ mixing, 400, 400) == pytest.approx(np.mean(same), rel=0.15)
    assert frechet_excess(mixing.T @ mixing, 400) == pytest.approx(frechet_excess(mixing.T @ mixing, 400, 400) / 2)


def test_bias_note_tells_of_too_few_images():
    assert bias_note(50000) is None
    assert bias_note(60000) is None
    assert "singular" in bias_note(2048)
    assert "singular" not in bias_note(2049)
    assert "too few for comparison with published" in bias_note(5000)
    assert "by about 4.5" in bias_note(5000, excess=4.5)
    assert "with fewer the FID is too high" in bias_note(10000)
    assert "singular" in bias_note(100, width=128)
    assert bias_note(500, width=128) is None


@pytest.mark.parametrize("scale", [1e-30, 1e19, 1e37])
def test_M9_the_error_scales_with_the_features(scale):
    sides = [features(count, 8, seed).astype(np.float64) for seed, count in ((1, 60), (2, 50))]
    expected = frechet_error(*(Statistics(features=side) for side in sides))
    scaled = frechet_error(*(Statistics(features=side * scale) for side in sides))
    assert scaled / scale**2 == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("count", [60, 5])
def test_rows_that_are_all_equal_have_a_distance_and_an_error(count):
    """Of a generator that always makes the same image."""
    rows, equal = features(60, 8, 1), np.ones((count, 8), np.float32)
    sides = Statistics(features=rows), Statistics(features=equal)
    mean = rows.mean(axis=0, dtype=np.float64)
    expected = np.sum((mean - 1) ** 2) + np.var(rows.astype(np.float64), axis=0, ddof=1).sum()
    assert frechet(*sides) == pytest.approx(expected, rel=1e-9)
    assert frechet_error(*sides) == pytest.approx(frechet_error(*sides[::-1]), rel=1e-6)
    assert frechet_error(sides[1], sides[1]) == 0.0


def test_M9_features_whose_squares_are_beyond_all_numbers_are_refused():
    for count in (5, 50):
        sides = [Statistics(features=features(count, 8, seed).astype(np.float64) * 1e100) for seed in (1, 2)]
        with pytest.raises(InputError, match="too large for a Frechet distance"):
            frechet(*sides)
