"""Every sampler takes every denoiser: scores and networks are two forms of one function, calls are counted by image."""

import pytest
import torch

from common.diffusion.denoiser import CountedCalls, Denoiser, ScoreDenoiser, score_of, select
from common.diffusion.edm_samplers import sample_few, sample_heun
from common.diffusion.noise import UnitNoise
from common.diffusion.schedules import karras_sigmas
from common.diffusion.score_samplers import PCOptions, sample_multistep, sample_ode, sample_pc
from tests.common.networks.adm_makers import draws, small_network

SPREAD = 0.5  # standard deviation of the data
SHAPE, COUNT = (1, 4, 4), 600
SIGMAS = karras_sigmas(60, 0.01, 10.0)
# The Langevin corrector, which divides by the score's norm, is tried on larger images in test_score_samplers.
SAMPLERS = {
    "pc": lambda denoise, noise: sample_pc(denoise, noise, SIGMAS, PCOptions(corrector="ald")),
    "euler": lambda denoise, noise: sample_pc(denoise, noise, SIGMAS, PCOptions("euler_maruyama", "ald")),
    "ode": lambda denoise, noise: sample_ode(denoise, noise, [10.0, 0.01, 0.0]),
    "multistep": lambda denoise, noise: sample_multistep(denoise, noise, SIGMAS),
    "heun": lambda denoise, noise: sample_heun(denoise, noise, SIGMAS),
}


def gaussian(x, sigma):
    """The denoiser of data N(0, SPREAD^2), as a network has it."""
    sigma = torch.as_tensor(sigma, device=x.device).reshape(-1, 1, 1, 1)
    return x * SPREAD**2 / (SPREAD**2 + sigma**2)


def gaussian_score(x, sigma):
    return -x / (SPREAD**2 + sigma.reshape(-1, 1, 1, 1) ** 2)


@pytest.mark.parametrize("method", SAMPLERS)
@pytest.mark.parametrize("denoise", [gaussian, ScoreDenoiser(gaussian_score)], ids=["denoiser", "score"])
def test_every_sampler_gives_the_moments_of_the_data_from_either_form(method, denoise):
    x = SAMPLERS[method](denoise, UnitNoise(0, range(COUNT), SHAPE))
    assert x.shape == (COUNT, *SHAPE)
    assert abs(float(x.mean())) < 0.02
    assert float(x.std()) == pytest.approx(SPREAD, rel=0.05)


@pytest.mark.parametrize("method", SAMPLERS)
def test_both_forms_give_the_same_images(method):
    first, second = (SAMPLERS[method](denoise, UnitNoise(0, range(6), SHAPE))
                     for denoise in (gaussian, ScoreDenoiser(gaussian_score)))
    torch.testing.assert_close(first.float(), second.float(), rtol=1e-3, atol=1e-3)


def test_the_few_step_sampler_takes_a_score_too():
    first, second = (sample_few(denoise, UnitNoise(0, range(6), SHAPE), [80.0, 2.0, 0.5, 0.0])
                     for denoise in (gaussian, ScoreDenoiser(gaussian_score)))
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_a_score_comes_back_exactly_and_a_network_s_by_the_equation():
    x, sigma = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0)), torch.tensor([0.1, 1.0, 7.0])
    assert score_of(ScoreDenoiser(gaussian_score)) is gaussian_score
    torch.testing.assert_close(score_of(gaussian)(x, sigma), gaussian_score(x, sigma))
    torch.testing.assert_close(ScoreDenoiser(gaussian_score)(x, sigma), gaussian(x, sigma))
    assert torch.equal(ScoreDenoiser(gaussian_score)(x, 0.3), x + 0.3**2 * gaussian_score(x, torch.full((3,), 0.3)))


@torch.no_grad()
def test_labels_masks_and_counts_go_with_the_images():
    network, rows = small_network(), torch.tensor([2, 0])
    x, sigma, labels = draws(network)
    replace = {"midblock": torch.arange(3.0).reshape(3, 1, 1, 1).expand(3, 64, 4, 4)}
    counted = CountedCalls(Denoiser(network, labels, 1.5, replace), 3)
    whole = counted(x, sigma)
    torch.testing.assert_close(select(counted, rows)(x[rows], sigma[rows]), whole[rows], rtol=1e-4, atol=1e-5)
    assert counted.calls.tolist() == [2, 1, 2]
    torch.testing.assert_close(select(Denoiser(network), rows)(x[rows], 0.4), Denoiser(network)(x, 0.4)[rows],
                               rtol=1e-4, atol=1e-5)


class Spreads:
    """The denoiser of images of which each has data of its own spread."""

    def __init__(self, spreads):
        self.spreads = spreads

    def __call__(self, x, sigma):
        square = self.spreads.reshape(-1, 1, 1, 1) ** 2
        return x * square / (square + sigma.reshape(-1, 1, 1, 1) ** 2)

    def select(self, rows):
        return Spreads(self.spreads[rows])


def test_images_that_the_solver_is_done_with_take_what_is_theirs_along():
    spreads = torch.tensor([0.001, 0.1, 1.0, 8.0])
    counted = CountedCalls(Spreads(spreads), 4)
    whole = sample_ode(counted, UnitNoise(0, range(4), SHAPE), [10.0, 0.01, 0.0])
    assert len(counted.calls.unique()) > 1  # so that some really left early
    for row in range(4):
        alone = sample_ode(Spreads(spreads[[row]]), UnitNoise(0, [row], SHAPE), [10.0, 0.01, 0.0])
        torch.testing.assert_close(whole[[row]], alone, rtol=1e-3, atol=1e-5)
