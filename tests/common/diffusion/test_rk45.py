"""The solver takes scipy's steps, and each row takes its own."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from common.diffusion.rk45 import StepTooSmall, solve_rk45


def van_der_pol(t, y):
    return np.stack([y[..., 1], 3.0 * (1 - y[..., 0] ** 2) * y[..., 1] - y[..., 0]], axis=-1)


def stiff_oscillation(t, y):
    t = np.asarray(t)[..., None] if np.ndim(t) else t
    return -20 * y + 20 * np.cos(5 * t) * np.array([1.0, -2.0])


def growth(t, y):
    return 0.5 * y


SYSTEMS = {"van der Pol": (van_der_pol, 0, 8), "oscillation": (stiff_oscillation, 0, 3), "growth": (growth, 0, 2),
           "backwards": (stiff_oscillation, 0.3, 0)}


def ours(system, start, end, y, rtol, atol):
    def function(t, state, rows):
        return torch.from_numpy(np.asarray(system(t.numpy(), state.numpy())))

    return solve_rk45(function, start, end, torch.from_numpy(np.asarray(y)), rtol, atol)


@pytest.mark.parametrize(("rtol", "atol"), [(1e-3, 1e-6), (1e-6, 1e-8), (1e-1, 1e-2)])
@pytest.mark.parametrize("name", SYSTEMS)
def test_one_system_takes_scipys_steps(name, rtol, atol):
    system, start, end = SYSTEMS[name]
    y = np.array([2.0, -1.0])
    theirs = solve_ivp(system, (start, end), y, method="RK45", rtol=rtol, atol=atol)
    got, evaluations = ours(system, start, end, y[None], rtol, atol)
    assert int(evaluations[0]) == theirs.nfev
    np.testing.assert_allclose(got[0].numpy(), theirs.y[:, -1], rtol=1e-9)


def test_a_batch_as_one_system_takes_scipys_steps():
    """As `coupling=batch` does: all rows in one state, one step and one error norm."""
    y = np.random.default_rng(0).normal(size=(5, 2))

    def flat(t, state):
        return van_der_pol(t, state.reshape(5, 2)).reshape(-1)

    theirs = solve_ivp(flat, (0, 5), y.reshape(-1), method="RK45", rtol=1e-4, atol=1e-6)
    got, evaluations = ours(lambda t, state: flat(t, state)[None], 0, 5, y.reshape(1, -1), 1e-4, 1e-6)
    assert int(evaluations[0]) == theirs.nfev
    np.testing.assert_allclose(got[0].numpy(), theirs.y[:, -1], rtol=1e-9)


def test_each_row_takes_the_steps_it_takes_alone():
    y = np.array([[2.0, 0.0], [0.1, 0.1], [-3.0, 5.0], [1.0, 1.0]])
    together, evaluations = ours(van_der_pol, 0, 6, y, 1e-5, 1e-8)
    assert len(set(evaluations.tolist())) > 1
    for index in range(len(y)):
        alone, count = ours(van_der_pol, 0, 6, y[index : index + 1], 1e-5, 1e-8)
        # one row or four may go through other kernels, and so round otherwise
        torch.testing.assert_close(alone[0], together[index], rtol=1e-9, atol=1e-9)
        assert count[0] == evaluations[index]


def test_rows_are_told_by_number_when_others_are_done():
    """The function gets the numbers of the rows that are left: a row's constants stay its own."""
    rate = torch.tensor([0.1, 30.0, 3.0], dtype=torch.float64)
    y, _ = solve_rk45(lambda t, y, rows: -rate[rows][:, None] * y, 0.0, 1.0, torch.ones(3, 4, dtype=torch.float64),
                      1e-8, 1e-10)
    np.testing.assert_allclose(y.numpy(), np.exp(-rate.numpy())[:, None].repeat(4, 1), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("rate", [lambda t, y, rows: y**2, lambda t, y, rows: y * math.nan])
def test_a_solution_that_ends_in_between_is_named(rate):
    with pytest.raises(StepTooSmall, match="no finite solution at this tolerance. Pass a larger `rtol`"):
        solve_rk45(rate, 0.0, 2.0, torch.ones(1, 1, dtype=torch.float64), 1e-4, 1e-6)
