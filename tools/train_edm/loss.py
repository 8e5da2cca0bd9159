"""EDM's training loss (Karras et al. 2022, table 1, the column "ours"), as a pure function and its random draws."""

import torch

from common.seeding import unit_generator

P_MEAN, P_STD = -1.2, 1.2  # of ln sigma, EDM table 1


def loss_weight(sigma, sigma_data=0.5):
    """Return lambda(sigma) = 1 / c_out^2 = (sigma^2 + sigma_data^2) / (sigma sigma_data)^2.

    With it the loss of an untrained network is about 1 at every noise level.
    """
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def edm_loss(denoise, images, sigma, noise, sigma_data=0.5):
    """Return the loss of each image (B,): lambda(sigma) times the mean over its values of (D(x + sigma n; sigma) -
    x)^2.

    denoise: a function of (noisy images, sigma), labels already bound.  images: (B, C, H, W) in [-1, 1].
    sigma: (B,) > 0.  noise: like images, standard normal.  The mean over a batch is what EDM minimises.
    """
    noisy = images + sigma[:, None, None, None] * noise
    error = (denoise(noisy, sigma) - images).square().flatten(1).mean(dim=1)
    return loss_weight(sigma, sigma_data) * error


def loss_draws(seed, step, rows, shape, p_mean=P_MEAN, p_std=P_STD, device="cpu"):
    """Return (sigma (n,), noise (n, *shape)) float32 of some rows of a training step's batch.

    ln sigma ~ N(p_mean, p_std^2). Row i draws from (seed, step, i) alone: the same however the batch is split over
    processes or accumulation steps.
    """
    generators = [unit_generator(seed, "loss", step, int(row)) for row in rows]
    normal = torch.cat([torch.randn(1, generator=generator) for generator in generators])
    noise = torch.stack([torch.randn(tuple(shape), generator=generator) for generator in generators])
    return (p_mean + p_std * normal).exp().to(device), noise.to(device)
