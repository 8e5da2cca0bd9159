"""Noise levels of samplers."""


def karras_sigmas(num_steps, sigma_min, sigma_max, rho=7.0):
    """Return num_steps + 1 noise levels from sigma_max down to sigma_min, then 0 (Karras et al. 2022, eq. 5)."""
    if num_steps == 1:
        return [float(sigma_max), 0.0]
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return [(high + i / (num_steps - 1) * (low - high)) ** rho for i in range(num_steps)] + [0.0]
