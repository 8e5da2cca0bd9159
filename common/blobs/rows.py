"""Some blobs of a layout: their rows taken out as tensors to optimise, and put back.

Of blob k, counted from 0, these are row k of xs, ys and covs, and row k + 1 of sizes, features and spatial_style, whose
row 0 is the background.
"""

import torch

from common.training import eager

WITH_BACKGROUND = ("sizes", "features", "spatial_style")


def take_rows(blobs, names, targets=None):
    """Return {name: tensor} of a Blobs' tensors, those of all blobs or the rows of `targets`, in their order."""
    return {name: getattr(blobs, name) if targets is None else getattr(blobs, name)[:, _rows(name, targets)]
            for name in names}


def put_rows(blobs, parts, targets=None):
    """Return the Blobs with the tensors of `take_rows` in their places; derivatives reach the parts."""
    if targets is None:
        return blobs._replace(**parts)
    whole = {}
    for name, part in parts.items():
        tensor, rows = getattr(blobs, name), torch.tensor(_rows(name, targets), device=part.device)
        whole[name] = tensor.index_copy(1, rows, part)
    return blobs._replace(**whole)


def free_rows(blobs, names, targets=None):
    """Return {name: leaf tensor with gradients} of the rows that an optimisation moves."""
    return {name: part.detach().clone().requires_grad_() for name, part in take_rows(blobs, names, targets).items()}


def blob_optimiser(parts, lr, sizes_lr):
    """Return Adam over free rows: `sizes_lr` for sizes, `lr` for the others.

    Derivatives of sizes are tiny where a blob is hidden, which is why the original gives them a larger rate.
    """
    groups = [{"params": [part], "lr": sizes_lr if name == "sizes" else lr} for name, part in parts.items()]
    return eager.Adam(groups)


def _rows(name, targets):
    return [target + (name in WITH_BACKGROUND) for target in targets]
