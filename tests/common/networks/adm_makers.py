"""Small ADM networks for tests, whose every weight matters (those that begin at zero too)."""

import torch

from common.networks.adm import EDMPrecond
from common.networks.adm_config import AdmConfig

SMALL = {"img_resolution": 8, "label_dim": 4, "model_channels": 32, "channel_mult": (1, 2), "channel_mult_emb": 2,
         "num_blocks": 1, "attn_resolutions": (4,), "dropout": 0.0}


def small_network(seed=0, dtype=torch.float32, **changes):
    """Return an EDMPrecond with random weights, in evaluation mode."""
    network = EDMPrecond(AdmConfig(**{**SMALL, **changes}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            draws = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 1:
                parameter.copy_(0.1 * draws + (".norm" in name and name.endswith("weight")))
            else:
                parameter.copy_(draws / parameter[0].numel() ** 0.5)
    return network.to(dtype).eval()


def draws(network, batch=3, seed=1, dtype=torch.float32):
    """Return (x, sigma, labels) for a batch: noise of several levels and one-hot labels."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((batch, *network.image_shape), generator=generator, dtype=dtype)
    sigma = torch.linspace(0.1, 2.0, batch, dtype=dtype)
    labels = torch.eye(network.config.label_dim or 1,
                       dtype=dtype)[torch.arange(batch) % max(network.config.label_dim, 1)]
    return x * sigma[:, None, None, None], sigma, labels if network.config.label_dim else None
