"""Samplers against closed forms and plain formulas."""

import math

import pytest
import torch

from common.diffusion.edm_samplers import Churn, sample_few, sample_heun
from common.diffusion.schedules import karras_sigmas
from common.images.pixels import to_uint8

SPREAD = 0.5  # standard deviation of the data in these tests


def gaussian(x, sigma):
    """The denoiser of data N(0, SPREAD^2)."""
    return x * SPREAD**2 / (SPREAD**2 + sigma**2)


def given(*tensors):
    return iter(tensors).__next__


def noise(count, shape=(2, 1, 4, 4), seed=0):
    return torch.randn((count, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_heun_follows_the_flow_of_gaussian_data_to_second_order():
    start = noise(1)[0]
    exact = 80 * start * SPREAD / math.sqrt(SPREAD**2 + 80**2)  # x / sqrt(s^2 + sigma^2) stays as it is
    errors = [(sample_heun(gaussian, given(start), karras_sigmas(steps, 0.002, 80)) - exact).abs().max()
              for steps in (32, 64, 128)]
    assert errors[2] < 2e-3
    assert errors[0] / errors[1] > 3.3
    assert errors[1] / errors[2] > 3.3


def test_heun_calls_the_network_twice_a_step_but_for_the_last():
    called, steps = [], []

    def denoise(x, sigma):
        called.append(sigma)
        return gaussian(x, sigma)

    sigmas = karras_sigmas(5, 0.002, 80)
    sample_heun(denoise, given(noise(1)[0]), sigmas, advance=lambda: steps.append(1))
    assert len(called) == 9
    assert len(steps) == 5
    assert called == [sigmas[0], *[level for level in sigmas[1:-1] for _ in range(2)]]


def test_churn_keeps_the_spread_of_the_data():
    generator = torch.Generator().manual_seed(0)
    churn = Churn(40, 0.05, 50, 1.0)
    samples = sample_heun(gaussian, lambda: torch.randn((400, 1, 4, 4), generator=generator),
                          karras_sigmas(250, 0.002, 80), churn)
    assert samples.std().item() == pytest.approx(SPREAD, rel=0.03)


def test_churn_raises_levels_inside_its_range_alone_and_at_most_by_sqrt2():
    churn = Churn(40, 0.05, 50, 1.003)
    assert churn.gamma(80, 18) == churn.gamma(0.01, 18) == 0
    assert churn.gamma(1.0, 256) == 40 / 256
    assert churn.gamma(1.0, 18) == math.sqrt(2) - 1
    first, second = noise(2)
    sigmas, levels = [4.0, 0.0], []
    out = sample_heun(lambda x, sigma: levels.append(sigma) or x * 0, given(first, second), sigmas, churn)
    assert levels == [4 * math.sqrt(2)]
    torch.testing.assert_close(out, torch.zeros_like(out))


def test_few_steps_add_the_next_levels_noise_to_each_prediction():
    start, one, two = noise(3)
    trace = []
    out = sample_few(gaussian, given(start, one, two), [80.0, 4.0, 0.5, 0.0], trace=trace)
    first = gaussian(80 * start, 80)
    second = gaussian(first + 4 * one, 4)
    torch.testing.assert_close(torch.stack(trace), torch.stack([first, second, gaussian(second + 0.5 * two, 0.5)]))
    assert torch.equal(out, trace[-1])
    fed = sample_few(gaussian, given(start), [80.0, 4.0, 0.5, 0.0], stochastic=False)
    torch.testing.assert_close(fed, gaussian(gaussian(first, 4), 0.5))
    torch.testing.assert_close(sample_few(gaussian, given(start), [80.0, 0.0]), first)


def test_uint8_is_cut_off_not_rounded_in_both_conventions():
    values = torch.tensor([-2.0, -1.0, 0.0, 0.999, 1.0, 7.0]).reshape(1, 1, 1, 6)
    assert to_uint8(values, "dmd2").flatten().tolist() == [0, 0, 127, 254, 255, 255]
    assert to_uint8(values, "edm").flatten().tolist() == [0, 0, 128, 255, 255, 255]
    assert to_uint8(torch.zeros(2, 3, 4, 5), "dmd2").shape == (2, 4, 5, 3)
