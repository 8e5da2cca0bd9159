"""Sums over processes that can be differentiated, once and twice."""

import torch

from common import parallel


class SumAcross(torch.autograd.Function):
    """The sum over the processes; each process's objective is a part of the whole, so gradients are summed likewise."""

    @staticmethod
    def forward(ctx, x):
        """Return the sum of the processes' x."""
        return parallel.sum_across(x.clone())

    @staticmethod
    def backward(ctx, gradient):
        """Return the sum of the processes' gradients, which a second derivative goes through as well."""
        return SumAcross.apply(gradient)
