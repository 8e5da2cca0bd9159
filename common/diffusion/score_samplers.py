"""Samplers of the VE SDE: predictor-corrector and ODE (Song et al. 2021), and stochastic multistep (Lu et al. 2022).

Each takes the score, the SDE and a source of noise, works on float32 images (B, C, H, W) and returns
(samples before any clipping, network calls per image). The noise comes one whole-batch tensor a call, in the order
prior, then step by step; see `common.seeding` and `UnitNoise` for draws that depend on each image alone.
"""


import math
from dataclasses import dataclass

import torch

from common.diffusion.rk45 import solve_rk45
from common.diffusion.scores import drift
from common.nn.shapes import per_image


@dataclass(frozen=True)
class PCOptions:
    """Settings of the predictor-corrector sampler; defaults are the paper's."""

    num_scales: int = 1000
    predictor: str = "reverse_diffusion"  # or euler_maruyama, ancestral_sampling, none
    corrector: str = "langevin"  # or ald, none
    snr: float = 0.16
    n_steps_each: int = 1
    noise_removal: bool = True
    last_step_snr: float = 0.036
    probability_flow: bool = False
    coupling: str = "image"  # "batch": Langevin steps from batch means, as the original


@torch.no_grad()
def sample_pc(score, sde, noise, options, trace=None, advance=None):
    """Return (samples, network calls): corrector, then predictor, at num_scales times from 1 down to eps.

    trace: a list that receives (x after corrector, x after predictor) of each step.  advance: called once a step.
    Without noise removal the last mean gets noise of standard deviation 2 last_step_snr^2, as in the original.
    """
    predict, correct = PREDICTORS[options.predictor], CORRECTORS[options.corrector]
    x = mean = sde.sigma_max * noise()
    steps = zip(sde.timesteps(options.num_scales).tolist(), reverse_sigmas(sde, options.num_scales))
    for time, step_sigmas in steps:
        t = torch.full((len(x),), time, device=x.device)
        for _ in range(options.n_steps_each):
            x = correct(score, sde, x, t, noise, options)
        corrected = x
        x, mean = predict(score, sde, x, t, step_sigmas, noise, options)
        if trace is not None:
            trace.append((corrected, x))
        if advance is not None:
            advance()
    if not options.noise_removal:
        mean = x + noise() * (2 * options.last_step_snr**2)
    return mean, options.num_scales * (options.n_steps_each + 1)


def reverse_sigmas(sde, num_scales):
    """Return [(sigma_j, sigma_{j-1})] of the steps from 1 down to eps; sigma_{-1} = 0."""
    sigmas = [0.0, *sde.discrete_sigmas(num_scales).tolist()]
    return list(zip(sigmas[:0:-1], sigmas[-2::-1]))


def langevin(score, sde, x, t, noise, options):
    """One step of Langevin dynamics whose size keeps the signal-to-noise ratio at snr (Song et al. 2021, algorithm
    4)."""
    gradient, z = score(x, sde.sigma(t)), noise()
    gradient_norm, noise_norm = (value.flatten(1).norm(dim=1) for value in (gradient, z))
    if options.coupling == "batch":
        gradient_norm, noise_norm = (value.mean().expand(len(x)) for value in (gradient_norm, noise_norm))
    step = per_image(2 * (options.snr * noise_norm / gradient_norm) ** 2, x)
    return x + step * gradient + torch.sqrt(2 * step) * z


def annealed_langevin(score, sde, x, t, noise, options):
    """One step of annealed Langevin dynamics (Song and Ermon 2019) of size 2 (snr sigma)^2."""
    step = per_image(2 * (options.snr * sde.sigma(t)) ** 2, x)
    return x + step * score(x, sde.sigma(t)) + torch.sqrt(2 * step) * noise()


def no_correction(score, sde, x, t, noise, options):
    """Leave x as it is."""
    return x


def reverse_diffusion(score, sde, x, t, step_sigmas, noise, options):
    """The reverse SDE discretised as its forward table: mean x + G^2 s, noise G (Song et al. 2021, eq. 46)."""
    g2 = step_sigmas[0] ** 2 - step_sigmas[1] ** 2
    mean = x + g2 * score(x, sde.sigma(t)) * (0.5 if options.probability_flow else 1.0)
    return (mean if options.probability_flow else mean + math.sqrt(g2) * noise()), mean


def ancestral_sampling(score, sde, x, t, step_sigmas, noise, options):
    """Ancestral sampling of the discrete chain (Song et al. 2021, eq. 47)."""
    sigma, below = step_sigmas
    g2 = sigma**2 - below**2
    mean = x + g2 * score(x, sde.sigma(t))
    return mean + math.sqrt(below**2 * g2 / sigma**2) * noise(), mean


def euler_maruyama(score, sde, x, t, step_sigmas, noise, options):
    """An Euler-Maruyama step of length 1 / num_scales of the reverse SDE."""
    g = per_image(sde.diffusion(t), x)
    mean = x + g**2 * score(x, sde.sigma(t)) / options.num_scales * (0.5 if options.probability_flow else 1.0)
    return (mean if options.probability_flow else mean + g * math.sqrt(1 / options.num_scales) * noise()), mean


def no_prediction(score, sde, x, t, step_sigmas, noise, options):
    """Leave x as it is."""
    return x, x


PREDICTORS = {"reverse_diffusion": reverse_diffusion, "ancestral_sampling": ancestral_sampling,
              "euler_maruyama": euler_maruyama, "none": no_prediction}
CORRECTORS = {"langevin": langevin, "ald": annealed_langevin, "none": no_correction}


@torch.no_grad()
def sample_ode(score, sde, start, rtol=1e-4, atol=1e-6, denoise=True, coupling="image"):
    """Return (samples, evaluations (B,) int64) of the probability-flow ODE from t = 1 to eps, Dormand-Prince 5(4).

    start: the state at t = 1, already times sigma_max.  denoise: end with one noiseless predictor step at eps, in
    which G^2 = sigma_min^2.  coupling: "batch" solves all images as one system, as the original.
    """
    shape, count = start.shape, len(start)

    def rates(t, state, rows):
        images = state.reshape(-1, *shape[1:]).float()
        return drift(score, sde, images, t.float().expand(len(images))).double().reshape(state.shape)

    state = start.double().reshape((1, -1) if coupling == "batch" else (count, -1))
    state, evaluations = solve_rk45(rates, 1.0, sde.eps, state, rtol, atol)
    x = state.reshape(shape).float()
    if denoise:
        t = torch.full((count,), sde.eps, device=x.device)
        x = x + sde.sigma_min**2 * score(x, sde.sigma(t))
    return x, evaluations.expand(count)


@torch.no_grad()
def sample_multistep(score, noise, sigmas, eta=1.0, advance=None):
    """Return (samples, network calls) of stochastic DPM-Solver++(2M) (Lu et al. 2022, algorithm 2 with SDE steps).

    sigmas: noise levels, descending, last 0; one network call a step.  eta: how much of the noise is renewed in each
    step: 1 follows the reverse SDE, 0 the probability-flow ODE, more than 1 adds Langevin's noise and drift, as a
    corrector does. With lambda = -log sigma and h its increase, a step
    is exact for a denoised image that is linear in lambda; its slope is that of the last two calls.
    """
    x = sigmas[0] * noise()
    before, h_before = None, None
    for sigma, sigma_next in zip(sigmas[:-1], sigmas[1:]):
        denoised = x + sigma**2 * score(x, torch.full((len(x),), sigma, device=x.device))
        if sigma_next == 0:
            x = denoised
        else:
            h = math.log(sigma / sigma_next)
            kept = math.exp(-(1 + eta) * h)  # of x's distance to the denoised image
            x = math.exp(-h * eta) * (sigma_next / sigma) * x + (1 - kept) * denoised
            if before is not None:
                x = x + 0.5 * (1 - kept) * (h / h_before) * (denoised - before)
            x = x + sigma_next * math.sqrt(1 - math.exp(-2 * eta * h)) * noise()
            before, h_before = denoised, h
        if advance is not None:
            advance()
    return x, len(sigmas) - 1
