"""Selections: the order of a seed, quotas that add up, classes, percentiles, the same set in storage order."""

import numpy as np
import pytest

from common.errors import InputError
from tools.extract_real_imagenet.select import draw_classes, keep_percentiles, quotas, sample_order, select

CLASSES = np.random.RandomState(3).randint(0, 7, 500)


def test_a_plain_selection_is_the_beginning_of_the_permutation():
    chosen = select(CLASSES, 40, 10)
    np.testing.assert_array_equal(chosen.indices, np.random.RandomState(10).permutation(500)[:40])
    assert chosen.extends
    np.testing.assert_array_equal(select(CLASSES, 999, 10).indices, sample_order(10, 500))


def test_storage_order_visits_the_same_set():
    chosen = select(CLASSES, 40, 10, order="storage")
    np.testing.assert_array_equal(chosen.indices, np.sort(select(CLASSES, 40, 10).indices))
    assert not chosen.extends


def test_balanced_samples_add_up_and_short_classes_are_told():
    kinds = CLASSES.copy()
    kinds[np.flatnonzero(kinds == 5)[2:]] = -1
    chosen = select(kinds, 31, 1, wanted=[1, 2, 5, 6], balanced=True)
    found = {kind: int((kinds[chosen.indices] == kind).sum()) for kind in (1, 2, 5, 6)}
    assert found == {1: 8, 2: 8, 5: 2, 6: 7}
    assert chosen.short == {5: (8, 2)}
    assert quotas(31, [1, 2, 5, 6]) == {1: 8, 2: 8, 5: 8, 6: 7}
    order = sample_order(1, 500)
    first = order[kinds[order] == 1][:8]
    np.testing.assert_array_equal(chosen.indices[kinds[chosen.indices] == 1], first)


def test_fewer_samples_than_classes_are_possible():
    chosen = select(CLASSES, 3, 1, balanced=True)
    assert sorted(CLASSES[chosen.indices]) == [0, 1, 2]


def test_percentiles_overall_and_within_classes():
    scores = np.random.RandomState(0).rand(500)
    scores[7] = np.nan
    kept = keep_percentiles(scores, 25, 75)
    told = scores[np.isfinite(scores)]
    assert not kept[7]
    assert kept.sum() == ((told >= np.percentile(told, 25)) & (told <= np.percentile(told, 75))).sum()
    within = keep_percentiles(scores, 90, 100, CLASSES)
    for kind in range(7):
        members = (kind == CLASSES) & np.isfinite(scores)
        assert 0.08 < within[members].mean() < 0.13
        assert scores[members & within].min() >= scores[members & ~within].max()
    with pytest.raises(InputError):
        keep_percentiles(scores, 60, 40)


def test_classes_are_drawn_like_the_original():
    drawn = np.random.RandomState(10).choice(1000, 100, replace=False)
    assert draw_classes(10, 100, range(1000)) == sorted(drawn.tolist())
    assert draw_classes(10, 4, [0, 1, 2, 7]) == [0, 1, 2, 7]
    with pytest.raises(InputError):
        draw_classes(10, 5, range(4))


def test_unknown_classes_are_never_taken_and_nothing_left_is_said():
    kinds = np.array([-1, 3, -1, 3])
    assert sorted(select(kinds, 10, 0).indices) == [1, 3]
    with pytest.raises(InputError, match="no image is selected"):
        select(kinds, 10, 0, wanted=[2])
