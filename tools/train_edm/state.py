"""The training state in a file, from which a killed run resumes; it is a network file in its own right, too.

checkpoint.pth is a torch.save of {"config", "ema", "model", "adam", "step", "losses"}: `common.networks.adm_weights`
finds the averaged weights under `ema` and the others under `model`.
"""

import operator

from common.errors import InputError
from common.formats.checkpoints import load_strictly, load_torch, save_torch
from common.training.state import MOMENTS, load_optimiser, on_cpu


def save_state(path, network, average, optimiser, step, losses):
    """Write the state after `step` steps; losses: those of the last steps, newest last."""
    state = optimiser.optimiser.state
    moments = {name: on_cpu([state[parameter][name] for parameter in network.parameters()]) for name in MOMENTS}
    save_torch(path, {
        "config": network.config.to_kwargs(), "ema": on_cpu(average.state_dict()),
        "model": on_cpu(network.state_dict()), "adam": moments, "step": step, "losses": list(losses),
    })


def load_state(path, network, average, optimiser):
    """Restore a saved state and return (steps done, losses of the last ones).

    Raises InputError for a damaged file or another architecture.
    """
    import torch

    state = load_torch(path)
    do = "Use the flags of that training, another --output_dir, or --overwrite to start over"
    if not isinstance(state, dict) or not {"ema", "model", "adam", "step", "losses"} <= set(state):
        raise InputError("not a checkpoint of train_edm", where=path, do=do)
    try:
        step, losses = operator.index(state["step"]), [float(loss) for loss in state["losses"]]
        moments = [dict(zip(MOMENTS, pair)) for pair in zip(*(state["adam"].get(name, []) for name in MOMENTS))]
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError("its step, losses or moments are not those of a training", where=path, do=do) from error
    load_strictly(network, state["model"], path, do)
    load_strictly(average, state["ema"], path, do)
    entries = {number: {"step": torch.tensor(float(step)), **entry} for number, entry in enumerate(moments)}
    groups = optimiser.optimiser.state_dict()["param_groups"]
    load_optimiser(optimiser, {"state": entries, "param_groups": groups}, step, path, do)
    return step, losses
