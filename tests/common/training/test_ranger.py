"""Ranger against a plain implementation with numbers of its own, and its state."""

import math

import numpy as np
import pytest
import torch

from common.errors import InputError
from common.training.optim import Optimiser, Schedule
from common.training.ranger import Ranger, rectification
from common.training.state import TrainingState


def plain_ranger(weights, gradients, lr, beta1=0.95, beta2=0.999, eps=1e-5):
    """Return the weights after steps with these gradients, in float64 and written as in the papers."""
    mean, square, slow = np.zeros_like(weights), np.zeros_like(weights), weights.copy()
    longest = 2 / (1 - beta2) - 1
    for step, gradient in enumerate(gradients, 1):
        if gradient.ndim > 1:
            gradient = np.stack([row - row.mean() for row in gradient])
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient**2
        length = longest - 2 * step * beta2**step / (1 - beta2**step)
        unbiased = mean / (1 - beta1**step)
        if length > 5:
            variance = ((length - 4) * (length - 2) * longest) / ((longest - 4) * (longest - 2) * length)
            weights = weights - lr * math.sqrt(variance * (1 - beta2**step)) * unbiased / (np.sqrt(square) + eps)
        else:
            weights = weights - lr * unbiased
        if step % 6 == 0:
            slow = slow + 0.5 * (weights - slow)
            weights = slow.copy()
    return weights


@pytest.mark.parametrize("shape", [(5,), (4, 3), (4, 3, 2, 2)])
def test_ranger_is_rectified_adam_with_look_ahead_and_centred_gradients(shape):
    draws = np.random.default_rng(0)
    first, gradients = draws.normal(size=shape), draws.normal(size=(40, *shape))
    weight = torch.nn.Parameter(torch.tensor(first, dtype=torch.float32))
    ranger = Ranger([weight], lr=0.03)
    for gradient in gradients:
        weight.grad = torch.tensor(gradient, dtype=torch.float32)
        ranger.step()
    np.testing.assert_allclose(weight.detach().numpy(), plain_ranger(first, gradients, 0.03), rtol=2e-5, atol=2e-6)


def test_the_second_moment_counts_from_the_sixth_step_on():
    assert [rectification(step, 0.95, 0.999)[1] for step in range(1, 8)] == [False] * 5 + [True] * 2


def state_of(seed):
    torch.manual_seed(seed)
    network = torch.nn.Linear(3, 2)
    optimiser = Optimiser(Ranger(network.parameters(), lr=0.1), Schedule(0.1))
    return network, optimiser, TrainingState({"n": network}, {"n": optimiser}, {})


def updated(network, optimiser, steps):
    for step in steps:
        optimiser.optimiser.zero_grad()
        network(torch.full((4, 3), float(step))).square().sum().backward()
        optimiser.step(optimiser.norm())


def test_a_stored_ranger_goes_on_with_the_same_numbers(tmp_path):
    network, optimiser, state = state_of(0)
    updated(network, optimiser, range(8))
    state.save(tmp_path / "s.pth", 8)
    again, other, loaded = state_of(1)
    assert loaded.load(tmp_path / "s.pth")[0] == 8
    for each, own in ((network, optimiser), (again, other)):
        updated(each, own, range(8, 15))
    assert torch.equal(network.weight, again.weight)


def test_a_damaged_slow_weight_is_refused(tmp_path):
    network, optimiser, state = state_of(0)
    updated(network, optimiser, range(2))
    optimiser.optimiser.state[network.weight]["slow"][0, 0] = float("nan")
    state.save(tmp_path / "s.pth", 2)
    with pytest.raises(InputError, match="slow"):
        state_of(1)[2].load(tmp_path / "s.pth")
