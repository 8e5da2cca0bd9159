"""Sampling as a library: a chain that diverges ends early, a solver that throws its trial steps away does not."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from common.diffusion.score_sampling import Sampler
from common.errors import InputError
from common.score.config import preset
from common.score.models import build_sde

SETTINGS = preset("u_digits")


def sampler(score, **sampling):
    """Return the Sampler of a score of 4x4 grey images."""
    model = SimpleNamespace(score=score, sde=build_sde(SETTINGS), image_shape=(1, 4, 4), path="checkpoint.pth")
    return Sampler(model, {**SETTINGS["sampling"], **sampling})


def gaussian(x, sigma):
    """The score of a normal distribution of deviation 1, with noise."""
    return -x / (1 + sigma[:, None, None, None] ** 2)


@pytest.mark.parametrize("method", ["pc", "multistep"])
def test_a_chain_that_diverges_ends_early(method):
    calls = itertools.count(1)
    score = sampler(lambda x, sigma: gaussian(x, sigma) * (1 if next(calls) < 70 else torch.inf), method=method,
                    num_scales=1000, num_steps=2000)
    with pytest.raises(InputError, match=r"not finite: the score at network call 100"):
        score.draw(0, np.arange(2), "cpu")
    assert next(calls) == 101


def test_a_trial_step_of_the_ode_may_have_no_finite_value():
    calls = itertools.count(1)
    drawn = sampler(lambda x, sigma: gaussian(x, sigma) * (torch.inf if next(calls) == 50 else 1), method="ode")
    x, _ = drawn.draw(0, np.arange(1), "cpu")
    plain, _ = sampler(gaussian, method="ode").draw(0, np.arange(1), "cpu")
    torch.testing.assert_close(x, plain, rtol=1e-3, atol=1e-3)
