"""Importing torchvision where its compiled operators do not load.

A torchvision built for CUDA beside a CPU build of torch cannot load its C++ library; it then fails on import, while it
describes operators that were never defined. Its Python parts (transforms on tensors, models) need none of them.
"""

import importlib

# What torchvision describes without asking first whether its library was loaded, as that library declares them.
SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

_libraries = []  # definitions last as long as their library object


def import_torchvision():
    """Return the torchvision module, declaring first, only where they are missing, the operators that it describes.

    Call it before importing any package that imports torchvision itself (lpips, clean-fid). A declared operator has no
    code: calling one raises NotImplementedError, as it should. Where torchvision's own library loads, nothing is done.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        declare_missing()
    return importlib.import_module("torchvision")


def declare_missing():
    """Declare the operators in SCHEMAS that torch does not know; return the names of those declared."""
    import torch

    missing = [name for name in SCHEMAS if not _is_declared(name)]
    if missing:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in missing:
            library.define(SCHEMAS[name])
        _libraries.append(library)
    return missing


def _is_declared(name):
    import torch

    return hasattr(torch.ops.torchvision, name)
