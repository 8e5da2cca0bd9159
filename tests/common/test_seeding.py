"""Draws of a unit depend on the seed and the unit alone."""

import numpy as np
import torch

from common.seeding import rademacher, unit_generator, unit_numpy, unit_seed


def test_a_unit_draws_the_same_whoever_drew_before():
    alone = torch.randn(5, generator=unit_generator(1, "noise", 7))
    for unit in range(7):
        torch.randn(100, generator=unit_generator(1, "noise", unit))
    assert torch.equal(alone, torch.randn(5, generator=unit_generator(1, "noise", 7)))
    assert np.array_equal(unit_numpy(1, 7).permutation(9), unit_numpy(1, 7).permutation(9))


def test_units_streams_and_seeds_differ():
    names = [(seed, stream, unit) for seed in range(5) for stream in ("a", "b") for unit in range(50)]
    seeds = {unit_seed(*name) for name in names}
    assert len(seeds) == len(names)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert unit_seed(1, 23) != unit_seed(12, 3)


def test_seeds_stay_what_they_were():
    """Published samples are named by their seed: the rule is fixed for good."""
    assert unit_seed(42, "sample", 0) == 4261018728641486134


def test_global_generators_are_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    rademacher((3, 4), unit_generator(0, 1))
    assert torch.equal(before, torch.get_rng_state())


def test_rademacher_is_fair_signs():
    signs = rademacher((200, 200), unit_generator(3, "signs"))
    assert signs.dtype == torch.float32
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(signs.mean()) < 4 / 200
