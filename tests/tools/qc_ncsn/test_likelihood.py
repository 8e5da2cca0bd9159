"""Bits/dim of Gaussian data with the exact score are those of the closed form."""

import math

import pytest
import torch

from common.diffusion.scores import NetworkScore
from common.diffusion.sde import VESDE
from common.seeding import rademacher
from tests.common.score.makers import Gaussian, draws, small_network
from tools.qc_ncsn.likelihood import bits_per_dim, drift_and_divergence


def exact_bits_per_dim(gaussian, sde, x):
    """Return the bits/dim of N(mean, covariance + sigma(eps)^2 I), which is what the ODE measures."""
    blur = float(sde.sigma(torch.tensor(sde.eps, dtype=torch.float64)))
    covariance = gaussian.covariance() + blur**2 * torch.eye(gaussian.count)
    normal = torch.distributions.MultivariateNormal(gaussian.mean, covariance_matrix=covariance)
    return -normal.log_prob(x.double().flatten(1)) / (gaussian.count * math.log(2)) + 8


def solved_bits_per_dim(gaussian, sde, x, epsilon):
    """Return (bits/dim, latents) of the ODE solved by hand, with the prior N(0, sigma_max^2) that the method
    assumes."""
    blur = float(sde.sigma(torch.tensor(sde.eps, dtype=torch.float64))) ** 2
    ratio = (gaussian.values + sde.sigma_max**2) / (gaussian.values + blur)
    centred = (x.double().flatten(1) - gaussian.mean) @ gaussian.basis
    latents = gaussian.mean + (centred * ratio.sqrt()) @ gaussian.basis.T
    change = (0.5 * (epsilon.double().flatten(1) @ gaussian.basis) ** 2 * ratio.log()).sum(1)
    log_p = torch.distributions.Normal(0, sde.sigma_max).log_prob(latents).sum(1) + change
    return -log_p / (gaussian.count * math.log(2)) + 8, latents


@pytest.mark.parametrize("coupling", ["image", "batch"])
def test_exact_scores_give_the_exact_density(coupling):
    """Centred data: the prior fits. A diagonal covariance: every vector gives the exact trace."""
    gaussian, sde = Gaussian(size=4, diagonal=True, centred=True), VESDE()
    x = gaussian.sample(5)
    epsilon = rademacher(tuple(x.shape), torch.Generator().manual_seed(0))
    bpd, _, calls = bits_per_dim(gaussian.score, sde, x, epsilon, rtol=1e-5, atol=1e-5, coupling=coupling)
    assert float((bpd - exact_bits_per_dim(gaussian, sde, x)).abs().max()) < 1e-3
    assert len(set(calls.tolist())) == 1 or coupling == "image"


@pytest.mark.parametrize("coupling", ["image", "batch"])
def test_any_gaussian_has_the_likelihood_and_the_latents_of_the_closed_form(coupling):
    gaussian, sde = Gaussian(size=4), VESDE()
    x = gaussian.sample(5)
    epsilon = rademacher(tuple(x.shape), torch.Generator().manual_seed(0))
    bpd, latents, _ = bits_per_dim(gaussian.score, sde, x, epsilon, rtol=1e-5, atol=1e-5, coupling=coupling)
    expected, ends = solved_bits_per_dim(gaussian, sde, x, epsilon)
    assert float((bpd - expected).abs().max()) < 1e-3
    torch.testing.assert_close(latents.flatten(1), ends, rtol=1e-3, atol=1e-2)


def test_full_covariances_agree_in_the_mean_over_vectors():
    gaussian, sde = Gaussian(size=2, centred=True), VESDE()
    x = gaussian.sample(1).expand(400, -1, -1, -1).contiguous()
    epsilon = rademacher(tuple(x.shape), torch.Generator().manual_seed(0))
    bpd, _, _ = bits_per_dim(gaussian.score, sde, x, epsilon, rtol=1e-5, atol=1e-5)
    exact = float(exact_bits_per_dim(gaussian, sde, x[:1]))
    assert abs(float(bpd.mean()) - exact) < 1e-3 + 4 * float(bpd.std()) / 20


def test_tighter_tolerances_come_nearer():
    gaussian, sde = Gaussian(size=4, diagonal=True), VESDE()
    x = gaussian.sample(5)
    epsilon = torch.ones_like(x)
    exact, _ = solved_bits_per_dim(gaussian, sde, x, epsilon)
    errors = [float((bits_per_dim(gaussian.score, sde, x, epsilon, rtol, rtol)[0] - exact).abs().max())
              for rtol in (1e-1, 1e-2, 1e-5)]
    assert errors[2] < 1e-3 < errors[0]
    assert errors[2] < errors[1] < 0.2


def test_an_image_has_the_likelihood_it_has_alone():
    """Bit for bit in the solver; the network's batched kernels may round otherwise, hence the tolerance."""
    network, sde = small_network(image_size=4, ch_mult=(1,)).eval(), VESDE(sigma_max=5.0)
    x, _, _ = draws(network, 2)  # two images of other likelihoods, which need other numbers of steps
    x = x.clamp(0, 1)
    epsilon = rademacher(tuple(x.shape), torch.Generator().manual_seed(0))
    score = NetworkScore(network.requires_grad_(False))
    together, _, _ = bits_per_dim(score, sde, x, epsilon, rtol=1e-2, atol=1e-2)
    alone = torch.cat([bits_per_dim(score, sde, x[i : i + 1], epsilon[i : i + 1], rtol=1e-2, atol=1e-2)[0]
                       for i in range(2)])
    torch.testing.assert_close(together, alone, rtol=0.02, atol=0.02)


def test_the_divergence_is_autograds():
    network, sde = small_network().eval().requires_grad_(False), VESDE()
    x, _, epsilon = draws(network, 3)
    t = torch.tensor([0.1, 0.4, 0.8])
    velocity, divergence = drift_and_divergence(NetworkScore(network), sde, x, t, epsilon)
    point = x.clone().requires_grad_(True)
    f = -0.5 * sde.diffusion(t)[:, None, None, None] ** 2 * network(point, sde.sigma(t))
    expected = torch.autograd.grad((f * epsilon).sum(), point)[0]
    torch.testing.assert_close(velocity, f.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(divergence, (expected * epsilon).flatten(1).sum(1), rtol=1e-3, atol=1e-4)


def test_data_in_another_range_shifts_by_a_bit():
    gaussian, sde = Gaussian(size=2, diagonal=True), VESDE()
    x = gaussian.sample(2)
    in_unit, _, _ = bits_per_dim(gaussian.score, sde, x, torch.ones_like(x))
    centred, _, _ = bits_per_dim(gaussian.score, sde, x, torch.ones_like(x), offset=7.0)
    torch.testing.assert_close(in_unit - centred, torch.ones(2, dtype=torch.float64))
