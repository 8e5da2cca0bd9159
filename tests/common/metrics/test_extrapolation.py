"""The distance at infinitely many images: without the bias of few, and with an interval that covers the truth."""

import numpy as np
import pytest

from common.errors import InputError
from common.features.statistics import Statistics, frechet, statistics_of_rows
from common.metrics.extrapolation import frechet_infinity
from common.metrics.intervals import frechet_error


def features(count, seed, shift=0.0):
    rows = np.random.default_rng(seed).standard_normal((count, 8)) * np.arange(1, 9) ** -0.5 + shift
    return rows.astype(np.float32)


@pytest.mark.parametrize(("shift", "truth"), [(0.0, 0.0), (0.5, 8 * 0.25)])
def test_the_bias_of_few_images_is_gone_and_the_interval_covers_the_truth(shift, truth):
    found, plain, covered = [], [], 0
    for seed in range(40):
        sides = [Statistics(features=features(240, 2 * seed + side, side * shift)) for side in (0, 1)]
        value, error = frechet_infinity(*sides, frechet_error(*sides))
        found.append(value)
        plain.append(frechet(*sides))
        covered += abs(value - truth) < 1.96 * error
    assert abs(np.mean(found) - truth) < 3 * np.std(found) / np.sqrt(40)
    if not shift:
        assert np.mean(plain) > 6 * np.std(found) / np.sqrt(40)  # the bias that is gone
    assert covered >= 34


def test_parts_do_not_depend_on_the_blocks(monkeypatch):
    sides = [Statistics(features=features(100, seed)) for seed in (1, 2)]
    expected = frechet_infinity(*sides)[0]
    monkeypatch.setattr("common.formats.rows.BLOCK", 7)
    assert frechet_infinity(*sides)[0] == pytest.approx(expected, rel=1e-9)
    halves = [[side.features[part::2] for side in sides] for part in (0, 1)]
    thirds = [[side.features[part::3] for side in sides] for part in (0, 1, 2)]
    means = [np.mean([frechet(*(Statistics(features=rows) for rows in pair)) for pair in parts])
             for parts in ([[side.features for side in sides]], halves, thirds)]
    assert expected == pytest.approx(3 * means[0] - 3 * means[1] + means[2], rel=1e-9)


def test_a_side_without_rows_is_exact_and_too_few_rows_are_refused():
    known = statistics_of_rows([features(50_000, 3)], 8)
    value, error = frechet_infinity(Statistics(features=features(300, 4)), known)
    assert error is None
    assert abs(value) < 0.05
    for sides in ((known, known), (Statistics(features=features(20, 5)), known)):
        with pytest.raises(InputError, match="needs 27 images"):
            frechet_infinity(*sides)
