"""Learning-rate schedules, and an optimiser with its schedule and clipping."""

import math
from dataclasses import dataclass
from typing import NamedTuple, Optional

import torch


@dataclass(frozen=True)
class Schedule:
    """The learning rate of update n = 0, 1, ...: linear warm-up, then a cosine, halving, or constant.

    warmup: updates over which it rises, from lr / warmup, or from 0 with from_zero.
    cosine: the update at which a cosine reaches `floor` lr, 0 for none.
    halving: updates between halvings, 0 for none.
    fall: (first, end), the updates between which it falls linearly to 0; None for none.
    """

    lr: float
    warmup: int = 0
    from_zero: bool = False
    cosine: int = 0
    floor: float = 0.0
    halving: int = 0
    fall: Optional[tuple] = None

    def __call__(self, n):
        """Return the learning rate of update n."""
        rate = self.lr
        if self.warmup > 0:
            rate *= min((n if self.from_zero else n + 1) / self.warmup, 1.0)
        if self.cosine:
            rate *= self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * min(n / self.cosine, 1.0)))
        if self.fall:
            first, end = self.fall
            rate *= min(max((end - n) / max(end - first, 1), 0.0), 1.0)
        return rate * 0.5 ** (n // self.halving) if self.halving else rate


class Before(NamedTuple):
    """What an update changes: copies of the parameters, of their moments, and the number of updates."""

    parameters: list
    moments: list
    updates: int


class Optimiser:
    """A torch optimiser with a schedule, and clipping of the gradient's norm.

    schedule: the learning rate as a function of `updates`, the number done since the run started.
    clip: the maximum norm of the gradient, None for no clipping.
    """

    def __init__(self, optimiser, schedule, clip=None):
        self.optimiser, self.schedule, self.clip, self.updates = optimiser, schedule, clip, 0

    def parameters(self):
        """Return the parameters with a gradient."""
        return [parameter for group in self.optimiser.param_groups for parameter in group["params"]
                if parameter.grad is not None]

    def norm(self):
        """Return the norm of the whole gradient, a scalar tensor."""
        return torch.nn.utils.get_total_norm([parameter.grad for parameter in self.parameters()])

    def remember(self):
        """Return a copy of what an update changes: the Before of `restore`."""
        parameters = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        moments = [{name: value.clone() for name, value in self.optimiser.state.get(parameter, {}).items()}
                   for parameter in parameters]
        return Before([parameter.detach().clone() for parameter in parameters], moments, self.updates)

    @torch.no_grad()
    def restore(self, before):
        """Undo all updates since `remember` returned `before`."""
        parameters = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        for parameter, own, moments in zip(parameters, before.parameters, before.moments):
            parameter.copy_(own)
            if moments:
                self.optimiser.state[parameter] = moments
            else:
                self.optimiser.state.pop(parameter, None)
        self.updates = before.updates

    def step(self, norm):
        """Clip the gradient of this norm, update the parameters, and return the learning rate."""
        if self.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(self.parameters(), self.clip, norm)
        rate = self.schedule(self.updates)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self.updates += 1
        return rate
