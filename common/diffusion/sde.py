"""The variance-exploding SDE (Song et al. 2021, eq. 9 and appendix C): x_t = x_0 + sigma(t) z, sigma(t) geometric."""

import math

import torch


class VESDE:
    """sigma(t) = sigma_min (sigma_max / sigma_min)^t for t in [eps, 1]; drift 0; prior N(0, sigma_max^2 I).

    eps: the smallest time; the density that the ODE measures is that of data blurred by sigma(eps).
    """

    def __init__(self, sigma_min=0.01, sigma_max=50.0, eps=1e-5):
        self.sigma_min, self.sigma_max, self.eps = float(sigma_min), float(sigma_max), float(eps)
        self.log_ratio = math.log(self.sigma_max / self.sigma_min)

    def sigma(self, t):
        """Return the noise level at times t (any shape), in t's precision."""
        return self.sigma_min * (self.sigma_max / self.sigma_min) ** t

    def diffusion(self, t):
        """Return g(t) = sigma(t) sqrt(2 ln(sigma_max / sigma_min))."""
        return self.diffusion_at(self.sigma(t))

    def diffusion_at(self, sigma):
        """Return g(t) where the noise level is sigma (any shape)."""
        return sigma * math.sqrt(2 * self.log_ratio)

    def train_time(self, u):
        """Return t in [eps, 1) for uniform draws u in [0, 1)."""
        return u * (1 - self.eps) + self.eps

    def discrete_sigmas(self, num_scales):
        """Return the table of num_scales noise levels, ascending, float32.

        The exponential is taken in float64: differences of neighbours amplify its rounding a hundredfold.
        """
        logs = torch.linspace(math.log(self.sigma_min), math.log(self.sigma_max), num_scales)
        return torch.exp(logs.double()).float()

    def reverse_sigmas(self, num_scales):
        """Return the sampler's num_scales levels, descending, then 0, as floats: sigma_{-1} = 0."""
        return [*self.discrete_sigmas(num_scales).flip(0).tolist(), 0.0]

    def timesteps(self, num_scales):
        """Return the sampler's times from 1 down to eps, float32 (num_scales,)."""
        return torch.linspace(1.0, self.eps, num_scales)

    def prior_logp(self, z):
        """Return log N(z; 0, sigma_max^2 I) per image, natural log, in z's precision. z: (B, ...)."""
        size = z[0].numel()
        normaliser = -0.5 * size * math.log(2 * math.pi * self.sigma_max**2)
        return normaliser - z.flatten(1).square().sum(1) / (2 * self.sigma_max**2)
