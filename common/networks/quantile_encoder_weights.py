"""Loading and saving quantile encoders: the container of superres_alpha_0.1.pt, or a bare state dict.

{'state_dict', 'opts', 'latent_avg', 'style_space_latent_avg', 'style_space_latent_min', 'style_space_latent_max',
'_STYLE_SPACE_MIN', '_STYLE_SPACE_MAX'}; weights without a prefix, or below `encoder.` or `module.`. Predictions are
relative to style_space_latent_avg, the mean StyleSpace code of the generator that the encoder was trained for.
IR or IR-SE, depth and D come from the shapes. No file can run code.
"""

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Optional

from common.errors import InputError
from common.formats.checkpoints import (
    as_float32,
    is_safetensors,
    load_safetensors,
    load_strictly,
    load_torch,
    save_torch,
    unwrapped_state,
)
from common.formats.unpickle import Record
from common.networks.ir_se import DEPTHS, published_groups
from common.networks.quantile_encoder import QuantileEncoderConfig, build_encoder
from common.style_space import StyleStatistics

PUBLISHED = "a quantile encoder, such as superres_alpha_0.1.pt or a checkpoint of train_quantile_encoder"
BACKBONES = "model_ir_se50.pth, a pSp checkpoint or a quantile encoder"
MARK = "projection.0.weight"
SIZE = 256  # px, of the published encoders
PREFIXES = ("", "module.", "encoder.", "module.encoder.", "encoder.module.")
MOST = 200  # blocks of a backbone
COUNTER = "num_batches_tracked"  # of batch norms, the only integers among the weights
RANGE = ("_STYLE_SPACE_MIN", -10, "_STYLE_SPACE_MAX", 10)  # constants of the published container
LIMITS = {"mean": "style_space_latent_avg", "min": "style_space_latent_min", "max": "style_space_latent_max"}


@dataclass
class QuantileEncoderFile:
    """What a file holds.

    network: the encoder, its parameters fixed.  statistics: StyleStatistics of the generator's StyleSpace (std None),
    or None where the file has no mean.  latent_avg: of W or W+, or None.  opts: the training's options.
    """

    network: object
    statistics: Optional[StyleStatistics] = None
    latent_avg: Optional[object] = None
    opts: dict = field(default_factory=dict)

    @property
    def size(self):
        """The side in pixels of the images that it was trained on: 'encoder_size' of the options, else 256."""
        size = self.opts.get("encoder_size")
        return size if isinstance(size, int) and size > 0 else SIZE


def load_quantile_encoder(path, device="cpu"):
    """Return the QuantileEncoderFile of a checkpoint, the network on a device in evaluation mode.

    Raises InputError for a missing, damaged or foreign file, one that would run code, and another network's weights.
    """
    path = Path(path)
    value = load_safetensors(path)[0] if is_safetensors(path) else load_torch(path)
    if not isinstance(value, dict):
        raise InputError(f"is of type {type(value).__name__}, not an encoder", where=path, do=f"Give {PUBLISHED}")
    opts = plain_options(value.get("opts"))
    network = build_quantile_encoder(find_state(value, path), path, opts.get("encoder_config"))
    latent_avg = value.get("latent_avg")
    return QuantileEncoderFile(network.to(device), _statistics(value, network.config.style_dims, path), latent_avg,
                               opts)


def plain_options(opts):
    """Return a checkpoint's options as a dictionary: they are one, or a Namespace."""
    opts = opts.attributes if isinstance(opts, Record) else opts
    return dict(opts) if isinstance(opts, dict) else {}


def find_state(value, where, mark=MARK, published=PUBLISHED):
    """Return {name without prefixes: tensor} of a checkpoint's dictionary; InputError where no entry is `mark`."""
    import torch

    inner = value.get("state_dict") if isinstance(value.get("state_dict"), dict) else value
    tensors = {str(name): item for name, item in inner.items() if isinstance(item, torch.Tensor)}
    prefix = next((prefix for prefix in PREFIXES if prefix + mark in tensors), None)
    if prefix is None:
        held = ", ".join(list(tensors or map(str, value))[:3]) or "nothing"
        raise InputError(f"'{mark}' is missing (it has {held})", where=where, do=f"Give {published}")
    beside = set(LIMITS.values()) | {"latent_avg"}  # entries of a bare dictionary that are not weights
    own = {name: item for name, item in tensors.items() if name not in beside}
    return unwrapped_state(own, where, lambda name: name.removeprefix(prefix))


def deduce_encoder_config(state, where, described=None):
    """Return the QuantileEncoderConfig that names and shapes of a state dict stand for.

    described: of the file's own options, for backbones of no published depth: {"groups", "stem"}.
    """
    if state[MARK].dim() != 4:
        raise InputError(f"'{MARK}' has {state[MARK].dim()} axes, expected 4", where=where, do=f"Give {PUBLISHED}")
    sizes = {"style_dims": state[MARK].shape[0], "pooling": any(name.startswith("pooling_block.") for name in state)}
    if "body.conv1.weight" in state:
        return QuantileEncoderConfig(groups=(), squeeze=False, **sizes)
    squeeze = any(".res_layer.5." in name for name in state)
    if isinstance(described, dict):
        return QuantileEncoderConfig(squeeze=squeeze, **sizes, **_described_sizes(described, where))
    return QuantileEncoderConfig(groups=published_groups(published_depth(state)), squeeze=squeeze, **sizes)


def published_depth(state):
    """Return the smallest depth, 50, 100 or 152, that has as many blocks as a state dict."""
    blocks = 1 + max((int(found[1]) for name in state if (found := re.match(r"body\.(\d+)\.", name))), default=0)
    return next((depth for depth, counts in DEPTHS.items() if sum(counts) >= blocks), max(DEPTHS))


def _described_sizes(described, where):
    """Return {"groups", "stem"} as a file's options have them; InputError when they cannot be."""
    try:
        groups = tuple((int(channels), int(count)) for channels, count in described["groups"])
        stem = int(described["stem"])
        sizes, blocks = [stem, *(size for group in groups for size in group)], sum(count for _, count in groups)
        if blocks <= MOST and all(0 < size <= 1 << 14 for size in sizes):
            return {"groups": groups, "stem": stem}
    except (KeyError, TypeError, ValueError, OverflowError):
        pass
    raise InputError("'encoder_config' in its options is damaged", where=where, do=f"Give {PUBLISHED}")


def build_quantile_encoder(state, where, described=None):
    """Return the encoder of a state dict, whose tensors become its own. Errors: see load_quantile_encoder."""
    from common.nn.unfilled import unfilled

    config = deduce_encoder_config(state, where, described)
    with unfilled():  # no time and memory for initial values that would be overwritten
        network = build_encoder(config)
    counters = {name: tensor for name, tensor in state.items() if name.endswith(COUNTER)}
    state = {**as_float32(state, where), **counters}
    load_strictly(network, state, where, do=f"Give {PUBLISHED}", assign=True)
    return network.eval().requires_grad_(False)


def load_backbone(network, path):
    """Give an encoder the stem and blocks of a file: an IR-SE50 (model_ir_se50.pth), a pSp or a quantile encoder.

    The heads stay as they are. Raises InputError when the file's backbone is another one.
    """
    from torch import nn

    parts = nn.ModuleDict({name: getattr(network, name) for name in ("input_layer", "body") if hasattr(network, name)})
    value = load_torch(path)
    state = find_state(value if isinstance(value, dict) else {}, path, next(iter(parts.state_dict())), BACKBONES)
    own = as_float32({name: tensor for name, tensor in state.items() if name.split(".")[0] in parts}, path)
    load_strictly(parts, own, path, do=f"Give {BACKBONES}, with the blocks of this encoder")


def _statistics(value, width, where):
    """Return the StyleStatistics of a checkpoint's dictionary, None where it has no mean."""
    import numpy as np

    arrays = {}
    for name, key in LIMITS.items():
        tensor = value.get(key)
        if tensor is None:
            continue
        array = np.zeros(0)
        if hasattr(tensor, "shape"):  # a tensor or an array
            array = np.asarray(tensor.float() if hasattr(tensor, "float") else tensor).reshape(-1)
        if array.shape != (width,) or array.dtype.kind != "f" or not np.isfinite(array).all():
            raise InputError(f"'{key}' has shape {array.shape} or values that are not finite, expected ({width},)",
                             where=where, do=f"Give {PUBLISHED}")
        arrays[name] = array.astype(np.float32)
    if "mean" not in arrays:
        return None
    return StyleStatistics(arrays["mean"], arrays.get("min"), arrays.get("max"), None, 0)


def save_quantile_encoder(path, network, statistics, latent_avg=None, opts=None):
    """Write an encoder in the published container, atomically; `load_quantile_encoder` needs nothing else.

    statistics: StyleStatistics of the generator that the predictions are relative to.  opts: plain values; the
    original's loader asks for input_nc among them.
    """
    import torch

    config = asdict(network.config)
    described = {"groups": [list(group) for group in config["groups"]], "stem": config["stem"]}
    limits = {key: torch.from_numpy(getattr(statistics, name)) for name, key in LIMITS.items()}
    low, lowest, high, highest = RANGE
    save_torch(path, {"state_dict": {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()},
                      "opts": {"input_nc": 3, **(opts or {}), "encoder_config": described}, "latent_avg": latent_avg,
                      **limits, low: lowest, high: highest})
