"""The parts of a training step: loss, draws, Adam, EMA, and the published checkpoint that resumes it."""

import json

import torch
from torch import nn

from common.errors import InputError
from common.nn.dropout import DropoutDraw
from common.score.container import PREFIX
from common.score.models import load_weights, trainable
from common.seeding import rademacher, unit_generator, unit_seed
from common.training import eager
from common.training.batches import Epochs
from common.training.ema import Average, ramp_up
from common.training.optim import Optimiser, Schedule
from common.training.state import interned, load_average, load_optimiser
from tools.qc_ncsn.data import to_unit_range
from tools.qc_ncsn.losses import training_loss


class ScoreLoss(nn.Module):
    """The loss as a module around the network, for DistributedDataParallel and torch.compile to wrap."""

    def __init__(self, network, score, sde, loss, likelihood_weighting=False):
        super().__init__()
        self.network, self.score, self.sde = network, score, sde
        self.balancing_factor, self.reg_weight = loss["balancing_fac"], loss["reg_weight"]
        self.separate_masks = loss["slice_masks"] == "separate" and self.balancing_factor > 0
        self.likelihood_weighting = likelihood_weighting

    def forward(self, x0, t, z, v):
        """Return (dsm, reg) per image (B,) for images x0 (B, C, H, W), times (B,), noise, and vectors (K B, C, H,
        W)."""
        if self.separate_masks:  # one row, and so one dropout mask, per vector, as in the original
            slices = v.shape[0] // x0.shape[0]
            x0, t, z = (value.repeat(slices, *[1] * (value.dim() - 1)) for value in (x0, t, z))
        dsm, reg = training_loss(self.score, self.sde, x0, t, z, v, self.balancing_factor, self.reg_weight,
                                 self.likelihood_weighting)
        if self.separate_masks:
            dsm, reg = (value.reshape(slices, -1).mean(0) for value in (dsm, reg))
        return dsm, reg


def make_optimiser(network, optim, total_steps, fused=False):
    """Return Adam for a network by a configuration's section `optim`; the warm-up starts at a rate of 0."""
    # All parameters, the frozen Fourier frequencies too: the published optimiser state counts them.
    adam = eager.Adam(network.parameters(), lr=optim["lr"], betas=(optim["beta1"], optim["beta2"]),
                      eps=optim["eps"], weight_decay=optim["weight_decay"], fused=fused or None)
    cosine = max(total_steps, 1) if optim["schedule"] == "cosine" else 0
    return Optimiser(adam, Schedule(optim["lr"], optim["warmup"], from_zero=True, cosine=cosine),
                     optim["grad_clip"] if optim["grad_clip"] >= 0 else None)


def make_average(network, decay):
    """Return the EMA of a network's trained parameters."""
    return Average([parameter for _, parameter in trainable(network)], ramp_up(decay))


class ScoreBatches:
    """The training batches: images and all random numbers of a step, from (seed, step, row of the batch).

    read: function of indices -> (uint8 images (n, H, W, C), which of them are good (n,)); for one that is not good
    another is drawn.  count: number of images.
    """

    ATTEMPTS = 100  # draws for a row whose images cannot be read

    def __init__(self, read, count, seed, batch, slices, flip):
        self.read, self.count, self.seed, self.batch, self.slices = read, count, seed, batch, slices
        self.flip = flip
        self.epochs = Epochs(count, seed, batch)

    def draw(self, step, first, last):
        """Return (x0, u, z, v) of rows [first, last) of a step's batch.

        x0: (B, C, H, W) float32 in [0, 1].  u: (B,) uniform.  z like x0.  v: (K B, C, H, W) signs, slice-major.
        """
        pixels, good = self.read([self.epochs(step, row) for row in range(first, last)])
        for place in (~good).nonzero()[0]:
            pixels[place] = self._another(step, first + int(place))
        x0 = to_unit_range(pixels)
        shape = tuple(x0.shape[1:])
        u, z, v, flips = [], [], [], []
        for row in range(first, last):
            generator = unit_generator(self.seed, "train", step, row)
            uniform = torch.rand(2, generator=generator)  # time and flip; drawn even without flips
            u.append(uniform[0])
            flips.append(bool(uniform[1] < 0.5))
            z.append(torch.randn(shape, generator=generator))
            v.append(rademacher((self.slices, *shape), generator))
        if self.flip:
            chosen = torch.tensor(flips)[:, None, None, None]
            x0 = torch.where(chosen, x0.flip(3), x0)
        return x0.contiguous(), torch.stack(u), torch.stack(z), torch.stack(v, dim=1).flatten(0, 1)

    def _another(self, step, row):
        """Return the pixels of a replacement for a row's image that cannot be read."""
        generator = unit_generator(self.seed, "replacement", step, row)
        for _ in range(self.ATTEMPTS):
            pixels, good = self.read([int(torch.randint(self.count, (), generator=generator))])
            if good[0]:
                return pixels[0]
        raise InputError(f"{self.ATTEMPTS} images in a row cannot be read", where="the data set",
                         do="Repair it and run the same command again")

    def dropout_draw(self, step, first, last, slices):
        """Return the DropoutDraw of those rows."""
        return DropoutDraw(unit_seed(self.seed, "dropout", step), self.batch, first, last, slices)


def checkpoint_state(network, optimiser, average, step, config):
    """Return the checkpoint dictionary after `step`, in the published container plus `step` and `genprobe`."""
    return {
        "optimizer": interned(optimiser.optimiser.state_dict()),
        "model": {PREFIX + name: tensor for name, tensor in network.state_dict().items()},
        "ema": {"decay": config["model"]["ema_rate"], "num_updates": average.count, "shadow_params": average.shadow},
        "step": step,
        "genprobe": json.dumps({"config": config, "updates": optimiser.updates}),
    }


def load_training_state(state, where, network, optimiser, average, fresh_optimizer=False, resume=False):
    """Load weights, EMA and optimiser from a checkpoint's dictionary.

    resume: also the number of updates done since the run began, which drives the warm-up; a run that only starts
    from a checkpoint warms up again, as in the original.
    """
    if state["optimizer"] is None and not fresh_optimizer:
        raise InputError("this file has no optimiser state", where=where,
                         do="Pass --fresh_optimizer to start a new one")
    load_weights(network, state, where, state.get("weights") or "raw")
    if state["ema"] is None:  # one set of weights: the average starts from it
        load_average(average, [parameter.detach().clone() for _, parameter in trainable(network)], 0, where, "")
    else:
        load_average(average, state["ema"]["shadow_params"], state["ema"]["num_updates"], where,
                     "Use a checkpoint of this configuration")
    if not fresh_optimizer:
        updates = json.loads(state["genprobe"]).get("updates") if resume else optimiser.updates
        load_optimiser(optimiser, state["optimizer"], updates, where,
                       "Pass --fresh_optimizer to start a new one")
