"""Checkpoint files of score models: the published container, what we add to it, and what other programs leave out.

A checkpoint is a dictionary {"model", "ema", "optimizer"} as the original's save routine writes it: every model key
begins with `module.`, `ema` is {"decay", "num_updates", "shadow_params"} in the order of the trainable parameters.
Ours has two more entries: `step` (int, the training step it was saved after) and `genprobe` (JSON text: the
configuration and what a resumed run needs). Files without an EMA, without an optimiser, or of a state dict alone serve
for sampling and evaluation.
"""

import json
import math
import operator
from pathlib import Path

import torch

from common.errors import InputError
from common.formats.checkpoints import is_safetensors, load_safetensors, load_torch
from common.score.config import complete

PREFIX = "module."
WRAPPERS = (PREFIX, "_orig_mod.")  # DataParallel's, and torch.compile's
STATE_DICTS = ("state_dict", "model_state_dict", "net", "network")  # what trainers call it
DO = "Give a checkpoint of a score model"


def read_checkpoint(path):
    """Return a checkpoint's dictionary, checked: model, ema (or None), optimizer (or None), and where the file has them
    step, genprobe, and weights (which ones a file without an EMA holds).

    Every name in `model` begins with `module.`, once. Raises InputError for another file.
    """
    if Path(path).suffix == ".safetensors" or is_safetensors(path):
        return _from_safetensors(path)
    state = load_torch(path)
    if not isinstance(state, dict):
        raise InputError(f"no 'model' in the file (it has {type(state).__name__})", where=path, do=DO)
    if "model" not in state:
        state = {"model": _bare_weights(state, path)}
    state = {**state, "model": _unwrapped(state["model"], path), "ema": state.get("ema"),
             "optimizer": state.get("optimizer")}
    if state["ema"] is not None:
        state["ema"] = _checked_average(state["ema"], path)
    _check_extra(state, path)
    return state


def _bare_weights(state, path):
    """Return the state dict that a file consists of, or has under one of STATE_DICTS."""
    for weights in (state, *(state.get(name) for name in STATE_DICTS)):
        if isinstance(weights, dict) and any(_plain(name).startswith("all_modules.") for name in weights):
            return weights
    shown = [str(name) for name in state] or ["nothing"]
    raise InputError(f"no 'model' in the file (it has {', '.join(shown[:4])}{', ...' if len(shown) > 4 else ''})",
                     where=path, do=f"{DO}: a dictionary of model, ema and optimizer, or a state dict")


def _unwrapped(model, path):
    """Return a state dict with the prefix `module.` once before each name, whatever wrapped the network."""
    if not isinstance(model, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in model.values()):
        raise InputError("'model' is not a dictionary of tensors", where=path, do=DO)
    plain = {PREFIX + _plain(name): tensor for name, tensor in model.items()}
    if len(plain) < len(model):
        raise InputError("'model' has the same weights with and without a wrapper's prefix", where=path, do=DO)
    return plain


def _plain(name):
    """Return a parameter's name without the prefixes of wrappers."""
    name = str(name)
    while name.startswith(WRAPPERS):
        name = name.partition(".")[2]
    return name


def _checked_average(ema, path):
    """Return the `ema` of a checkpoint with num_updates an int."""
    if not isinstance(ema, dict) or not {"decay", "num_updates", "shadow_params"} <= set(ema):
        raise InputError("'ema' lacks decay, num_updates or shadow_params", where=path, do=DO)
    shadow = ema["shadow_params"]
    if not isinstance(shadow, (list, tuple)) or not all(isinstance(tensor, torch.Tensor) for tensor in shadow):
        raise InputError("'shadow_params' of 'ema' is not a list of tensors", where=path, do=DO)
    count = ema["num_updates"]
    if count is None:  # a constant decay d: as after the updates n at which (1 + n) / (10 + n) reaches it
        decay = ema["decay"] if isinstance(ema["decay"], float) and 0 <= ema["decay"] < 1 else 0.999
        count = max(math.ceil((10 * decay - 1) / (1 - decay)), 0)
    return {**ema, "shadow_params": list(shadow), "num_updates": _whole(count, "'num_updates' of 'ema'", path)}


def _whole(value, what, path):
    """Return a number from 0, numpy's and tensors too, as an int."""
    try:
        plain = value.item() if hasattr(value, "item") else value
        number = int(plain) if isinstance(plain, float) and plain.is_integer() else operator.index(plain)
        if number < 0:
            raise ValueError
        return number
    except (TypeError, ValueError, RuntimeError) as error:
        shown = f"a {type(value).__name__}" if isinstance(value, torch.Tensor) else repr(value)
        raise InputError(f"{what} is {shown}, expected an integer from 0", where=path,
                         do="Use an unchanged checkpoint") from error


def _check_extra(state, path):
    """Raise InputError unless our additions to the container are an integer, and JSON text of a configuration."""
    if state.get("step") is not None:
        state["step"] = _whole(state["step"], "'step'", path)
    if state.get("genprobe") is None:
        state.pop("genprobe", None)
        return
    try:
        extra = json.loads(state["genprobe"])
        good = isinstance(extra, dict) and type(extra.get("updates", 0)) is int
    except (ValueError, TypeError, RecursionError):
        good = False
    if not good:
        raise InputError("invalid 'genprobe' entry", where=path, do="Use an unchanged checkpoint")
    if extra.get("config") is not None:
        state["genprobe"] = json.dumps({**extra, "config": complete(extra["config"], path)})


def _from_safetensors(path):
    """Return a checkpoint's dictionary of a converted file (`qc_ncsn convert`): one set of weights, no optimiser."""
    tensors, metadata = load_safetensors(path)
    state = {"model": _unwrapped(tensors, path), "ema": None, "optimizer": None}
    state |= {"genprobe": metadata.get("genprobe", "{}"), "weights": metadata.get("weights")}
    _check_extra(state, path)
    return state


def stored_config(state):
    """Return the configuration stored in a checkpoint of ours, or None in a published one."""
    extra = json.loads(state["genprobe"]) if state.get("genprobe") else {}
    return extra.get("config")
