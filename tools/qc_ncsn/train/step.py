"""The training step: draws, losses, clipping, Adam with warm-up, moving average, and the state that resumes it."""

import json
import math
import sys

import numpy as np
import torch
from torch import nn

from common.nn.dropout import DropoutDraw
from common.score.models import PREFIX, load_weights, trainable
from common.seeding import rademacher, unit_generator, unit_numpy, unit_seed
from tools.qc_ncsn.losses import training_loss


class ExponentialMovingAverage:
    """Moving average of parameters: n += 1; d = min(decay, (1 + n) / (10 + n)); s -= (1 - d) (s - p)."""

    def __init__(self, parameters, decay):
        self.parameters = list(parameters)
        self.decay, self.num_updates = decay, 0
        self.shadow = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def update(self):
        """Take one step towards the parameters as they are now."""
        self.num_updates += 1
        rate = 1 - min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        torch._foreach_lerp_(self.shadow, [parameter.detach() for parameter in self.parameters], rate)

    def state_dict(self):
        """Return {"decay", "num_updates", "shadow_params"}."""
        return {"decay": self.decay, "num_updates": self.num_updates, "shadow_params": self.shadow}

    def load_state_dict(self, state):
        """Take over a stored average."""
        self.decay, self.num_updates = state["decay"], int(state["num_updates"])
        for own, stored in zip(self.shadow, state["shadow_params"]):
            own.copy_(stored)


class LossModule(nn.Module):
    """The loss as a module of the network, so that DistributedDataParallel and torch.compile can wrap all of it."""

    def __init__(self, network, score, sde, loss, likelihood_weighting=False):
        super().__init__()
        self.network, self.score, self.sde = network, score, sde
        self.balancing_factor, self.reg_weight = loss["balancing_fac"], loss["reg_weight"]
        self.separate_masks = loss["slice_masks"] == "separate" and self.balancing_factor > 0
        self.likelihood_weighting = likelihood_weighting

    def forward(self, x0, t, z, v):
        """Return (dsm, reg) per image (B,) for images x0 (B, C, H, W), times (B,), noise, and vectors (K B, C, H,
        W)."""
        if self.separate_masks:  # a row, and so dropout masks of its own, for each vector, as in the original
            slices = v.shape[0] // x0.shape[0]
            x0, t, z = (value.repeat(slices, *[1] * (value.dim() - 1)) for value in (x0, t, z))
        dsm, reg = training_loss(self.score, self.sde, x0, t, z, v, self.balancing_factor, self.reg_weight,
                                 self.likelihood_weighting)
        if self.separate_masks:
            dsm, reg = (value.reshape(slices, -1).mean(0) for value in (dsm, reg))
        return dsm, reg


class Optimiser:
    """Adam with linear warm-up, an optional cosine to zero, and clipping of the global gradient norm.

    The rate of the n-th step since the start is lr min(n / warmup, 1), so the first step has rate 0.
    """

    def __init__(self, network, optim, total_steps):
        self.settings, self.total_steps, self.updates = optim, total_steps, 0
        self.trained = [parameter for _, parameter in trainable(network)]
        # All parameters, the Fourier frequencies too: the published optimiser state numbers them so.
        self.adam = torch.optim.Adam(network.parameters(), lr=optim["lr"], betas=(optim["beta1"], optim["beta2"]),
                                     eps=optim["eps"], weight_decay=optim["weight_decay"])

    def rate(self):
        """Return the learning rate of the next step."""
        rate = self.settings["lr"]
        if self.settings["warmup"] > 0:
            rate *= min(self.updates / self.settings["warmup"], 1.0)
        if self.settings["schedule"] == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * min(self.updates / max(self.total_steps, 1), 1.0)))
        return rate

    def step(self):
        """Clip, update the parameters and return (learning rate, gradient norm before clipping)."""
        rate = self.rate()
        for group in self.adam.param_groups:
            group["lr"] = rate
        limit = self.settings["grad_clip"]
        norm = torch.nn.utils.clip_grad_norm_(self.trained, limit if limit >= 0 else math.inf)
        self.adam.step()
        self.updates += 1
        return rate, float(norm)


class Batches:
    """The training batches: which images, and every random number of a step, from (seed, step, place in the batch)."""

    def __init__(self, images, seed, batch, slices, flip):
        self.images, self.seed, self.batch, self.slices, self.flip = images, seed, batch, slices, flip
        self._kept = (None, None)  # the last (epoch, its order), replaced as one: several threads draw batches

    def indices(self, step):
        """Return the data indices (batch,) of a step: epochs of seeded permutations, one after the other."""
        positions = np.arange(step * self.batch, (step + 1) * self.batch)
        return np.array([self._permutation(position // len(self.images))[position % len(self.images)]
                         for position in positions])

    def _permutation(self, epoch):
        kept = self._kept
        if kept[0] != epoch:
            kept = self._kept = (epoch, unit_numpy(self.seed, "epoch", epoch).permutation(len(self.images)))
        return kept[1]

    def draw(self, step, first, last, device="cpu"):
        """Return (x0, u, z, v) of rows [first, last) of a step's batch, on `device`.

        x0: (B, C, H, W) float32 in [0, 1].  u: (B,) uniform.  z like x0.  v: (K B, C, H, W) signs, slice-major.
        """
        pixels = torch.from_numpy(self.images.read(self.indices(step)[first:last]))
        x0 = pixels.permute(0, 3, 1, 2).float() / 255
        shape = tuple(x0.shape[1:])
        u, z, v, flips = [], [], [], []
        for row in range(first, last):
            generator = unit_generator(self.seed, "train", step, row)
            uniform = torch.rand(2, generator=generator)
            u.append(uniform[0])
            flips.append(bool(uniform[1] < 0.5))
            z.append(torch.randn(shape, generator=generator))
            v.append(rademacher((self.slices, *shape), generator))
        if self.flip:
            chosen = torch.tensor(flips)[:, None, None, None]
            x0 = torch.where(chosen, x0.flip(3), x0)
        v = torch.stack(v, dim=1).flatten(0, 1)
        return tuple(value.to(device, non_blocking=True)
                     for value in (x0.contiguous(), torch.stack(u), torch.stack(z), v))

    def dropout_draw(self, step, first, last, slices):
        """Return the DropoutDraw of those rows."""
        return DropoutDraw(unit_seed(self.seed, "dropout", step), self.batch, first, last, slices)


def checkpoint_state(network, optimiser, ema, step, config):
    """Return the checkpoint dictionary after `step`, in the published container plus `step` and `genprobe`."""
    extra = {"config": config, "updates": optimiser.updates}
    return {
        "optimizer": _interned(optimiser.adam.state_dict()),
        "model": {PREFIX + name: tensor for name, tensor in network.state_dict().items()},
        "ema": ema.state_dict(),
        "step": step,
        "genprobe": json.dumps(extra),
    }


def _interned(value):
    """Return nested dictionaries and lists with each text key one object: a resumed run then writes the same bytes."""
    if isinstance(value, dict):
        return {sys.intern(key) if isinstance(key, str) else key: _interned(item) for key, item in value.items()}
    return [_interned(item) for item in value] if isinstance(value, list) else value


def _check_moments(adam):
    """Raise ValueError unless each stored moment has its parameter's shape and is finite: Adam itself does not look."""
    for parameter, entry in adam.state.items():
        for name in ("exp_avg", "exp_avg_sq"):
            if entry[name].shape != parameter.shape:
                raise ValueError(f"'{name}' has shape {tuple(entry[name].shape)}, the parameter "
                                 f"{tuple(parameter.shape)}")
            if not bool(entry[name].isfinite().all()):
                raise ValueError(f"'{name}' holds NaN or infinite values")


def load_training_state(state, where, network, optimiser, ema, fresh_optimizer=False, resume=False):
    """Load weights, moving average and optimiser from a checkpoint's dictionary.

    resume: also the number of updates done since the run began, which drives the warm-up; a run that merely starts
    from a checkpoint warms up again, as the original's does.
    """
    from common.errors import InputError

    if state["ema"] is None:
        raise InputError("this file holds weights only, no optimiser or moving average", where=where,
                         do="Train from a .pth checkpoint")
    load_weights(network, state, where)
    ema_decay = ema.decay
    ema.load_state_dict(state["ema"])
    ema.decay = ema_decay  # the configuration's
    if not fresh_optimizer:
        try:
            optimiser.adam.load_state_dict(state["optimizer"])
            _check_moments(optimiser.adam)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"the optimiser state does not fit this network ({error})", where=where,
                             do="Pass --fresh_optimizer to start with a new one") from error
    if resume:
        optimiser.updates = json.loads(state["genprobe"])["updates"]
