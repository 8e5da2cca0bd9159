"""The choice of images against the statements that clean-fid runs."""

import random

import pytest

from common.features.subset import choose_subset

NAMES = sorted(f"images/{kind}/{index:03}.jpg" for kind in "Axy" for index in range(20))


@pytest.mark.parametrize("seed", [0, 5])
def test_shuffle_is_that_of_the_seeded_global_generator(seed):
    shuffled, before = list(NAMES), random.getstate()
    random.seed(seed)
    random.shuffle(shuffled)
    random.setstate(before)
    assert choose_subset(NAMES, 7, shuffle=True, seed=seed) == shuffled[:7]
    assert random.getstate() == before


def test_without_a_number_or_shuffle_the_order_stays():
    for num in (None, -1):
        assert choose_subset(NAMES, num, shuffle=True) == NAMES
    assert choose_subset(NAMES, 7) == NAMES[:7]
    assert sorted(choose_subset(NAMES, 1000, shuffle=True)) == NAMES
