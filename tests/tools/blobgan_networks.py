"""Small BlobGANs as files."""

import torch

from common.networks.blobgan.configuration import BlobGANConfig
from common.networks.blobgan.files import write_checkpoint, write_pair

SIZES = {"n_features": 4, "noise_dim": 8, "dim": 6, "resolution": 16, "aspect_ratio": 2, "feature_dim": 5, "size_in": 8,
         "override_c_in": 5, "mlp_hidden_dim": 12, "mlp_n_layers": 3, "mlp_lr_mul": 0.5, "c_model": 1}


def small_config(**changed):
    """Return the configuration of a network of 16 x 32 px."""
    return BlobGANConfig(**{**SIZES, **changed})


def small_networks(config, seed=0):
    """Return {name: module}; noise shows in the pictures, and the live networks are others than their averages."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = {name: getattr(config, name.removesuffix("_ema"))()
                    for name in ("generator_ema", "generator", "layout_net_ema", "layout_net")}
        for network in networks.values():
            for name, tensor in network.named_parameters():
                if name.endswith("noise.weight"):
                    tensor.data.fill_(0.3)
    return networks


def save_blobgan(path, seed=0, **changed):
    """Write a checkpoint in the published container; return its path."""
    config = small_config(**changed)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(path, config, small_networks(config, seed), epoch=1, step=7)
    return path


def save_pair(path, seed=0, **changed):
    """Write the averaged pair of the same networks as .safetensors; return its path."""
    config = small_config(**changed)
    networks = small_networks(config, seed)
    write_pair(path, config, networks["generator_ema"], networks["layout_net_ema"], 1, 7)
    return path
