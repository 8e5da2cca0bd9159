"""Small networks of the interval tools, as files: a StyleGAN2 of 16 px, a quantile encoder for it."""

import torch

SIDE, DIM, MAPPING, CHANNELS = 16, 6, 2, (8, 8, 4)  # of the generator


def generator_state(seed=0):
    """Return the state dict of a generator whose noise can be seen."""
    from common.networks.stylegan2 import StyleGAN2, StyleGAN2Config

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = StyleGAN2(StyleGAN2Config(CHANNELS, DIM, MAPPING))
        for name, tensor in network.named_parameters():
            if name.endswith("noise.weight"):
                tensor.data.fill_(0.2)
        return network.state_dict()


def save_generator(path, latent_avg=True, seed=0):
    """Write a generator as rosinality's published file has it; return its path."""
    content = {"g_ema": generator_state(seed)}
    if latent_avg:
        content["latent_avg"] = torch.full((DIM,), 0.1)
    torch.save(content, path)
    return path


def num_dims():
    """Return D of the generator."""
    return sum(tensor.shape[0] for name, tensor in generator_state().items() if name.endswith("modulation.weight"))


def save_encoder(path, style_dims=None, statistics=True, size=SIDE, seed=0):
    """Write an encoder of one small block; return its path."""
    import numpy as np

    from common.networks.quantile_encoder import QuantileEncoderConfig, build_encoder
    from common.networks.quantile_encoder_weights import save_quantile_encoder
    from common.style_space import StyleStatistics

    style_dims = style_dims or num_dims()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_encoder(QuantileEncoderConfig(style_dims, groups=((16, 1),), stem=16))
    vectors = [np.full(style_dims, value, np.float32) for value in (1, -3, 3)]
    opts = {"encoder_size": size} if size else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    if statistics:
        save_quantile_encoder(path, network, StyleStatistics(*vectors, None, 0), opts=opts)
    else:
        torch.save({"state_dict": network.state_dict(),
                    "opts": {**opts, "encoder_config": {"groups": [[16, 1]], "stem": 16}}}, path)
    return path
