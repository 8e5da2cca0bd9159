"""The objective of a counterfactual search, and which pairs count as flipped (OCTET)."""

import torch.nn.functional as F

from common.blobs.terms import rows_mean


def opposite(scores):
    """Return the targets (B,) of probabilities (B,): 1 where they are below 1/2, else 0."""
    return (scores < 0.5).to(scores.dtype)


def flip_loss(logits, targets):
    """Return the cross-entropy (B,) of logits (B,) against targets of 0 or 1.

    From logits, not probabilities: the logarithm of a saturated sigmoid is infinite.
    """
    return F.softplus(logits * (1 - 2 * targets))


def proximity(parts, start, weights):
    """Return the weighted sum over tensors of the mean absolute difference (B,) from the start.

    parts, start: {name: tensor}, the rows that are free.  weights: {name: weight}, 0 where a name is missing.
    """
    return sum(weights[name] * rows_mean((part - start[name]).abs()) for name, part in parts.items()
               if weights.get(name))


def flipped(before, after, published=False):
    """Return which pairs (N, A) of probabilities changed sides of 1/2.

    published: by the original script's expression, in which a product binds before a comparison: pairs that end at
    1/2 or above count, changed or not.
    """
    rises = (before < 0.5) & (after > 0.5)
    if published:
        return (before > 0.5 * (after < 0.5)) | rises
    return ((before > 0.5) & (after < 0.5)) | rises
