"""How different several counterfactuals of one query are: the four numbers that stand beside their success."""

import torch
import torch.nn.functional as F

TINY = 1e-12  # so that counterfactuals that change nothing have finite numbers


@torch.no_grad()
def spread_numbers(pictures, start_picture, offsets):
    """Return the four numbers of n counterfactuals of one query.

    pictures: (n, 3, H, W).  start_picture: (3, H, W).  offsets: (n, K + 1), how far each blob moved.
    pixel_distance: mean pairwise L1; relative_distance: that over the mean L1 to the start, which grows with any step;
    cosine: mean cosine of the pictures' changes; blob_overlap: mean over pairs of sum min / sum max of the offsets.
    """
    n = len(pictures)
    first, second = torch.triu_indices(n, n, offset=1)
    pairwise = (pictures[first] - pictures[second]).abs().flatten(1).mean(dim=1)
    changes = (pictures - start_picture).flatten(1)
    unit = F.normalize(changes, dim=1)
    low, high = (end(offsets[first], offsets[second]).sum(dim=1) for end in (torch.minimum, torch.maximum))
    return {"pixel_distance": float(pairwise.mean()),
            "relative_distance": float(pairwise.mean() / changes.abs().mean().clamp_min(TINY)),
            "cosine": float((unit[first] * unit[second]).sum(dim=1).mean()),
            "blob_overlap": float((low / high.clamp_min(TINY)).mean())}
