"""Which blobs a counterfactual changed, and one of them put back."""

import torch

from common.networks.blobgan.layout import Blobs

CHANGED = 1e-6  # what counts as a change of a blob
FIRST_BLOB_ROW = 1  # of sizes, features and styles: row 0 is the background
BLOBS_ALONE = ("xs", "ys", "covs")  # tensors without a row of the background


def changed_blobs(blobs, start):
    """Return which blobs differ in any of the six tensors, (B, K + 1) bool; row 0 is the background, whose size is
    not used and does not count."""
    moved = torch.zeros_like(blobs.sizes, dtype=torch.bool)
    for name, now, then in zip(Blobs._fields, blobs, start):
        differs = (now - then).abs() > CHANGED
        differs = differs if differs.dim() == 2 else differs.any(dim=2)
        if name in BLOBS_ALONE:
            moved[:, FIRST_BLOB_ROW:] |= differs
        elif name == "sizes":
            moved[:, FIRST_BLOB_ROW:] |= differs[:, FIRST_BLOB_ROW:]
        else:
            moved |= differs
    return moved


def revert(blobs, start, row, name=None):
    """Return the Blobs of one picture with blob `row` (0: the background) as in `start`, None where nothing differs.

    name: of the one tensor that goes back; None: all of them.
    """
    parts, differs = {}, False
    for each in (name,) if name else Blobs._fields:
        place = row - (each in BLOBS_ALONE)
        now, then = getattr(blobs, each), getattr(start, each)
        if place < 0 or (each == "sizes" and not place):
            continue
        if not bool(((now[:, place] - then[:, place]).abs() > CHANGED).any()):
            continue
        parts[each] = now.clone()
        parts[each][:, place] = then[:, place]
        differs = True
    return blobs._replace(**parts) if differs else None


def scaled_offsets(blobs, start, ratios):
    """Return how far each blob moved, (B, K + 1): the norm of its offsets over the tensors of `ratios`, each divided by
    its number there, the factor of its learning rate. Row 0 is the background, whose size is not used."""
    total = torch.zeros_like(blobs.sizes)
    for name, ratio in ratios.items():
        square = ((getattr(blobs, name) - getattr(start, name)) / ratio).square()
        square = square if square.dim() == 2 else square.sum(dim=2)
        if name in BLOBS_ALONE:
            total[:, FIRST_BLOB_ROW:] += square
        elif name == "sizes":
            total[:, FIRST_BLOB_ROW:] += square[:, FIRST_BLOB_ROW:]
        else:
            total += square
    return total.sqrt()
