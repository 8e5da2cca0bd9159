"""Training losses: denoising score matching, quasi-conservative regulariser (Chao et al. 2023, eqs. 5, 14)."""

import torch

from common.diffusion.scores import row_dot, row_norm2
from common.nn.shapes import per_image

REG_WEIGHTS = {"sigma2": 2, "sigma4": 4}  # power of sigma in the weight of the regulariser; sigma2 is the paper's


def training_loss(score, sde, x0, t, z, v=None, balancing_factor=0.0, reg_weight="sigma2", likelihood_weighting=False,
                  details=None):
    """Return (dsm, reg), each per image (B,); what is minimised is mean(dsm + balancing_factor * reg).

    x0: clean images (B, C, H, W).  t: times (B,).  z: Gaussian noise like x0.
    v: Rademacher vectors (K B, C, H, W), slice-major (row k B + b), needed when balancing_factor > 0.
    dsm = 0.5 ||sigma s + z||^2, or 0.5 ||s + z / sigma||^2 g(t)^2 with likelihood weighting.
    reg = sigma^p (||J^T v||^2 - v . J^T J^T v) averaged over the K vectors, whose mean over v is
    sigma^p 0.5 ||J - J^T||_F^2; p = 2 in the paper. One vector's value may be negative.
    The original repeats each image K times and differentiates in two passes; here the network runs once for all vectors
    of an image, and one plain backward gives the same gradients.
    details: a dictionary that receives the intermediate values, for checks.
    """
    sigma = sde.sigma(t)
    x = x0 + per_image(sigma, x0) * z
    reg = torch.zeros_like(sigma)
    if balancing_factor > 0:
        s, pullback = score.linearise(x, sigma)
        asymmetry = hutchinson_asymmetry(pullback, v, details)
        reg = sigma ** REG_WEIGHTS[reg_weight] * asymmetry.reshape(-1, x.shape[0]).mean(0)
    else:
        s = score(x, sigma)
    if likelihood_weighting:
        dsm = 0.5 * row_norm2(s + z / per_image(sigma, z)) * sde.diffusion(t) ** 2
    else:
        dsm = 0.5 * row_norm2(per_image(sigma, s) * s + z)
    if details is not None:
        details.update(x_t=x, score=s)
    return dsm, reg


def hutchinson_asymmetry(pullback, v, details=None):
    """Return ||J^T v||^2 - v . J^T J^T v per row (K B,), an unbiased estimate of 0.5 ||J - J^T||_F^2 (the paper's)."""
    jtv = pullback(v)
    jtjtv = pullback(jtv)
    norm, trace = row_norm2(jtv), row_dot(v, jtjtv)
    if details is not None:
        details.update(JTv=jtv, JTJTv=jtjtv, term_JJt=norm, term_JJ=trace)
    return norm - trace
