"""Ranger: rectified Adam (Liu et al. 2020) with look-ahead (Zhang et al. 2019) and gradient centralisation (Yong et al.
2020), as pixel2style2pixel trains with it."""

import math

import torch

from common.training import eager

LOOK_AHEAD, SLOW_SHARE, THRESHOLD = 6, 0.5, 5  # steps between, share of the way; length from which rectification holds


class Ranger(eager.Optimizer):
    """The optimiser. A gradient of more than one axis loses its mean over all axes but the first; every sixth step
    the weights go half of the way from the slow weights, which follow there."""

    moments = ("exp_avg", "exp_avg_sq", "slow")

    def __init__(self, params, lr=1e-3, betas=(0.95, 0.999), eps=1e-5):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure=None):
        """Update the parameters that have a gradient."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, self.state[parameter], group)

    def _update(self, parameter, state, group):
        gradient, (beta1, beta2) = parameter.grad, group["betas"]
        if not state:
            state |= {"step": 0, "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter),
                      "slow": parameter.detach().clone(memory_format=torch.preserve_format)}
        if gradient.dim() > 1:
            gradient = gradient - gradient.mean(dim=tuple(range(1, gradient.dim())), keepdim=True)
        state["step"] += 1
        state["exp_avg"].lerp_(gradient, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        rate, rectified = rectification(state["step"], beta1, beta2)
        if rectified:
            deviation = state["exp_avg_sq"].sqrt().add_(group["eps"])
            parameter.addcdiv_(state["exp_avg"], deviation, value=-group["lr"] * rate)
        else:
            parameter.add_(state["exp_avg"], alpha=-group["lr"] * rate)
        if state["step"] % LOOK_AHEAD == 0:
            state["slow"].lerp_(parameter, SLOW_SHARE)
            parameter.copy_(state["slow"])


def rectification(step, beta1, beta2):
    """Return (factor of the learning rate at a step from 1, whether the second moment is known well enough to divide
    by it)."""
    decay, most = beta2**step, 2 / (1 - beta2) - 1
    length = most - 2 * step * decay / (1 - decay)
    correction = 1 / (1 - beta1**step)
    if length <= THRESHOLD:
        return correction, False
    variance = (length - 4) / (most - 4) * (length - 2) / length * most / (most - 2)
    return math.sqrt((1 - decay) * variance) * correction, True
