"""Samplers of score models: predictor-corrector and ODE (Song et al. 2021), stochastic multistep (Lu et al. 2022).

All samplers, here and in `edm_samplers`, are `sample_x(denoise, noise, sigmas, ...) -> x`:
denoise: called as denoise(x, sigma); `denoiser` adapts scores and EDM networks to it, and counts calls.
noise: each call returns the next (B, C, H, W) standard normal tensor: the prior, then step by step (`UnitNoise`).
sigmas: noise levels in descending order, the last 0.  x: samples (B, C, H, W) before any clipping.
"""

import math
from dataclasses import dataclass

import torch

from common.diffusion.denoiser import score_of, select
from common.diffusion.rk45 import solve_rk45
from common.diffusion.scores import drift
from common.diffusion.sde import VESDE
from common.nn.shapes import per_image


@dataclass(frozen=True)
class PCOptions:
    """Settings of the predictor-corrector sampler; defaults are the paper's."""

    predictor: str = "reverse_diffusion"  # or euler_maruyama, ancestral_sampling, none
    corrector: str = "langevin"  # or ald, none
    snr: float = 0.16  # target signal-to-noise ratio of the corrector, called r in the paper
    n_steps_each: int = 1
    noise_removal: bool = True
    last_step_snr: float = 0.036
    probability_flow: bool = False
    coupling: str = "image"  # "batch": Langevin steps from batch means, as the original


@dataclass(frozen=True)
class Step:
    """One step of predictor and corrector."""

    sigma: torch.Tensor  # (B,), the level at which the network is called
    level: float  # the step goes from this level of the discrete chain
    below: float  # to this one
    diffusion: torch.Tensor  # (B,), g(t) of the SDE
    num_scales: int


@torch.no_grad()
def sample_pc(denoise, noise, sigmas, options=PCOptions(), sde=None, trace=None, advance=None):
    """Return samples float32: corrector, then predictor, at each of the N = len(sigmas) - 1 levels above 0.

    sde: the VE SDE that sigmas, its `reverse_sigmas`, discretise. The network is then called at its sigma(t), for N
    times t from 1 down to eps, as in the original; without it at the levels themselves.
    trace: a list that receives (x after corrector, x after predictor) of each step.  advance: called once a step.
    Without noise removal the last mean gets noise of standard deviation 2 last_step_snr^2, as in the original.
    """
    score, num_scales = score_of(denoise), len(sigmas) - 1
    predict, correct = PREDICTORS[options.predictor], CORRECTORS[options.corrector]
    called_at = sigmas[:-1] if sde is None else sde.sigma(sde.timesteps(num_scales)).tolist()
    sde = sde or VESDE(sigmas[-2], sigmas[0])
    x = mean = sde.sigma_max * noise()
    for level, below, called in zip(sigmas[:-1], sigmas[1:], called_at):
        sigma = torch.full((len(x),), called, device=x.device)
        step = Step(sigma, level, below, sde.diffusion_at(sigma), num_scales)
        for _ in range(options.n_steps_each):
            x = correct(score, x, step, noise, options)
        corrected = x
        x, mean = predict(score, x, step, noise, options)
        if trace is not None:
            trace.append((corrected, x))
        if advance is not None:
            advance()
    return mean if options.noise_removal else x + noise() * (2 * options.last_step_snr**2)


def langevin(score, x, step, noise, options):
    """One Langevin step whose size keeps the signal-to-noise ratio at snr (Song et al. 2021, algorithm 4)."""
    gradient, z = score(x, step.sigma), noise()
    gradient_norm, noise_norm = (value.flatten(1).norm(dim=1) for value in (gradient, z))
    if options.coupling == "batch":
        gradient_norm, noise_norm = (value.mean().expand(len(x)) for value in (gradient_norm, noise_norm))
    size = per_image(2 * (options.snr * noise_norm / gradient_norm) ** 2, x)
    return x + size * gradient + torch.sqrt(2 * size) * z


def annealed_langevin(score, x, step, noise, options):
    """One step of annealed Langevin dynamics (Song and Ermon 2019) of size 2 (snr sigma)^2."""
    size = per_image(2 * (options.snr * step.sigma) ** 2, x)
    return x + size * score(x, step.sigma) + torch.sqrt(2 * size) * noise()


def no_correction(score, x, step, noise, options):
    """Return x unchanged."""
    return x


def reverse_diffusion(score, x, step, noise, options):
    """The reverse SDE discretised like the forward one: mean x + G^2 s, noise G (Song et al. 2021, eq. 46)."""
    g2 = step.level**2 - step.below**2
    mean = x + g2 * score(x, step.sigma) * (0.5 if options.probability_flow else 1.0)
    return (mean if options.probability_flow else mean + math.sqrt(g2) * noise()), mean


def ancestral_sampling(score, x, step, noise, options):
    """Ancestral sampling of the discrete chain (Song et al. 2021, eq. 47)."""
    g2 = step.level**2 - step.below**2
    mean = x + g2 * score(x, step.sigma)
    return mean + math.sqrt(step.below**2 * g2 / step.level**2) * noise(), mean


def euler_maruyama(score, x, step, noise, options):
    """An Euler-Maruyama step of length 1 / N of the reverse SDE."""
    g, length = per_image(step.diffusion, x), 1 / step.num_scales
    mean = x + g**2 * score(x, step.sigma) / step.num_scales * (0.5 if options.probability_flow else 1.0)
    return (mean if options.probability_flow else mean + g * math.sqrt(length) * noise()), mean


def no_prediction(score, x, step, noise, options):
    """Return x unchanged, and as the mean."""
    return x, x


PREDICTORS = {"reverse_diffusion": reverse_diffusion, "ancestral_sampling": ancestral_sampling,
              "euler_maruyama": euler_maruyama, "none": no_prediction}
CORRECTORS = {"langevin": langevin, "ald": annealed_langevin, "none": no_correction}


@torch.no_grad()
def sample_ode(denoise, noise, sigmas, rtol=1e-4, atol=1e-6, eps=0.0, coupling="image"):
    """Return samples float32 of the probability-flow ODE by Dormand-Prince 5(4), t from 1 to eps.

    sigmas: (first, last) level of the VE SDE, sigma(t) = last (first / last)^t; a 0 after them requests one noiseless
    predictor step at eps, in which G^2 = last^2.  coupling: "batch" solves all images as one system, as the original.
    """
    sde, start = VESDE(sigmas[1], sigmas[0], eps), sigmas[0] * noise()
    shape, count = start.shape, len(start)

    def rates(t, state, rows):
        images = state.reshape(-1, *shape[1:]).float()
        score = score_of(denoise if coupling == "batch" else select(denoise, rows))
        return drift(score, sde, images, t.float().expand(len(images))).double().reshape(state.shape)

    state = start.double().reshape((1, -1) if coupling == "batch" else (count, -1))
    state, _ = solve_rk45(rates, 1.0, eps, state, rtol, atol)
    x = state.reshape(shape).float()
    if sigmas[-1] > 0:
        return x
    return x + sde.sigma_min**2 * score_of(denoise)(x, sde.sigma(torch.full((count,), eps, device=x.device)))


@torch.no_grad()
def sample_multistep(denoise, noise, sigmas, eta=1.0, advance=None):
    """Return samples of stochastic DPM-Solver++(2M) (Lu et al. 2022, algorithm 2 with SDE steps): one call a step.

    eta: stochasticity: 1 follows the reverse SDE, 0 the probability-flow ODE, more than 1 adds Langevin noise and
    drift, as a corrector does. With lambda = -log sigma and h its increase, a step is exact for a denoised image that
    is linear in lambda, with the slope of the last two calls.  advance: called once a step.
    """
    x = sigmas[0] * noise()
    previous, h_previous = None, None
    for sigma, sigma_next in zip(sigmas[:-1], sigmas[1:]):
        denoised = denoise(x, sigma)
        if sigma_next == 0:
            x = denoised
        else:
            h = math.log(sigma / sigma_next)
            decay = math.exp(-(1 + eta) * h)  # of x's distance to the denoised image
            x = math.exp(-h * eta) * (sigma_next / sigma) * x + (1 - decay) * denoised
            if previous is not None:
                x = x + 0.5 * (1 - decay) * (h / h_previous) * (denoised - previous)  # second order
            x = x + sigma_next * math.sqrt(1 - math.exp(-2 * eta * h)) * noise()
            previous, h_previous = denoised, h
        if advance is not None:
            advance()
    return x
