"""A population whose risk is known: correlated errors against intervals of varying width.

The critical value of coordinate k of an image is |e_k| / (1.645 q): e has unit variance and correlation 0.3 between
coordinates, q is lognormal with deviation 0.35, one for each image. At lambda 1 and q = 1 a tenth is missed.
"""

import math
from functools import cache

import numpy as np

HALF = 1.6448536269514722  # the standard normal's 95 % quantile
CORRELATION, SPREAD = 0.3, 0.35


def draw_images(generator, count, width, correlation=CORRELATION, scale=1.0):
    """Return (errors, half widths at lambda 1): float64 (count, width) and (count, 1)."""
    shared, own = generator.standard_normal((count, 1)), generator.standard_normal((count, width))
    errors = math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * own
    return scale * errors, HALF * np.exp(SPREAD * generator.standard_normal((count, 1)))


@cache
def _quadrature():
    """Return (nodes, weights) of Gauss's rule for the standard normal, which take as long as all that follows."""
    return np.polynomial.hermite_e.hermegauss(80)


def missed_share(lambda_hat, scale=1.0):
    """Return the probability that a coordinate is outside its set at lambda: by quadrature over the widths."""
    from scipy.special import erfc

    nodes, weights = _quadrature()
    reach = np.multiply.outer(np.asarray(lambda_hat, np.float64), HALF * np.exp(SPREAD * nodes)) / scale
    return (erfc(reach / math.sqrt(2)) * weights).sum(axis=-1) / weights.sum()


def missed_any(lambda_hat, width, more_than=0, correlation=CORRELATION, scale=1.0):
    """Return the probability that more than `more_than` of `width` coordinates are outside their sets."""
    from scipy.stats import binom, norm

    nodes, weights = _quadrature()
    reach = np.multiply.outer(np.asarray(lambda_hat, np.float64), HALF * np.exp(SPREAD * nodes)) / scale
    centre, spread = math.sqrt(correlation) * nodes, math.sqrt(1 - correlation)
    inside = norm.cdf((reach[..., None] - centre) / spread) - norm.cdf((-reach[..., None] - centre) / spread)
    found = binom.sf(more_than, width, 1 - inside)  # given the width of the image and the shared error
    return ((found * weights).sum(axis=-1) * weights).sum(axis=-1) / weights.sum() ** 2
