"""The score s(x, sigma) of three families (Chao et al. 2023): U, QC: the network; C: an energy's gradient."""

import torch

from common.networks.ncsnpp_pullback import linearise
from common.nn.shapes import per_image


class Score:
    """Any differentiable score function called as score(x, sigma), with its transposed Jacobian through autograd."""

    def __init__(self, function):
        self.function = function

    def __call__(self, x, sigma):
        """x: (B, C, H, W), not modified.  sigma: (B,).  Returns the score (B, C, H, W)."""
        return self.function(x, sigma)

    def linearise(self, x, sigma):
        """Return (score, pullback) at x; pullback(v): (K B, ...), slice-major -> J^T v, J = d score / d x."""
        keep_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            point = x if x.requires_grad else x.detach().requires_grad_(True)
            s = self(point, sigma)

        def pullback(vectors):
            slices = vectors.split(x.shape[0])
            return torch.cat([torch.autograd.grad(s, point, v, create_graph=keep_graph, retain_graph=True)[0]
                              for v in slices])

        return (s if keep_graph else s.detach()), pullback


class NetworkScore(Score):
    """U- and QC-NCSN++: the network itself, with its written-out transposed Jacobian."""

    def __init__(self, network):
        self.network = network

    def __call__(self, x, sigma):
        """See Score."""
        return self.network(x, sigma)

    def linearise(self, x, sigma):
        """See Score."""
        return linearise(self.network, x, sigma)


class ConservativeScore(Score):
    """C-NCSN++: s = grad_x of E(x, sigma) = -||network(x, sigma)||^2 / (2 sigma), a gradient field by construction."""

    def __init__(self, network):
        self.network = network

    def __call__(self, x, sigma):
        """See Score. The gradient is -J^T network(x) / sigma, which needs no graph."""
        output, pullback = linearise(self.network, x, sigma)
        return -pullback(output) / per_image(sigma, x)


def make_score(network, conservative):
    """Return the score of a network: an energy's gradient when `conservative`, else the network's output."""
    return ConservativeScore(network) if conservative else NetworkScore(network)


def row_dot(a, b):
    """Return the inner products of the rows of a and b (B, ...): (B,)."""
    return (a * b).flatten(1).sum(1)


def row_norm2(a):
    """Return the squared L2 norms of the rows of a (B, ...): (B,)."""
    return a.flatten(1).square().sum(1)


def drift(score, sde, x, t):
    """Return the probability-flow drift dx/dt = -0.5 g(t)^2 s(x, t). x: (B, ...) float32.  t: (B,) float32."""
    g = sde.diffusion(t)
    return per_image(-0.5 * g**2, x) * score(x, sde.sigma(t))
