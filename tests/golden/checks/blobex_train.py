"""Check of area blobex that runs one step of train_blobgan: both turns, the averages, and both optimisers."""

import copy

import numpy as np
import torch

from common.training.ema import Average
from common.training.log import Log
from common.training.loop import Loop, Part
from common.training.plan import Plan
from tests.golden.checks.blobex_networks import configuration, loaded
from tests.golden.compare import Judged, within
from tests.golden.registry import check
from tools.train_blobgan.__main__ import TrainOptions
from tools.train_blobgan.optimisers import make_optimisers
from tools.train_blobgan.presets import filled
from tools.train_blobgan.step import GanStep

LOSSES, GRADS = {"rtol": 1e-4}, {"rtol": 2e-3, "atol_rel_to_max": 1e-3}
SHARE, OF_RATE = 0.99, 0.02  # of elements that must lie within this part of the learning rate: others may change sign
SCALARS = {"loss_G": "G", "loss_D_real": "D_real", "loss_D_fake": "D_fake", "R1_unscaled": "D_R1_unscaled",
           "loss_D_total": "total_loss_D", "acc_fake": "acc_fake", "acc_real": "acc_real"}


def settled(case):
    """Return the options of train_blobgan that a case's config describes."""
    config = case.spec["config"]
    return filled(TrainOptions(
        data="none", output_dir="none", lr=config["lr"], eps=config["eps"], D_reg_every=config["D_reg_every"],
        lambda_D_R1=config["R1_weight"], batch_size=config["N"], ema_decay=0.5 ** (32 / 10_000),
        feature_jitter_xy=0.0, feature_jitter_angle=0.0, feature_jitter_shift=0.0))


class _Unlogged(Log):
    """A log that writes nothing."""

    def __init__(self):
        self.folder = None


@check("blobex/train_step")
def train_step(case):
    """Losses, gradients and weights of a step in which R1 is due."""
    options, config, state = settled(case), configuration(case), case.state_dict()
    networks = {name: loaded(getattr(config, name)(), state, f"{name}.")
                for name in ("generator", "layout_net", "discriminator")}
    averaged = {name: copy.deepcopy(networks[name]) for name in ("generator", "layout_net")}
    averages = [Average(networks[name].parameters(), options.ema_decay,
                        [parameter.detach().mul_(0.9) for parameter in network.parameters()])
                for name, network in averaged.items()]
    optimisers, gradients = make_optimisers(networks, options, torch.device("cpu")), {}
    for optimiser in optimisers.values():
        _keep_gradients(optimiser, networks, gradients)
    step = GanStep(networks, averages, options, torch.device("cpu"))
    step.real = lambda part: part.draws[0]
    loop = Loop(Plan(1, 1, options.batch_size, 1, ()), None, None, None, _Unlogged(), optimisers)
    values = step(loop, options.D_reg_every, [Part(0, options.batch_size, draws(case, config))])
    after = {f"{name}.{path}": parameter for name, network in networks.items()
             for path, parameter in network.named_parameters()}
    after |= {f"{name}_ema.{path}": parameter for name, network in averaged.items()
              for path, parameter in network.named_parameters()}
    ratios = {name: within(np.float32(values[f"train/{entry}"]), case.arrays[name], **LOSSES)
              for name, entry in SCALARS.items() if name in case.arrays}
    for name, expected in case.arrays.items():
        kind, _, path = name.partition("__")
        if kind == "grad":
            ratios[name] = within(gradients[path], expected, **GRADS)
        elif kind == "after":
            rate = optimisers["discriminator" if path.startswith("discriminator") else "generator"].schedule(0)
            ratios[name] = moved(after[path].detach().numpy(), expected, rate)
    for which in ("fake", "real"):
        ratios[f"score_{which}"] = within(np.float32(values[f"train/score_{which}"]),
                                          case.arrays[f"logits_{which}"].mean(), **LOSSES)
    return Judged(ratios)


def draws(case, config):
    """Return the draws of the batch: images, and noise, noise maps and jitter (unused) of both turns."""
    found, count = [case.tensor("real")], len(config.generator().noise_shapes())
    for turn in ("G", "D"):
        maps = [case.tensor(f"noise_{turn}_{index}").flatten(1) for index in range(count)]
        found += [case.tensor(f"z_{turn}"), torch.cat(maps, dim=1), torch.zeros(len(found[0]), 4, config.n_features)]
    return tuple(found)


def _keep_gradients(optimiser, networks, gradients):
    """Make an optimiser store the gradients of its updates under the parameters' full names."""
    update = optimiser.step

    def step(norm):
        gradients.update({f"{name}.{path}": parameter.grad.clone() for name, network in networks.items()
                          for path, parameter in network.named_parameters() if parameter.grad is not None})
        return update(norm)

    optimiser.step = step


def moved(got, expected, rate):
    """Return the error over tolerance of weights after an update of Adam: all but a share within a part of the rate."""
    if got.shape != expected.shape:
        return float("inf")
    error = np.abs(got - expected) / (OF_RATE * rate + 1e-6 * np.abs(expected))
    return float(np.quantile(error, SHARE, method="higher"))
