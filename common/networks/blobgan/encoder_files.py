"""Files of encoders: {'model', 'optimizer', 'scheduler', 'iter'} as published, ours with 'config' beside them.

Published ones (encoder_256x512.pt, or .ckpt) say nothing about themselves: what an encoder is comes from the shapes of
its weights. No file can run code.
"""

import re
from dataclasses import asdict, dataclass, field
from typing import Optional

import torch

from common.errors import InputError
from common.formats.checkpoints import (
    is_safetensors,
    load_safetensors,
    load_strictly,
    save_torch,
    unwrapped_state,
)
from common.formats.lightning import load_container, load_lightning
from common.images.squash import check_same, from_description
from common.networks.blobgan.discriminator import LAST, LayoutEncoder, body_channels
from common.networks.blobgan.resnet_encoder import CHANNELS, ResNetEncoder
from common.nn.unfilled import unfilled

PUBLISHED = "an encoder such as encoder_256x512.pt, or last.pt or best.pt of train_encoder"
PREFIXES = ("", "inverter.")
MARKS = {"stylegan": "final_linear.1.weight", "resnet": "linear.2.weight"}


@dataclass(frozen=True)
class EncoderConfig:
    """What an encoder is.

    arch: stylegan or resnet.  resolution: height of its images, aspect_ratio times as wide.  outputs: width of the
    latent.  channels: by height, from the image's down to 4 (stylegan), or by stage (resnet).
    mlp_idx: where the layout network takes the latent, or "raw".  transform: how its images are resized
    (`squash.SquashOrCrop.describe`), None where a file does not say.
    """

    resolution: int
    aspect_ratio: float
    outputs: int
    arch: str = "stylegan"
    channels: tuple = ()
    mlp_idx: object = -1
    transform: Optional[dict] = field(default=None, hash=False)

    def build(self):
        """Return the network, with fresh weights."""
        if self.arch == "resnet":
            return ResNetEncoder(self.resolution, self.aspect_ratio, self.outputs, self.channels or CHANNELS)
        heights = sorted(body_channels(self.resolution), reverse=True)
        channels = dict(zip(heights, self.channels)) if self.channels else None
        return LayoutEncoder(self.resolution, self.aspect_ratio, self.outputs, channels=channels)


@dataclass
class EncoderFile:
    """A file's encoder: network, in evaluation mode with fixed parameters; config; iter, its steps of training."""

    network: object
    config: EncoderConfig
    iter: int = 0


def read_encoder(path, generator=None, device="cpu"):
    """Return the EncoderFile of a path; prefixes `inverter.` and `module.` are passed over.

    generator: the BlobGAN that it is to work with.
    Raises InputError for a missing, damaged or foreign file, one that would run code, other shapes, and an encoder
    whose images or latent are not the generator's.
    """
    value = _read(path)
    state = _weights(value, path)
    config = _stored_config(value.get("config"), path) or deduce_config(state, path)
    if generator is not None:
        check_fits(config, generator, path)
    try:
        with unfilled():  # no time and memory for initial values that would be overwritten
            network = config.build()
    except ValueError as error:
        raise InputError(f"no encoder can be built of it ({error})", where=path, do=f"Give {PUBLISHED}") from error
    load_strictly(network, state, path, do=f"Give {PUBLISHED}", assign=True)
    steps = value.get("iter", value.get("global_step", 0))
    return EncoderFile(network.to(device).eval().requires_grad_(False), config, steps if type(steps) is int else 0)


def write_encoder(path, config, network, optimizer, scheduler, step):
    """Write an encoder with its optimiser's and its schedule's state, in the published container, atomically."""
    save_torch(path, {"model": network, "optimizer": optimizer, "scheduler": scheduler, "iter": step,
                      "config": {**asdict(config), "channels": list(config.channels)}})


def check_fits(config, generator, where):
    """Raise InputError where an encoder's images or latents are not those of a BlobGAN."""
    sizes, own = generator.config, generator.layout_net.latent_dim(config.mlp_idx)
    for name, got, expected in (("resolution", config.resolution, sizes.resolution),
                                ("aspect_ratio", config.aspect_ratio, sizes.aspect_ratio)):
        if got != expected:
            raise InputError(f"its {name} is {got:g}, the generator's {expected:g}", where=where,
                             do="Use the encoder of this generator")
    if config.outputs != own:
        raise InputError(f"its latent has {config.outputs:,} values, the generator's at mlp_idx {config.mlp_idx} "
                         f"{own:,}", where=where, do="Use the encoder of this generator")
    if config.transform is not None:
        check_same(config.transform, sizes.transform.describe(), where, "the generator")


def _read(path):
    """Return a file's dictionary; of Lightning's containers the weights alone."""
    if is_safetensors(path):
        return {"model": load_safetensors(path)[0]}
    if str(path).endswith(".ckpt"):
        try:
            return load_lightning(path)
        except InputError as error:
            if "no 'state_dict'" not in str(error.what):
                raise
    value = load_container(path)
    if not isinstance(value, dict):
        raise InputError(f"is of type {type(value).__name__}, not an encoder", where=path, do=f"Give {PUBLISHED}")
    return value


def _weights(value, path):
    """Return {name without prefix: tensor} of a file's dictionary."""
    inner = next((value[name] for name in ("model", "state_dict") if isinstance(value.get(name), dict)), value)
    tensors = unwrapped_state({name: item for name, item in inner.items() if isinstance(item, torch.Tensor)}, path)
    for prefix in PREFIXES:
        if any(prefix + mark in tensors for mark in MARKS.values()):
            own = {name: item for name, item in tensors.items() if name.startswith(prefix)}
            return {name.removeprefix(prefix): item for name, item in own.items()}
    held = ", ".join(list(tensors or map(str, value))[:3]) or "nothing"
    raise InputError(f"'{MARKS['stylegan']}' is missing (it has {held})", where=path, do=f"Give {PUBLISHED}")


def deduce_config(state, where):
    """Return the EncoderConfig that names and shapes of a state dict stand for (stylegan alone)."""
    blocks = [int(found[1]) for name in state if (found := re.fullmatch(r"convs\.(\d+)\.conv1\.0\.weight", name))]
    try:
        widths = [state["convs.0.0.weight"].shape[0],
                  *(state[f"convs.{block}.conv2.1.weight"].shape[0] for block in sorted(blocks))]
        flat, outputs = state["final_linear.0.weight"].shape[1], state["final_linear.1.weight"].shape[0]
        aspect = flat / (LAST * LAST * state["final_conv.0.weight"].shape[0])
    except (KeyError, IndexError, ZeroDivisionError) as error:
        raise InputError("its weights are not those of an encoder", where=where, do=f"Give {PUBLISHED}") from error
    aspect = int(aspect) if aspect == int(aspect) else aspect
    return EncoderConfig(LAST << len(blocks), aspect, outputs, channels=tuple(widths))


def _stored_config(stored, where):
    """Return the EncoderConfig that a file of ours holds, None where it has none; InputError for another content."""
    if stored is None:
        return None
    try:
        config = EncoderConfig(**{**stored, "channels": tuple(stored["channels"])})
        numbers = (config.resolution, config.outputs, *config.channels)
        good = config.arch in MARKS and all(type(number) is int and 0 < number < 1 << 20 for number in numbers)
        good = good and 0 < config.aspect_ratio <= 16 and (config.mlp_idx == "raw" or type(config.mlp_idx) is int)
        config.resolution.bit_count()
    except (TypeError, KeyError, AttributeError):
        good = False
    if not good or config.resolution & (config.resolution - 1) or not LAST < config.resolution <= 1024:
        raise InputError("'config' in it is damaged", where=where, do=f"Give {PUBLISHED}")
    if config.transform is not None:
        from_description(config.transform, where)
    return config
