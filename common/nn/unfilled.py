"""Networks without values, whose weights are to come from a file.

On torch's device "meta" arithmetic and random numbers run through Python code that first imports torch's compiler and
SymPy, half of the start of a command that opens a checkpoint. Shapes are all that is wanted, so they are found here.
"""

from contextlib import contextmanager

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

_ELEMENTWISE = {getattr(torch.Tensor, name) for name in (
    "add", "sub", "mul", "div", "pow", "sqrt", "exp", "log", "__radd__", "__rsub__", "__rmul__", "__rtruediv__")}
_ELEMENTWISE |= {torch.exp, torch.log, torch.sqrt}


class _Shapes(TorchFunctionMode):
    """Answers with tensors of the right shape and type what would otherwise be computed of no values."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.randn:
            return torch.empty(*args, **kwargs)
        if func is torch.Tensor.normal_:
            return args[0]
        if func is torch.linspace:
            return torch.empty(args[2], **kwargs)
        if func is torch.outer:
            return torch.empty(len(args[0]), len(args[1]), dtype=args[0].dtype)
        if func in _ELEMENTWISE:
            tensors = [value for value in args if isinstance(value, torch.Tensor)]
            return torch.empty(np.broadcast_shapes(*(tensor.shape for tensor in tensors)), dtype=tensors[0].dtype)
        return func(*args, **kwargs)


@contextmanager
def unfilled():
    """Within this context networks are made without memory and without values, on torch's device "meta".

    Every parameter and buffer is to be assigned afterwards.
    """
    with torch.device("meta"), _Shapes():
        yield
