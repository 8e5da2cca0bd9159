"""From noise to images with a denoiser: EDM's Heun sampler and the few-step sampler of distilled networks.

Both are `sample_x(denoise, noise, sigmas, ...) -> x` as in `score_samplers`. See `edm_sampling` for networks, classes
and seeds.
"""

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Churn:
    """EDM's stochasticity, under the paper's names; none by default. ImageNet-64: 40, 0.05, 50, 1.003, 256 steps."""

    S_churn: float = 0.0
    S_min: float = 0.0
    S_max: float = float("inf")
    S_noise: float = 1.0

    def gamma(self, sigma, num_steps):
        """Return the relative increase of a noise level before its step."""
        # sqrt(2) - 1: no step may add more noise than the image already has
        return min(self.S_churn / num_steps, math.sqrt(2) - 1) if self.S_min <= sigma <= self.S_max else 0.0


NO_CHURN = Churn()


@torch.no_grad()
def sample_heun(denoise, noise, sigmas, churn=NO_CHURN, advance=None, round_sigma=None):
    """Return samples (B, C, H, W) float64: EDM's stochastic second-order sampler (Karras et al. 2022, algorithm 2).

    There are len(sigmas) - 1 steps of two network calls each, except the last, which has one.
    With churn, every step draws noise, even where gamma is 0, as in the original; without, only the start.
    On mps, which has no float64, the state is float32.  advance: called once a step.  round_sigma: maps a level that
    churn has raised to one that the network knows, where these are discrete.
    """
    num_steps, start = len(sigmas) - 1, noise()
    dtype = torch.float32 if start.device.type == "mps" else torch.float64
    x = sigmas[0] * start.to(dtype)
    for sigma, sigma_next in zip(sigmas[:-1], sigmas[1:]):
        sigma_hat, x_hat = sigma, x
        if churn.S_churn > 0:
            sigma_hat = sigma * (1 + churn.gamma(sigma, num_steps))
            if round_sigma is not None:  # may round down to sigma, but not below it
                sigma_hat = max(round_sigma(sigma_hat), sigma)
            x_hat = x + math.sqrt(sigma_hat**2 - sigma**2) * churn.S_noise * noise().to(dtype)
        d = (x_hat - denoise(x_hat, sigma_hat).to(dtype)) / sigma_hat  # dx / dsigma, (B, C, H, W)
        x = x_hat + (sigma_next - sigma_hat) * d  # Euler
        if sigma_next > 0:  # Heun's correction; at sigma 0 the slope is undefined
            d_next = (x - denoise(x, sigma_next).to(dtype)) / sigma_next
            x = x_hat + (sigma_next - sigma_hat) * 0.5 * (d + d_next)
        if advance is not None:
            advance()
    return x


@torch.no_grad()
def sample_few(denoise, noise, sigmas, stochastic=True, trace=None, advance=None):
    """Return samples (B, C, H, W) float32 of a distilled network (Yin et al. 2024): one network call a level above 0.

    A single level and 0 is one-step generation. Between levels the prediction is noised to the next level, or with
    stochastic False passed on without noise, as in the first version of DMD2's tools.
    trace: a list that receives the prediction of each level.  advance: called once a level.
    """
    x = sigmas[0] * noise()
    for sigma, sigma_next in zip(sigmas[:-1], sigmas[1:]):
        x = denoise(x, sigma)
        if trace is not None:
            trace.append(x)
        if stochastic and sigma_next > 0:
            x = x + sigma_next * noise()
        if advance is not None:
            advance()
    return x
