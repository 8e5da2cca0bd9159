"""Small StyleGAN2 generators and their checkpoints, for tests."""

import torch

from common.formats.checkpoints import save_torch
from common.networks.stylegan2 import StyleGAN2, StyleGAN2Config


def small_generator(channels=(8, 8, 6), style_dim=6, num_mapping=2, seed=0):
    """Return a generator of 4 to 4 * 2**(len(channels) - 1) px whose every weight matters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = StyleGAN2(StyleGAN2Config(channels, style_dim, num_mapping))
        for name, parameter in network.named_parameters():
            if name.endswith(("noise.weight", "activate.bias", "modulation.bias")) or "to_rgb" in name:
                parameter.data.add_(0.3 * torch.randn(parameter.shape))
    return network.eval().requires_grad_(False)


def checkpoint(path, network, **more):
    """Write a rosinality checkpoint of a generator's weights, and return its path."""
    save_torch(path, {"g_ema": dict(network.state_dict()), **more})
    return path


def codes(network, count, seed=1):
    """Return StyleSpace codes (count, D)."""
    z = torch.randn(count, network.config.style_dim, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return network.style_vectors(network.wplus(network.mapping(z)))
