"""The networks of a training as the options ask for, from the seed or from a checkpoint."""

import copy

import torch

from common.errors import InputError
from common.networks.blobgan.configuration import BlobGANConfig
from common.seeding import unit_seed

DTYPE = torch.float32  # of weights and losses; a test of equal splits trains in float64


def configuration(options):
    """Return the BlobGANConfig of settled options; InputError for sizes of which no network can be built."""
    if options.override_c_in != options.feature_dim:
        raise InputError(f"the generator would read {options.override_c_in} channels, a blob's feature has "
                         f"{options.feature_dim}", where="--override_c_in", do="Give both the same value")
    same = ("n_features", "noise_dim", "dim", "resolution", "aspect_ratio", "feature_dim", "size_in", "c_model",
            "override_c_in", "mlp_hidden_dim", "mlp_lr_mul", "norm_features", "detach_covs", "feature_jitter_xy",
            "feature_jitter_shift", "feature_jitter_angle", "lr", "eps", "D_reg_every")
    lambdas = {name: getattr(options, f"lambda_{name}") for name in ("D_real", "D_fake", "D_R1", "G")}
    return BlobGANConfig(
        **{name: getattr(options, name) for name in same}, mlp_n_layers=options.n_mlp,
        discriminator_multiplier=options.channel_multiplier, spatial_style=True,
        generator_channels=by_height("generator_channels", options, options.size_in, options.resolution),
        discriminator_channels=by_height("discriminator_channels", options, options.resolution, 4),
        lambdas=lambdas).checked("the flags")


def by_height(name, options, first, last):
    """Return {height: channels} of a flag with one number for each height from `first` to `last`, None without it."""
    channels = getattr(options, name)
    if not channels:
        return None
    heights = [first]
    while heights[-1] != last and 4 <= heights[-1] <= 1024:
        heights.append(heights[-1] * 2 if last > first else heights[-1] // 2)
    if len(channels) != len(heights):
        raise InputError(f"{len(channels)} numbers for the {len(heights)} heights {', '.join(map(str, heights))}",
                         where=f"--{name}", do="Give one for each")
    return dict(zip(heights, channels))


def new_networks(config, seed, device):
    """Return {generator, layout_net, discriminator} initialised from the seed, and their averages
    {generator_ema, layout_net_ema}, copies of the first two."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(unit_seed(seed, "weights"))
        networks = {"generator": config.generator(), "layout_net": config.layout_net(),
                    "discriminator": config.discriminator()}
    networks = {name: network.to(device, DTYPE) for name, network in networks.items()}
    if device.type != "mps":  # the layout of what the generator makes; on one x86 thread a step takes 5 % less
        networks["discriminator"].to(memory_format=torch.channels_last)
    averaged = {f"{name}_ema": copy.deepcopy(networks[name]).eval().requires_grad_(False)
                for name in ("generator", "layout_net")}
    return networks, averaged
