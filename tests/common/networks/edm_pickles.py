"""Writing network pickles of the NVIDIA layout, honest and hostile, without NVIDIA's code."""

import io
import pickle
import sys
import types

import numpy as np
import torch

CANARY = "raise RuntimeError('embedded source was executed')\n"
MODULE = "torch_utils.persistence"
FUNCTION = "_reconstruct_persistent_obj"


class Saved:
    """An object that is pickled as a decorated class is."""

    def __init__(self, class_name, state, kind="class"):
        self.meta = {"type": kind, "version": 6, "module_src": CANARY, "class_name": class_name, "state": state}

    def __reduce__(self):
        return sys.modules[MODULE]._reconstruct_persistent_obj, (self.meta,)


def saved(module, class_name="EDMPrecond", args=(), kwargs=None):
    """Return the Saved of a torch module: its state as NVIDIA's pickles have it, children saved the same way."""
    children = {name: None if child is None else saved(child, type(child).__name__) for name,
                child in module._modules.items()}
    state = {"training": False, "_parameters": dict(module._parameters), "_buffers": dict(module._buffers),
             "_non_persistent_buffers_set": set(), "_modules": children, "_forward_hooks": {},
             "init_weight": np.float64(0.57), "_init_args": args, "_init_kwargs": kwargs or {}}
    if isinstance(module, torch.nn.ModuleDict):
        container = torch.nn.ModuleDict()
        container.__dict__["_modules"] = children
        return container
    return Saved(class_name, state)


def dump(value, protocol=4):
    """Return the bytes of a pickle that calls NVIDIA's function for every Saved."""
    package, module = types.ModuleType("torch_utils"), types.ModuleType(MODULE)

    def reconstruct(meta):
        raise RuntimeError("embedded source was executed")

    reconstruct.__module__, reconstruct.__qualname__, reconstruct.__name__ = MODULE, FUNCTION, FUNCTION
    module._reconstruct_persistent_obj, package.persistence = reconstruct, module
    sys.modules.update({"torch_utils": package, MODULE: module})
    try:
        stream = io.BytesIO()
        pickle.Pickler(stream, protocol).dump(value)
        return stream.getvalue()
    finally:
        del sys.modules["torch_utils"], sys.modules[MODULE]


def arguments(network):
    """Return the constructor's arguments as EDM records them."""
    config = network.config
    return {"img_resolution": config.img_resolution, "img_channels": config.img_channels, "label_dim": config.label_dim,
            "use_fp16": True, "sigma_min": 0, "sigma_max": float("inf"), "sigma_data": 0.5,
            "model_type": "DhariwalUNet",
            "augment_dim": config.augment_dim, "model_channels": config.model_channels,
            "channel_mult": list(config.channel_mult), "channel_mult_emb": config.channel_mult_emb,
            "num_blocks": config.num_blocks, "attn_resolutions": list(config.attn_resolutions), "dropout": 0.1}


class Call:
    """Pickled as a call of a global (given as an importable function) with arguments."""

    def __init__(self, function, *given):
        self.function, self.given = function, given

    def __reduce__(self):
        return self.function, self.given
