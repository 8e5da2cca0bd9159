"""ADM networks that predict the noise at discrete levels: iDDPM's preconditioning as in EDM, and guided-diffusion's.

Level j of M, u[0] the highest and u[M] = 0, belongs to step M - 1 - j of the chain of Ho et al. 2020: its image, scaled
to unit variance of data and noise apart, is x / sqrt(1 + u^2). `iddpm` is the cosine schedule of Nichol and Dhariwal
2021 as NVlabs/edm computes it (`iDDPMPrecond`; Karras et al. 2022, table 1 and appendix C.3), `linear` and `cosine` are
openai/guided-diffusion's (`get_named_beta_schedule`).
"""

import math
from dataclasses import replace

import torch

from common.networks.adm import EDMPrecond

MAX_BETA = 0.999  # of guided-diffusion's cosine schedule


def noise_levels(config):
    """Return u (M + 1,) float32 in descending order, the last 0, of an AdmConfig with discrete levels."""
    if config.precond == "iddpm":
        return _iddpm_levels(config.M, config.C_1, config.C_2)
    steps = torch.arange(config.M, dtype=torch.float64)
    if config.precond == "linear":
        scale = 1000 / config.M
        betas = torch.linspace(scale * 1e-4, scale * 0.02, config.M, dtype=torch.float64)
    else:
        def alpha_bar(t):
            return ((t + 0.008) / 1.008 * math.pi / 2).cos() ** 2

        betas = (1 - alpha_bar((steps + 1) / config.M) / alpha_bar(steps / config.M)).clamp(max=MAX_BETA)
    kept = torch.cumprod(1 - betas, 0)  # alpha_bar of each step
    return torch.cat([((1 - kept) / kept).sqrt().flip(0), torch.zeros(1, dtype=torch.float64)]).float()


def _iddpm_levels(count, least_ratio, offset):
    """Return EDM's levels; in float32, as there, where the lowest ones have lost three digits."""
    u = torch.zeros(count + 1)
    kept = torch.sin(0.5 * math.pi * torch.arange(count + 1) / count / (offset + 1)) ** 2
    for j in range(count, 0, -1):
        u[j - 1] = ((u[j] ** 2 + 1) / (kept[j - 1] / kept[j]).clip(min=least_ratio) - 1).sqrt()
    return u


def with_limits(config, u):
    """Return the AdmConfig whose limits of the noise level are those of its levels u."""
    return replace(config, sigma_min=float(u[-2]), sigma_max=float(u[0]))


class DiscretePrecond(EDMPrecond):
    """D(x; sigma) = x - sigma F(x / sqrt(sigma^2 + 1); number of the nearest level's step)."""

    def __init__(self, config):
        super().__init__(config)
        if self.model.out_conv.weight.is_meta:  # to be filled from a file, whose levels set the limits
            self.register_buffer("u", torch.empty(config.M + 1))
        else:
            self.register_buffer("u", noise_levels(config))
            self.config = with_limits(config, self.u)

    def scalings(self, sigma, x):
        """Return (1, c_out, c_in), the latter two (1 or B, 1, 1, 1), and the step's number (1 or B,)."""
        dtype = self.model.map_layer0.weight.dtype
        sigma = torch.as_tensor(sigma, dtype=dtype, device=x.device).reshape(-1)
        step = (self.config.M - 1 - self._nearest(sigma)).to(dtype) * self.config.time_scale
        wide = sigma[:, None, None, None]
        return 1, -wide, 1 / (wide**2 + 1).sqrt(), step

    def round_sigma(self, sigma):
        """Return the level nearest to sigma, a number."""
        return float(self.u[self._nearest(torch.tensor([float(sigma)], device=self.u.device))])

    def _nearest(self, sigma):
        """Return the indices (B,) of the levels nearest to sigma (B,)."""
        return (sigma.to(self.u.dtype)[:, None] - self.u).abs().argmin(1)
