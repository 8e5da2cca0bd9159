"""Divisions and rounds share out the images of a job."""

import itertools

import numpy as np
import pytest

from tools.qc_ncsn.sample.rounds import division_bounds, rounds_of


@pytest.mark.parametrize(("total", "divisions", "batch"),
                         [(10, 3, 4), (7, 7, 1), (5, 8, 2), (26032, 5, 2610), (50000, 10, 2500)])
def test_divisions_and_rounds_make_every_image_once(total, divisions, batch):
    made = [rounds_of(*division_bounds(total, divisions, part), batch) for part in range(divisions)]
    indices = np.concatenate(list(itertools.chain.from_iterable(made)))
    assert sorted(indices) == list(range(total))
    assert max(len(one) for one in itertools.chain.from_iterable(made)) <= batch
    sizes = [sum(map(len, part)) for part in made]
    assert max(sizes) - min(sizes) <= 1
