"""Small BlobGANs and random layouts."""

import torch

from common.networks.blobgan.configuration import BlobGANConfig
from common.networks.blobgan.files import ORDER, BlobGAN
from common.networks.blobgan.layout import Blobs

SMALL = {"n_features": 3, "noise_dim": 10, "dim": 6, "resolution": 16, "aspect_ratio": 2, "feature_dim": 8,
         "size_in": 8, "c_model": 1, "override_c_in": 8, "mlp_hidden_dim": 12, "discriminator_multiplier": 1 / 64}


def small(**changes):
    """Return the configuration of a small network."""
    return BlobGANConfig(**{**SMALL, **changes}).checked()


def seeded(make, seed=0):
    """Return what a function makes from torch's global generator, seeded and restored."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make()
        for name, part in network.named_parameters():
            if name.endswith(("bias", "noise.weight")):  # as after some training
                part.data += 0.3 * torch.randn_like(part)
    return network


def random_blobs(batch=2, blobs=3, features=8, styles=6, seed=0, dtype=torch.float32):
    """Return Blobs, each with gradients."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(batch, *shape, generator=generator, dtype=torch.float64).to(dtype)

    made = Blobs(normal(blobs).sigmoid(), normal(blobs).sigmoid(), 2 * normal(blobs + 1), normal(blobs, 4),
                 normal(blobs + 1, features), normal(blobs + 1, styles))
    return Blobs(*(part.requires_grad_() for part in made))


def networks(config, names=ORDER):
    """Return {name: network} of a training, each with other weights."""
    makers = {"discriminator": config.discriminator, "generator": config.generator, "layout_net": config.layout_net}
    return {name: seeded(makers[name.removesuffix("_ema")], seed) for seed, name in enumerate(names)}


def pair(config, seed=0):
    """Return a BlobGAN."""
    return BlobGAN(config, seeded(config.layout_net, seed), seeded(config.generator, seed + 1))
