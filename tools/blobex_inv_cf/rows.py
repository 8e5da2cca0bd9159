"""Rows that are optimised side by side and leave when they are done: their free tensors with Adam's moments.

Adam's step count belongs to a row, and no row knows of the others: what becomes of one does not depend on which
others are optimised with it, up to rounding.
"""

import torch

BETAS, EPSILON = (0.9, 0.999), 1e-8


class Rows:
    """R rows in flight.

    parts: {name: (R, ...) leaf tensor with gradients}, what is optimised.
    beside: {name: (R, ...) tensor}, what belongs to the rows and is not optimised.
    rates: {name: learning rate}.
    """

    def __init__(self, rates):
        self.rates, self.parts, self.beside = dict(rates), {}, {}
        self._first, self._second, self._count = {}, {}, None

    def __len__(self):
        return 0 if self._count is None else len(self._count)

    def append(self, parts, beside):
        """Add rows with these values at the end, at step 0."""
        count = len(next(iter(parts.values())))
        device = next(iter(parts.values())).device
        steps = torch.zeros(count, dtype=torch.int64, device=device)
        self._count = steps if self._count is None else torch.cat([self._count, steps])
        for name, part in parts.items():
            zeros = torch.zeros_like(part)
            self._first[name] = _joined(self._first.get(name), zeros)
            self._second[name] = _joined(self._second.get(name), zeros)
            self.parts[name] = _joined(self.parts.get(name), part).detach().clone().requires_grad_()
        for name, value in beside.items():
            self.beside[name] = _joined(self.beside.get(name), value)

    def select(self, rows):
        """Keep some rows, in this order; rows: an index tensor or a mask."""
        self._count = self._count[rows]
        for group in (self._first, self._second, self.beside):
            for name in group:
                group[name] = group[name][rows]
        self.parts = {name: part.detach()[rows].clone().requires_grad_() for name, part in self.parts.items()}

    def step(self, objective, scale=1.0):
        """Take one step of Adam down an objective (R,) of the parts. scale: factor of the rates, a number or (R,).

        A row whose gradient has a value that is not finite stays where it is.
        """
        gradients = torch.autograd.grad(objective.sum(), list(self.parts.values()), allow_unused=True)
        gradients = [torch.zeros_like(part) if gradient is None else gradient
                     for gradient, part in zip(gradients, self.parts.values())]
        finite = torch.stack([gradient.flatten(1).isfinite().all(dim=1) for gradient in gradients]).all(dim=0)
        self._count = self._count + finite
        count = self._count.to(objective.dtype).clamp(min=1)
        with torch.no_grad():
            for (name, part), gradient in zip(self.parts.items(), gradients):
                shape = (-1, *[1] * (part.dim() - 1))
                moves = finite.reshape(shape)
                gradient = torch.where(moves, gradient, 0)
                first, second = self._first[name], self._second[name]
                first.copy_(torch.where(moves, torch.lerp(first, gradient, 1 - BETAS[0]), first))
                square = BETAS[1] * second + (1 - BETAS[1]) * gradient.square()
                second.copy_(torch.where(moves, square, second))
                size = first / (1 - BETAS[0] ** count).reshape(shape)
                spread = (second / (1 - BETAS[1] ** count).reshape(shape)).sqrt() + EPSILON
                rate = torch.as_tensor(self.rates[name] * scale, dtype=part.dtype, device=part.device)
                rate = rate.reshape(shape) if rate.dim() else rate
                part.sub_(torch.where(moves, rate * size / spread, 0))
        return finite


def _joined(first, second):
    return second.clone() if first is None else torch.cat([first.detach(), second])
