"""Exponential moving averages of weights, and schedules of their decay."""

import torch


class Average:
    """A moving average of parameters: s += (1 - d) (p - s), with decay d.

    decay: a number, or a function of the count of updates, this one included (`ramp_up`, `half_life`).
    shadow: tensors to hold the average, such as the parameters of a copy of the network; None: new ones.
    """

    def __init__(self, parameters, decay, shadow=None):
        self.parameters, self.count = list(parameters), 0
        self.decay = decay if callable(decay) else lambda count: decay
        self.shadow = [parameter.detach().clone() for parameter in self.parameters] if shadow is None else list(shadow)

    @torch.no_grad()
    def update(self, parameters=None):
        """Take one step towards the current parameters, or towards other values of them."""
        self.count += 1
        weight = 1 - self.decay(self.count)
        targets = self.parameters if parameters is None else parameters
        torch._foreach_lerp_(self.shadow, [parameter.detach() for parameter in targets], weight)


def ramp_up(decay):
    """Return the decay min(decay, (1 + n) / (10 + n)) of the n-th update, as in TensorFlow: first weights fade fast."""
    return lambda count: min(decay, (1 + count) / (10 + count))


def half_life(batch, halflife_kimg, rampup_ratio=0.0):
    """Return the decay 0.5^(batch / H) with the half-life H in images (NVlabs/edm).

    H is halflife_kimg thousands, capped at rampup_ratio of the images seen so far (0: no cap). Decay d at batch size b
    is a half-life of -b ln 2 / ln d images, and `ramp_up` one of about ln 2 / 9 = 0.077 of the images seen.
    """
    def decay(count):
        halflife = halflife_kimg * 1000
        if rampup_ratio > 0:
            halflife = min(halflife, (count - 1) * batch * rampup_ratio)
        return 0.5 ** (batch / max(halflife, 1e-8))

    return decay
