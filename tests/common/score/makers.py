"""Small networks and scores for tests."""

import torch

from common.diffusion.scores import Score
from common.networks.ncsnpp import NCSNpp, NetworkConfig, _Plain


def small_network(seed=0, dtype=torch.float32, **changes):
    """Return an NCSNpp whose every weight matters (the "zero" layers too)."""
    values = {"image_size": 8, "num_channels": 1, "nf": 4, "ch_mult": (1, 2), "num_res_blocks": 1,
              "attn_resolutions": (4,),
              "dropout": 0.0, "fourier_scale": 1.0, **changes}
    generator = torch.Generator().manual_seed(seed)
    network = NCSNpp(NetworkConfig(**values))
    with torch.no_grad():
        for parameter in network.parameters():
            scale = 1.0 if parameter.dim() == 1 else parameter[0].numel() ** 0.5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / scale)
    return network.to(dtype)


def draws(network, batch=2, slices=1, seed=1, dtype=torch.float32):
    """Return (x, sigma, v): noisy images, their noise levels, and vectors (slices batch, ...)."""
    generator = torch.Generator().manual_seed(seed)
    config = network.config
    shape = (config.num_channels, config.image_size, config.image_size)
    sigma = torch.linspace(0.05, 3.0, batch, dtype=dtype)
    x = torch.randn((batch, *shape), generator=generator, dtype=dtype) * sigma[:, None, None, None] + 0.5
    v = torch.randn((slices * batch, *shape), generator=generator, dtype=dtype)
    return x, sigma, v


def plain_score(network, x, sigma):
    """Return the network's output in float64 (its own forward pass ends in float32)."""
    return network.walk(x, network.embed(sigma), _Plain(network)) / sigma[:, None, None, None]


def trained(network):
    """Return the parameters that are trained."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


class Gaussian:
    """Data N(mean, covariance) of `size` x `size` images, whose score and likelihood have closed forms.

    turn: adds turn / sigma^2 times an antisymmetric matrix to the score's Jacobian, so that it is not a gradient.
    """

    def __init__(self, size=4, turn=0.0, seed=0, diagonal=False, centred=False):
        generator = torch.Generator().manual_seed(seed)
        self.size, self.count, self.turn = size, size * size, turn
        self.mean = (0.3 + 0.4 * torch.rand(self.count, generator=generator, dtype=torch.float64)) * (not centred)
        basis = torch.linalg.qr(torch.randn(self.count, self.count, generator=generator, dtype=torch.float64))[0]
        self.basis = torch.eye(self.count, dtype=torch.float64) if diagonal else basis
        self.values = 0.02 + 0.1 * torch.rand(self.count, generator=generator, dtype=torch.float64)
        skew = torch.randn(self.count, self.count, generator=generator, dtype=torch.float64)
        self.skew = skew - skew.T

    def sample(self, count, seed=3):
        """Return `count` images (count, 1, size, size) float32."""
        z = torch.randn(count, self.count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        return (self.mean + z * self.values.sqrt() @ self.basis.T).reshape(-1, 1, self.size, self.size).float()

    def covariance(self):
        """Return the covariance matrix (D, D)."""
        return self.basis @ torch.diag(self.values) @ self.basis.T

    def jacobian(self, sigma):
        """Return the score's Jacobian at one noise level (D, D)."""
        symmetric = -self.basis @ torch.diag(1 / (self.values + sigma**2)) @ self.basis.T
        return symmetric + self.turn / sigma**2 * self.skew

    @property
    def score(self):
        """The exact score (plus the turning part)."""

        def function(x, sigma):
            centred = x.double().flatten(1) - self.mean
            s = -(centred @ self.basis / (self.values + sigma.double()[:, None] ** 2)) @ self.basis.T
            s = s + self.turn * (centred @ self.skew.T) / sigma.double()[:, None] ** 2
            return s.reshape(x.shape).to(x.dtype)

        return Score(function)
