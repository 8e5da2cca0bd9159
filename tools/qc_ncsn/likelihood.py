"""Likelihood in bits/dim through the probability-flow ODE (Song et al. 2021, section 4.3 and appendix D.2)."""

import math

import torch

from common.diffusion.rk45 import solve_rk45
from common.diffusion.scores import Score, row_dot
from common.nn.shapes import per_image


def drift_and_divergence(score, sde, x, t, epsilon):
    """Return (f, eps . (df/dx)^T eps) of the drift f = -0.5 g(t)^2 s, from one forward pass and one pullback.

    x, epsilon: (B, C, H, W) float32.  t: (B,) float32.  Returns (B, C, H, W) and (B,), Hutchinson's estimate.
    """
    s, pullback = score.linearise(x, sde.sigma(t))
    factor = -0.5 * sde.diffusion(t) ** 2
    return per_image(factor, x) * s, factor * row_dot(pullback(epsilon), epsilon)


@torch.no_grad()
def bits_per_dim(score, sde, x, epsilon, rtol=1e-3, atol=1e-5, coupling="image", offset=8.0):
    """Return (bits/dim (B,) float64, latents (B, C, H, W) float64, evaluations (B,) int64).

    x: dequantised images (B, C, H, W) float32 in [0, 1).  epsilon: Rademacher vectors like x, fixed for the whole
    solve (Hutchinson's trace estimate).  coupling: "image" gives each image its own step sizes, "batch" solves all as
    one system, as the original.  offset: log2(256 / data range): 8 for data in [0, 1], 7 for [-1, 1]; valid for 8-bit
    data.  Integrates from t = eps to 1 on x's device in float64, with the network in float32.
    """
    shape, size = x.shape, x[0].numel()
    if coupling == "batch":
        # autograd's order of operations, as in the original: on stiff fields the step sizes depend on rounding
        score = Score(score)

    def rates(t, state, rows):
        images = state[:, :size].reshape(-1, *shape[1:]).float()
        velocity, divergence = drift_and_divergence(score, sde, images, t.float(), epsilon[rows])
        return torch.cat([velocity.flatten(1), divergence[:, None]], dim=1).double()

    state = torch.cat([x.flatten(1).double(), x.new_zeros(len(x), 1).double()], dim=1)
    if coupling == "batch":
        state, evaluations = _solve_as_one(rates, sde.eps, 1.0, state, rtol, atol)
    else:
        state, evaluations = solve_rk45(rates, sde.eps, 1.0, state, rtol, atol)
    latents = state[:, :size].reshape(shape)
    log_p = sde.prior_logp(latents) + state[:, size]
    return -log_p / (size * math.log(2)) + offset, latents, evaluations  # nats per image to bits per dimension


def _solve_as_one(rates, start, end, state, rtol, atol):
    """Solve the rows of `state` as one system: one step size and one error norm for all of them."""
    count, width = state.shape
    rows = torch.arange(count, device=state.device)

    def joined(t, y, _):
        return rates(t.expand(count), y.reshape(count, width), rows).reshape(1, -1)

    y, evaluations = solve_rk45(joined, start, end, state.reshape(1, -1), rtol, atol)
    return y.reshape(count, width), evaluations.expand(count)
