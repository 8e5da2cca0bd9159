"""The training state in a file: what a killed run goes on from, and a network file in its own right.

checkpoint.pth is a torch.save of {"config", "ema", "model", "adam", "step", "losses"}: `common.networks.adm_weights`
finds the averaged weights under `ema` and the others under `model`.
"""

from common.errors import InputError
from common.formats.checkpoints import check_finite, load_strictly, load_torch, save_torch

MOMENTS = ("exp_avg", "exp_avg_sq")


def save_state(path, network, average, adam, step, losses):
    """Write the state after `step` steps; losses: those of the last steps, newest last."""
    moments = {name: [adam.state[parameter][name].cpu().contiguous() for parameter in network.parameters()]
               for name in MOMENTS}
    save_torch(path, {
        "config": network.config.to_kwargs(), "ema": _cpu(average), "model": _cpu(network), "adam": moments,
        "step": step,
        "losses": list(losses),
    })


def _cpu(network):
    return {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}


def load_state(path, network, average, adam):
    """Take over a stored state and return (steps done, losses of the last ones).

    Raises InputError for a damaged file, and one of another architecture.
    """
    import torch

    state = load_torch(path)
    do = "Use the flags that it was trained with, another --output_dir, or --overwrite to start anew"
    if not isinstance(state, dict) or not {"ema", "model", "adam", "step", "losses"} <= set(state):
        raise InputError("not a checkpoint of train_edm", where=path, do=do)
    load_strictly(network, state["model"], path, do)
    load_strictly(average, state["ema"], path, do)
    for number, (name, parameter) in enumerate(network.named_parameters()):
        held = {}
        for moment in MOMENTS:
            tensors = state["adam"].get(moment, [])
            if number >= len(tensors) or tensors[number].shape != parameter.shape:
                raise InputError(f"Adam's '{moment}' does not fit '{name}'", where=path, do=do)
            check_finite(f"{moment} of {name}", tensors[number], path)
            # fused Adam reads both in memory's order
            held[moment] = torch.empty_like(parameter, requires_grad=False).copy_(tensors[number])
        on = parameter.device if adam.defaults["fused"] else "cpu"
        adam.state[parameter] = {"step": torch.tensor(float(state["step"]), device=on), **held}
    return int(state["step"]), [float(loss) for loss in state["losses"]]
