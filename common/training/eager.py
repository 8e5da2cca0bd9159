"""torch's optimisers without its compiler.

Making one of torch.optim, or its first step, imports torch's compiler and SymPy to mark what a compiled program is not
to trace, which takes nearly as long as `import torch` itself. No update is compiled here, so the same methods are
called from behind those marks. Numbers and state dicts are torch.optim's own.
"""

from inspect import unwrap

import torch

_MARKED = ("add_param_group", "state_dict", "load_state_dict", "zero_grad")


def _eager(kind):
    """Return a subclass of an optimiser, of the same name."""
    plain = {name: unwrap(getattr(kind, name)) for name in _MARKED}
    return type(kind.__name__, (kind,), {**plain, "step": torch.no_grad()(unwrap(kind.step)), "__doc__": kind.__doc__,
                                         "__module__": __name__})


Optimizer = _eager(torch.optim.Optimizer)  # for optimisers of our own
Adam = _eager(torch.optim.Adam)
AdamW = _eager(torch.optim.AdamW)
