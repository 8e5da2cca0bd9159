"""Standard errors against leaving groups out by hand and against repeated draws; the warnings."""

import numpy as np
import pytest

from common.features.statistics import Statistics, frechet, read_statistics, statistics_of_rows
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


@pytest.mark.parametrize(("count1", "count2"), [(90, 70), (12, 15), (90, 15), (15, 90), (17, 90), (16, 16)])
def test_frechet_error_is_that_of_leaving_groups_out(tmp_path, count1, count2):
    rows = features(count1, 16, 1), features(count2, 16, 2)
    left = [frechet_distance_of_rows(*(side[np.arange(len(side)) % 5 != group] for side in rows))
            for group in range(5)]
    expected = np.sqrt(4 / 5 * np.sum((left - np.mean(left)) ** 2))
    sides = [Statistics(features=side) for side in rows]
    assert frechet_error(*sides, num_groups=5) == pytest.approx(expected, rel=1e-6)
    np.savez(tmp_path / "rows.npz", feats=rows[0])
    with read_statistics(tmp_path / "rows.npz") as stored:
        assert frechet_error(stored, sides[1], num_groups=5) == pytest.approx(expected, rel=1e-6)
        assert frechet(stored, sides[1]) == pytest.approx(frechet_distance_of_rows(*rows), rel=1e-7)


@pytest.mark.parametrize("count", [80, 11])
def test_a_side_without_rows_is_exact(count):
    rows, known = features(count, 16, 1), statistics_of_rows([features(90, 16, 2)], 16)
    side = Statistics(features=rows)
    left = [frechet(Statistics(features=rows[np.arange(count) % 10 != group]), known) for group in range(10)]
    assert frechet_error(side, known) == pytest.approx(jackknife(left), rel=1e-9)
    assert frechet_error(known, side) == pytest.approx(jackknife(left), rel=1e-6)
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
