"""From configurations and checkpoint files (`container`) to networks."""

from pathlib import Path

import torch

from common.diffusion.scores import make_score
from common.diffusion.sde import VESDE
from common.errors import InputError
from common.formats.checkpoints import aligned, check_finite, load_strictly
from common.networks.ncsnpp import NCSNpp, NetworkConfig, outline
from common.score.config import check_same_model
from common.score.container import PREFIX, read_checkpoint, stored_config
from common.seeding import unit_seed


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


def filled_network(config, state, where, weights="raw"):
    """Return the NCSNpp of a configuration with the raw or the EMA weights of a checkpoint, see load_weights.

    No time and memory goes to initial values. Raises InputError where the file is too small for the configuration, too.
    """
    network = outline(network_config(config))
    _check_size(network, state, where)
    load_weights(network, state, where, weights, assign=True)
    return network


def load_weights(network, state, where, weights="raw", assign=False):
    """Load the raw or the EMA weights of a checkpoint's dictionary into a network, strictly.

    assign: make the dictionary's tensors the network's own (which may be an outline).
    Raises InputError for missing, unexpected, misshapen or NaN entries, naming the first.
    """
    model = {name.removeprefix(PREFIX): tensor for name, tensor in state["model"].items()}
    load_strictly(network, model, where, assign=assign)
    if state["ema"] is None:
        if state.get("weights") not in (weights, None):
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
        if weights == "ema" and assign:
            parameter.data = aligned(tensor.to(parameter.dtype))
        elif weights == "ema":
            parameter.data.copy_(tensor)


def _check_size(network, state, where):
    """Raise InputError where a network has more numbers than the file, before room is made for them."""
    wanted = sum(value.numel() for value in network.state_dict().values())
    stored = sum(value.numel() for value in state["model"].values())
    if wanted > max(2 * stored, 1 << 24):
        raise InputError(f"its configuration is of a network of {wanted:,} numbers, the file has {stored:,}",
                         where=where, do="Give the checkpoint of this configuration, or another --config")


class LoadedModel:
    """A network ready for evaluation: `score`, `sde`, `config`, and which file and weights it came from: raw, ema, or
    the only ones of a file that has no EMA."""

    def __init__(self, path, config, weights, device="cpu"):
        """path: a checkpoint.  config: a configuration, or None for the one stored in the file."""
        state = read_checkpoint(path)
        self.path, self.step = Path(path), state.get("step")
        self.weights = "only" if state["ema"] is None and state.get("weights") is None else weights
        stored = stored_config(state)
        if config is not None and stored is not None:
            check_same_model(config, stored, path)
        self.config = config or stored
        if self.config is None:
            raise InputError("this checkpoint does not store its configuration", where=path,
                             do="Pass one with `config`, for example qc_cifar10")
        self.network = filled_network(self.config, state, path, weights)
        self.network.eval().requires_grad_(False).to(device)
        self.sde = build_sde(self.config)
        self.conservative = self.config["model"]["energy"]
        self.score = make_score(self.network, self.conservative)

    @property
    def image_shape(self):
        """(C, H, W) of the images."""
        data = self.config["data"]
        return data["num_channels"], data["image_size"], data["image_size"]


def find_checkpoint(work, index=None, path=None, else_do="; or name a file with `checkpoint`"):
    """Return the checkpoint to use: `path`, or snapshot `index` of a WorkDir, or its default when index is None.

    Raises InputError when there is none. else_do: what else than another index its advice names.
    """
    if path is not None:
        if not Path(path).exists():
            raise InputError("no such file", where=path, do="Name an existing checkpoint with `checkpoint`")
        return Path(path)
    if index is None:
        found = work.default_checkpoint()
        if found is None:
            raise InputError("no checkpoint in this folder", where=work.checkpoints,
                             do="Train first, name one with `checkpoint` PATH, or check `workdir`")
        return found
    if not work.checkpoint(index).is_file():
        there = sorted(work.checkpoints.glob("checkpoint_*.pth"))
        listed = ", ".join(item.stem.split("_")[1] for item in there)
        do = f"Available snapshots: {listed}" if there else "Train first"
        raise InputError("no such checkpoint", where=work.checkpoint(index),
                         do=f"{do}{else_do}")
    return work.checkpoint(index)
