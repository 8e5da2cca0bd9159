"""The objective of an inversion: blobs whose picture is an image, for a decision model as for the eye (OCTET)."""

from dataclasses import dataclass

from common.blobs.terms import image_distance, rows_mean, square_distance


@dataclass(frozen=True)
class InversionWeights:
    """Weights of the terms, the original's by default."""

    lpips: float = 1.0
    l2: float = 0.1
    decision: float = 0.1
    prox: float = 0.1


def inversion_terms(image, target, blobs, start, lpips, features, target_features):
    """Return {lpips, l2, decision, prox: (B,)} of rendered images (B, 3, H, W) and the targets.

    blobs, start: Blobs, now and as the encoder gave them.  lpips: function of two images.  features: function of an
    image, the decision model's (B, F); target_features: of the targets, computed once.
    """
    return {"lpips": lpips(image, target), "l2": image_distance(image, target, "l2"),
            "decision": square_distance(features(image), target_features), "prox": start_distance(blobs, start)}


def start_distance(blobs, start):
    """Return the sum over the six raw tensors of the mean square difference (B,)."""
    return sum(rows_mean((now - then).square()) for now, then in zip(blobs, start))


def inversion_objective(terms, weights=InversionWeights()):
    """Return the weighted sum (B,) of the terms: rows do not know of each other, whatever the batch."""
    return sum(getattr(weights, name) * value for name, value in terms.items())
