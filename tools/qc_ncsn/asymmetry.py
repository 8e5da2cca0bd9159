"""How far a score is from a gradient field: Asym and NAsym (Chao et al. 2023, eqs. 15 and 16)."""

import torch

from common.diffusion.scores import row_norm2
from common.nn.shapes import per_image
from tools.qc_ncsn.losses import hutchinson_asymmetry

ESTIMATORS = ("paper", "antisymmetric", "exact")


def asymmetry(score, sde, x0, t, z, v, estimator="paper"):
    """Return (asym, norm2) per row of v (K B,): estimates of 0.5 ||J - J^T||_F^2 and ||J||_F^2 at x0 + sigma(t) z.

    x0, z: (B, C, H, W) float32.  t: (B,) float32.  v: Rademacher vectors (K B, C, H, W), slice-major.
    NAsym is 0.5 asym / norm2; in expectation 0 for a gradient field and 1 for a pure rotation.
    estimator: "paper" ||J^T v||^2 - v . J^T J^T v, which may be negative; "antisymmetric" 0.5 ||(J - J^T) v||^2,
    which has the same mean, is never negative and varies far less when J is nearly symmetric, since the
    symmetric part never enters; "exact" all of J (ignores v), for small images.
    """
    sigma = sde.sigma(t)
    x = x0 + per_image(sigma, x0) * z
    if estimator == "exact":
        return exact_asymmetry(score, x, sigma)
    if estimator == "antisymmetric":
        return antisymmetric_asymmetry(score, x, sigma, v)
    with torch.no_grad():
        details = {}
        _, pullback = score.linearise(x, sigma)
        asym = hutchinson_asymmetry(pullback, v, details)
        return asym, details["term_JJt"]


def antisymmetric_asymmetry(score, x, sigma, v):
    """Return (0.5 ||(J - J^T) v||^2, ||J^T v||^2) per row of v.

    J v comes from the pullback too (double-backward trick): the derivative of u . pullback(w) with respect to w is J u.
    """
    with torch.enable_grad():
        _, pullback = score.linearise(x, sigma)
        w = torch.zeros_like(v).requires_grad_(True)  # pullback is linear in w, so any value does
        jtw = pullback(w)
        jv = torch.autograd.grad(jtw, w, v, retain_graph=True)[0]
    with torch.no_grad():
        jtv = pullback(v).detach()
        return 0.5 * row_norm2(jv - jtv), row_norm2(jtv)


@torch.no_grad()
def exact_asymmetry(score, x, sigma):
    """Return (0.5 ||J - J^T||_F^2, ||J||_F^2) per image (B,), from all D rows of J: for small images."""
    size = x[0].numel()
    _, pullback = score.linearise(x, sigma)
    rows = [pullback(torch.eye(size, device=x.device)[index].reshape(1, *x.shape[1:]).expand_as(x)).flatten(1)
            for index in range(size)]
    jacobian = torch.stack(rows, dim=1).double()  # (B, D, D): row i is the gradient of output i
    asym = 0.5 * (jacobian - jacobian.transpose(1, 2)).flatten(1).square().sum(1)
    return asym, jacobian.flatten(1).square().sum(1)


def normalised(asym, norm2):
    """Return the paper's per-image NAsym, 0.5 asym / (||J^T v||^2 + 1e-8)."""
    return 0.5 * asym / (norm2 + 1e-8)  # the epsilon of the original


def noise_levels(count):
    """Return the levels a_k = k / count of the per-level curve; the time is a (1 - eps) + eps."""
    return [index / count for index in range(count)]
