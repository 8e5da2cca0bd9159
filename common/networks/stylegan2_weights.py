"""Loading StyleGAN2 generators from every container in which rosinality's weights are published or copied.

- {'g_ema', 'latent_avg'} (stylegan2-ffhq-config-f.pt) and training checkpoints with g, d, optimisers and the arguments
  (an argparse.Namespace) beside it;
- pSp's checkpoints: `decoder.*` in 'state_dict', 'latent_avg' for every row of W+;
- a bare state dict, as .pt or .safetensors (there with an entry 'latent_avg').

Size, channels, depth and width come from the shapes. No file can run code.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from common.errors import InputError
from common.files import system_errors
from common.formats.checkpoints import (
    as_float32,
    check_finite,
    is_safetensors,
    load_safetensors,
    load_strictly,
    load_torch,
)
from common.seeding import unit_generator

PUBLISHED = ("stylegan2-ffhq-config-f.pt of rosinality/stylegan2-pytorch or a checkpoint of its training, "
             "or a pSp checkpoint")
MARK = "conv1.conv.modulation.weight"  # an entry that every such generator has
WRAPPERS = ("g_ema", "state_dict", "g")  # in the order in which they are looked for
PREFIXES = ("module.", "decoder.", "generator.", "module.decoder.", "decoder.module.")
ENCODER = ("encoder.", "module.encoder.")  # of pSp, beside the generator
MOST = 24  # layers of the mapping, and convolutions after the first: 2**14 px
LEGACY_MAGIC = bytes.fromhex("8a0a6cfc9c46f9206aa85019")  # how torch.save's files began before they were zips


@dataclass
class StyleGAN2File:
    """What a file holds.

    network: the generator, its parameters fixed.  latent_avg: (1 or num_latents, style_dim), the centre of truncation,
    or None.  entry: where in the file it stood, such as "g_ema".  filled: entries the file lacks, which have their
    usual values.
    """

    network: object
    latent_avg: Optional[object]
    entry: str
    filled: tuple


def load_stylegan2(path, device="cpu"):
    """Return the StyleGAN2File of a checkpoint, on a device.

    Raises InputError for a missing, damaged or foreign file, one that would run code, and another network's weights.
    """
    state, latent_avg, entry = read_stylegan2(path)
    file = build_stylegan2(state, path, latent_avg, entry)
    file.network.to(device)
    if file.latent_avg is not None:
        file.latent_avg = file.latent_avg.to(device)
    return file


def read_stylegan2(path):
    """Return ({name: tensor}, latent_avg or None, entry) of a checkpoint; see load_stylegan2."""
    path = Path(path)
    _refuse_network_pickle(path)
    value = load_safetensors(path)[0] if is_safetensors(path) else load_torch(path, _generator_alone)
    if not isinstance(value, dict):
        raise InputError(f"is of type {type(value).__name__}, not a generator", where=path, do=f"Give {PUBLISHED}")
    state, entry = _find_state(value, path)
    return state, state.pop("latent_avg", value.get("latent_avg")), entry


def _generator_alone(value):
    """Return what of a checkpoint is of use here: discriminators, optimisers and encoders can be many times as
    large."""
    for key in WRAPPERS:
        inner = value.get(key) if isinstance(value, dict) else None
        if isinstance(inner, dict) and any(str(name).endswith(MARK) for name in inner):
            own = {name: item for name, item in inner.items() if not str(name).startswith(ENCODER)}
            return {key: own, "latent_avg": value.get("latent_avg")}
    return value


def _refuse_network_pickle(path):
    with system_errors(path), open(path, "rb") as stream:
        head = stream.read(14)
    if head[:1] == b"\x80" and head[2:] != LEGACY_MAGIC:
        raise InputError("a network pickle (.pkl), as NVIDIA's StyleGAN2-ADA writes; it holds the program of its "
                         "network, which is never run, and weights under other names", where=path,
                         do="Convert it to rosinality's form first, or give " + PUBLISHED)


def _find_state(value, path):
    """Return ({name without prefixes: tensor}, wrapper's key) of a checkpoint's dictionary."""
    import torch

    for key in ("", *WRAPPERS):
        inner = value if key == "" else value.get(key)
        if not isinstance(inner, dict):
            continue
        tensors = {str(name): item for name, item in inner.items() if isinstance(item, torch.Tensor)}
        for prefix in ("", *PREFIXES):
            own = {name.removeprefix(prefix): item for name, item in tensors.items() if name.startswith(prefix)}
            if any(name.startswith("conv1.conv.") for name in own) or MARK in own:
                return own, f"{key}.{prefix}".strip(".")
    held = ", ".join(list(map(str, value))[:5]) or "nothing"
    raise InputError(f"no StyleGAN2 generator in it (it has {held})", where=path, do=f"Give {PUBLISHED}")


def deduce_config(state, where):
    """Return the StyleGAN2Config that names and shapes of a state dict stand for."""
    from common.networks.stylegan2 import StyleGAN2Config

    depths = [int(found[1]) for name in state if (found := re.match(r"style\.(\d+)\.", name))]
    blocks = [int(found[1]) for name in state if (found := re.match(r"convs\.(\d+)\.", name))]
    if max([*depths, *blocks], default=0) > MOST:
        raise InputError("it has far too many layers", where=where, do=f"Give {PUBLISHED}")
    modulation = state.get(MARK)
    levels = (max(blocks, default=-1) + 2) // 2
    names = ["conv1.conv.weight", *(f"convs.{2 * level}.conv.weight" for level in range(levels))]
    for name in (MARK, *names):
        if name not in state:
            raise InputError(f"'{name}' is missing", where=where, do=f"Give {PUBLISHED}")
    channels = tuple(state[name].shape[1] for name in names if state[name].dim() == 5)
    if modulation.dim() != 2 or len(channels) < len(names) or not all((*channels, *modulation.shape)):
        raise InputError("its layers have the shapes of another network", where=where, do=f"Give {PUBLISHED}")
    return StyleGAN2Config(channels, modulation.shape[1], max(depths, default=0))


def build_stylegan2(state, where, latent_avg=None, entry=""):
    """Return the StyleGAN2File of a state dict, whose tensors become the network's own.

    Only stored noise and filter taps may be missing: noise is then drawn from layer numbers, the taps are 1, 3, 3, 1.
    """

    from common.networks.stylegan2 import StyleGAN2
    from common.nn.unfilled import unfilled

    config = deduce_config(state, where)
    with unfilled():  # no time and memory for initial values that would be overwritten
        network = StyleGAN2(config)
    state = as_float32(state, where)
    filled = {name: _usual(name, entry.shape) for name, entry in network.named_buffers() if name not in state}
    load_strictly(network, {**state, **filled}, where, do=f"Give {PUBLISHED}", assign=True)
    return StyleGAN2File(network.eval().requires_grad_(False), _centre(latent_avg, network, where), entry,
                         tuple(filled))


def _usual(name, shape):
    """Return the usual value of a buffer that a file lacks."""
    import torch

    from common.nn.fir import fir_kernel

    if name.endswith(".kernel"):
        return fir_kernel(gain=4.0)
    return torch.randn(shape, generator=unit_generator(0, "stored noise", name))


def _centre(latent_avg, network, where):
    """Return a file's latent_avg as (1 or num_latents, style_dim) float32, None where it has none."""
    import torch

    if latent_avg is None:
        return None
    dim, rows = network.config.style_dim, network.num_latents
    shape = tuple(getattr(latent_avg, "shape", ()))
    if shape not in ((dim,), (1, dim), (rows, dim)):
        raise InputError(f"'latent_avg' has shape {shape}, expected ({dim},), (1, {dim}) or ({rows}, {dim})",
                         where=where, do=f"Give {PUBLISHED}")
    centre = torch.as_tensor(latent_avg).float().reshape(-1, dim)
    check_finite("latent_avg", centre, where)
    return centre
