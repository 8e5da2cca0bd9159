"""From configurations and checkpoint files to networks: the published container and what we add to it.

A checkpoint is a dictionary {"model", "ema", "optimizer"} as the original's save routine writes it: every model key
begins with `module.`, `ema` is {"decay", "num_updates", "shadow_params"} in the order of the trainable parameters.
Ours has two more entries: `step` (int, the training step it was saved after) and `genprobe` (JSON text: the
configuration and what a resumed run needs).
"""

import json
from pathlib import Path

import torch

from common.diffusion.scores import make_score
from common.diffusion.sde import VESDE
from common.errors import InputError
from common.formats.checkpoints import check_finite, is_safetensors, load_safetensors, load_strictly, load_torch
from common.networks.ncsnpp import NCSNpp, NetworkConfig
from common.score.config import check_same_model, complete
from common.seeding import unit_seed

PREFIX = "module."


def network_config(config):
    """Return the NetworkConfig of a configuration (sections `model` and `data`)."""
    values = {**config["model"], **{key: config["data"][key] for key in ("image_size", "num_channels", "centered")}}
    names = NetworkConfig.__dataclass_fields__
    return NetworkConfig(**{name: tuple(value) if isinstance(value, list) else value
                            for name, value in values.items() if name in names})


def build_network(config, seed=0):
    """Return an initialised NCSNpp; the weights come from `seed` alone, torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(unit_seed(seed, "weights"))
        return NCSNpp(network_config(config))


def build_sde(config):
    """Return the VE SDE of a configuration."""
    return VESDE(config["model"]["sigma_min"], config["model"]["sigma_max"])


def trainable(network):
    """Return [(name, parameter)] of the parameters that are trained, in the order of `shadow_params`."""
    return [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]


def read_checkpoint(path):
    """Return a checkpoint's dictionary after checking that it is one; InputError otherwise."""
    if Path(path).suffix == ".safetensors" or is_safetensors(path):
        return _from_safetensors(path)
    state = load_torch(path)
    missing = [key for key in ("model", "ema", "optimizer") if not isinstance(state, dict) or key not in state]
    if missing:
        found = ", ".join(map(str, state)) if isinstance(state, dict) else type(state).__name__
        raise InputError(f"no '{missing[0]}' in the file (it has {found})", where=path,
                         do="Give a checkpoint of a score model: a dictionary of model, ema and optimizer")
    if not isinstance(state["model"], dict) or not all(isinstance(v, torch.Tensor) for v in state["model"].values()):
        raise InputError("'model' is not a dictionary of tensors", where=path, do="Give a checkpoint of a score model")
    if not isinstance(state["ema"], dict) or not {"decay", "num_updates", "shadow_params"} <= set(state["ema"]):
        raise InputError("'ema' lacks decay, num_updates or shadow_params", where=path,
                         do="Give a checkpoint of a score model")
    shadow = state["ema"]["shadow_params"]
    if not isinstance(shadow, list) or not all(isinstance(tensor, torch.Tensor) for tensor in shadow):
        raise InputError("'shadow_params' of 'ema' is not a list of tensors", where=path,
                         do="Give a checkpoint of a score model")
    _check_extra(state, path)
    return state


def _check_extra(state, path):
    """Raise InputError unless our additions to the container are an int, and JSON text of a configuration."""
    try:
        good = isinstance(state.get("step", 0), int) and isinstance(extra := json.loads(state.get("genprobe", "{}")),
                                                                    dict)
        config = extra.get("config") if good else None
    except (ValueError, TypeError):
        good = False
    if not good:
        raise InputError("invalid 'step' or 'genprobe' entry", where=path,
                         do="Use an unchanged checkpoint")
    if config is not None:
        state["genprobe"] = json.dumps({**extra, "config": complete(config, path)})


def _from_safetensors(path):
    """Return a checkpoint's dictionary of a converted file (`qc_ncsn convert`): one set of weights, no optimiser."""
    tensors, metadata = load_safetensors(path)
    state = {"model": {PREFIX + name: tensor for name, tensor in tensors.items()}, "ema": None, "optimizer": None}
    state |= {"genprobe": metadata.get("genprobe", "{}"), "weights": metadata.get("weights", "raw")}
    _check_extra(state, path)
    return state


def stored_config(state):
    """Return the configuration stored in a checkpoint of ours, or None in a published one."""
    extra = json.loads(state["genprobe"]) if state.get("genprobe") else {}
    return extra.get("config")


def load_weights(network, state, where, weights="raw"):
    """Load the raw or the EMA weights of a checkpoint's dictionary into a network, strictly.

    Raises InputError for missing, unexpected, misshapen or NaN entries, naming the first.
    """
    model = {name.removeprefix(PREFIX): tensor for name, tensor in state["model"].items()}
    load_strictly(network, model, where)
    if state["ema"] is None:
        if state.get("weights", weights) != weights:
            raise InputError(f"the file has the {state['weights']} weights only", where=where,
                             do=f"Pass `weights` {state['weights']}, or convert the checkpoint again")
        return
    shadow, parameters = state["ema"]["shadow_params"], trainable(network)
    if len(shadow) != len(parameters):
        raise InputError(f"{len(shadow)} EMA tensors, the network has {len(parameters)} trained ones", where=where,
                         do="Give the checkpoint of this configuration")
    for (name, parameter), tensor in zip(parameters, shadow):
        if parameter.shape != tensor.shape:
            raise InputError(f"the EMA of '{name}' has shape {tuple(tensor.shape)}, expected {tuple(parameter.shape)}",
                             where=where, do="Give the checkpoint of this configuration")
        check_finite(f"EMA of {name}", tensor, where)
        if weights == "ema":
            parameter.data.copy_(tensor)


def _check_size(config, state, where):
    """Raise InputError where a configuration asks for more numbers than the file has, before room is made for them."""
    with torch.device("meta"):
        wanted = sum(value.numel() for value in NCSNpp(network_config(config)).state_dict().values())
    stored = sum(value.numel() for value in state["model"].values())
    if wanted > max(2 * stored, 1 << 24):
        raise InputError(f"its configuration is of a network of {wanted:,} numbers, the file has {stored:,}",
                         where=where, do="Give the checkpoint of this configuration, or another --config")


class LoadedModel:
    """A network ready for evaluation: `score`, `sde`, `config`, and which file and weights it came from."""

    def __init__(self, path, config, weights, device="cpu"):
        """path: a checkpoint.  config: a configuration, or None for the one stored in the file."""
        state = read_checkpoint(path)
        self.path, self.weights, self.step = Path(path), weights, state.get("step")
        stored = stored_config(state)
        if config is not None and stored is not None:
            check_same_model(config, stored, path)
        self.config = config or stored
        if self.config is None:
            raise InputError("this checkpoint does not store its configuration", where=path,
                             do="Pass one with `config`, for example qc_cifar10")
        _check_size(self.config, state, path)
        self.network = build_network(self.config)
        load_weights(self.network, state, path, weights)
        self.network.eval().requires_grad_(False).to(device)
        self.sde = build_sde(self.config)
        self.conservative = self.config["model"]["energy"]
        self.score = make_score(self.network, self.conservative)

    @property
    def image_shape(self):
        """(C, H, W) of the images."""
        data = self.config["data"]
        return data["num_channels"], data["image_size"], data["image_size"]


def find_checkpoint(work, index=None, path=None):
    """Return the checkpoint to use: `path`, or snapshot `index` of a WorkDir, or its newest when index is None.

    In a folder of the original's, without a record, the published one (70) is taken before newer ones. Raises
    InputError when there is none.
    """
    if path is not None:
        if not Path(path).exists():
            raise InputError("no such file", where=path, do="Name an existing checkpoint with `checkpoint`")
        return Path(path)
    if index is None:
        published = work.checkpoint(70).exists() and not (work.root / "run.json").exists()
        found = work.checkpoint(70) if published else work.newest_checkpoint()
        found = found or (work.meta_checkpoint if work.meta_checkpoint.exists() else None)
        if found is None:
            raise InputError("no checkpoint in this folder", where=work.checkpoints,
                             do="Train first, name one with `checkpoint` PATH, or check `workdir`")
        return found
    if not work.checkpoint(index).is_file():
        there = sorted(work.checkpoints.glob("checkpoint_*.pth"))
        listed = ", ".join(item.stem.split("_")[1] for item in there)
        do = f"Available snapshots: {listed}" if there else "Train first"
        raise InputError("no such checkpoint", where=work.checkpoint(index),
                         do=f"{do}; or name a file with `checkpoint`")
    return work.checkpoint(index)
