"""The state of a training run in one file: named parts, byte-stable and loaded strictly."""

import operator
import sys

import torch

from common.errors import InputError
from common.formats.checkpoints import check_finite, load_strictly, load_torch, save_torch

MOMENTS = ("exp_avg", "exp_avg_sq")


class TrainingState:
    """Networks, optimisers and averages by name, as {"step", "networks", "optimisers", "averages", "extra"} of a file.

    networks: {name: module}.  optimisers: {name: optim.Optimiser} over Adam or a variant.
    averages: {name: ema.Average}.
    A file with a missing or unexpected part, another shape, or a value that is not finite is an InputError.
    """

    def __init__(self, networks, optimisers, averages):
        self.networks, self.optimisers, self.averages = networks, optimisers, averages

    def save(self, path, step, extra=None):
        """Write the state after `step`; extra: plain values to store with it."""
        save_torch(path, interned({
            "step": step,
            "networks": {name: on_cpu(network.state_dict()) for name, network in self.networks.items()},
            "optimisers": {name: {"updates": optimiser.updates, "state": on_cpu(optimiser.optimiser.state_dict())}
                           for name, optimiser in self.optimisers.items()},
            "averages": {name: {"count": average.count, "shadow": on_cpu(average.shadow)}
                         for name, average in self.averages.items()},
            "extra": extra,
        }))

    def load(self, path, do="Use the options that it was trained with, or another folder"):
        """Load a stored state and return (step, extra)."""
        try:
            stored = load_torch(path)
        except InputError as error:
            raise InputError(error.what, where=error.where, do="Restore it, or pass --overwrite to start over") \
                from error
        check_parts(stored, ("step", "networks", "optimisers", "averages", "extra"), path, do)
        if type(stored["step"]) is not int:
            raise InputError("'step' is not an integer", where=path, do=do)
        for kind in ("networks", "optimisers", "averages"):
            check_parts(stored[kind], getattr(self, kind), path, do)
        for name, network in self.networks.items():
            load_strictly(network, stored["networks"][name], path, do)
        for name, optimiser in self.optimisers.items():
            entry = stored["optimisers"][name]
            check_parts(entry, ("updates", "state"), path, do)
            load_optimiser(optimiser, entry["state"], entry["updates"], path, do)
        for name, average in self.averages.items():
            entry = stored["averages"][name]
            check_parts(entry, ("count", "shadow"), path, do)
            load_average(average, entry["shadow"], entry["count"], path, do)
        return stored["step"], stored["extra"]


def check_parts(stored, expected, where, do):
    """Raise InputError unless `stored` is a dictionary of exactly the expected names."""
    names = list(stored) if isinstance(stored, dict) else []
    wrong = [(name, "is missing") for name in expected if name not in names]
    wrong += [(name, "is not part of this training") for name in names if name not in expected]
    if wrong:
        raise InputError("'{}' {}".format(*wrong[0]), where=where, do=do)


def load_optimiser(optimiser, state, updates, where, do):
    """Load the state of a torch optimiser of Adam's kind: empty, or moments for every trainable parameter."""
    inner = optimiser.optimiser
    try:
        if not isinstance(state, dict):
            raise TypeError(f"it is of type {type(state).__name__}")
        groups = [{**stored, "fused": group["fused"]} if group.get("fused") else stored
                  for group, stored in zip(inner.param_groups, state["param_groups"], strict=True)]
        inner.load_state_dict({**state, "param_groups": groups})
        _check_moments(inner)
        optimiser.updates = operator.index(updates)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(f"the optimiser state does not fit this network ({error})", where=where, do=do) from error


def _check_moments(inner):
    """Raise ValueError unless each moment has its parameter's shape and is finite: torch itself does not check."""
    names = getattr(inner, "moments", MOMENTS)  # an optimiser of ours names its own
    trained = {parameter for group in inner.param_groups for parameter in group["params"] if parameter.requires_grad}
    if inner.state and set(inner.state) != trained:
        raise ValueError(f"it has {len(inner.state)} parameters, expected {len(trained)}")
    for parameter, entry in inner.state.items():
        if not bool(torch.as_tensor(entry["step"]).isfinite().all()):
            raise ValueError("'step' is not finite")
        for name in names:
            if entry[name].shape != parameter.shape:
                raise ValueError(f"'{name}' has shape {tuple(entry[name].shape)}, the parameter "
                                 f"{tuple(parameter.shape)}")
            if not bool(entry[name].isfinite().all()):
                raise ValueError(f"'{name}' holds NaN or infinite values")
            # In the parameter's memory format: the fused kernels read both in memory order.
            entry[name] = torch.empty_like(parameter, requires_grad=False).copy_(entry[name])


def load_average(average, shadow, count, where, do):
    """Load the tensors of an average and its number of updates."""
    shapes = [getattr(tensor, "shape", None) for tensor in shadow] if isinstance(shadow, (list, tuple)) else None
    if shapes != [own.shape for own in average.shadow] or type(count) is not int:
        raise InputError("the averaged weights do not fit this network", where=where, do=do)
    for number, (own, tensor) in enumerate(zip(average.shadow, shadow)):
        check_finite(f"averaged tensor {number}", tensor, where)
        own.data.copy_(tensor)
    average.count = count


def on_cpu(value):
    """Return nested dictionaries and lists with every tensor on the CPU and contiguous."""
    if isinstance(value, dict):
        return {key: on_cpu(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [on_cpu(item) for item in value]
    return value.detach().cpu().contiguous() if isinstance(value, torch.Tensor) else value


def interned(value):
    """Return nested dictionaries and lists with equal text keys interned: a resumed run then writes the same bytes."""
    if isinstance(value, dict):
        return {sys.intern(key) if isinstance(key, str) else key: interned(item) for key, item in value.items()}
    return [interned(item) for item in value] if isinstance(value, list) else value
