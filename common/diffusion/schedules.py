"""Noise levels of samplers."""

from common.errors import InputError, Parameter

LEAST, MOST = 1e-5, 1e5  # levels that a network can be asked for: beyond, float32 loses the image or the noise


def check_level(name, sigma):
    """Raise InputError for a noise level that is none, or far outside what networks are trained on.

    name: of the parameter.
    """
    if not LEAST <= sigma <= MOST:
        raise InputError(f"expected a noise level from {LEAST:g} to {MOST:g}", where=Parameter(name, sigma),
                         do="The published networks were trained on 0.002 .. 80")


def karras_sigmas(num_steps, sigma_min, sigma_max, rho=7.0):
    """Return num_steps + 1 noise levels from sigma_max down to sigma_min, then 0 (Karras et al. 2022, eq. 5)."""
    if num_steps == 1:
        return [float(sigma_max), 0.0]
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return [(high + i / (num_steps - 1) * (low - high)) ** rho for i in range(num_steps)] + [0.0]
