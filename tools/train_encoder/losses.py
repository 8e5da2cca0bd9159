"""The losses of a part of a batch, summed over its rows; of a term of weight 0 nothing is computed."""

import torch

from common.blobs.terms import image_distance, layout_distance, square_distance
from common.networks.blobgan.layout import select
from tools.train_encoder.options import MEASURES, SIDES


class Losses:
    """The objective of encoded pictures.

    weights: {term: weight}.  loss_type: l1 or l2, of the picture terms called MSE after the original.
    perceptual: a perceptual distance, decision: a DecisionModel; None where their terms have no weight.
    names: of the values, "loss" first.
    """

    def __init__(self, weights, loss_type="l1", perceptual=None, decision=None):
        self.weights = {term: weight for term, weight in weights.items() if weight}
        self.loss_type, self.perceptual, self.decision = loss_type, perceptual, decision
        self.names = ["loss", *self.weights]

    def sides(self, of=(*MEASURES, "latents_MSE", "vector_MSE")):
        """Return which of real and fake pictures have a term among `of`."""
        return [side for side in SIDES if any(f"{side}_{measure}" in self.weights for measure in of)]

    def __call__(self, scene, encode, decode, render):
        """Return (objective, [values in the order of names]), summed over the rows.

        scene: Scene of the part.  encode: pictures -> latents (N, L).  decode: latents -> Blobs.  render: (Blobs, their
        sides, each of n rows) -> pictures. Both sides are encoded and rendered as one batch.
        """
        sides = self.sides()
        latents = encode(torch.cat([scene.pictures[side] for side in sides]))
        blobs = decode(latents) if self.sides(MEASURES) or "fake_latents_MSE" in self.weights else None
        rows = {side: slice(place * scene.count, (place + 1) * scene.count) for place, side in enumerate(sides)}
        found = {}
        if rendered := self.sides(MEASURES):
            chosen = blobs if rendered == sides else select(blobs, rows[rendered[0]])
            found |= self._pictures(render(chosen, rendered), scene, rendered)
        if "fake_latents_MSE" in self.weights:
            found["fake_latents_MSE"] = layout_distance(select(blobs, rows["fake"]), scene.blobs)
        if "fake_vector_MSE" in self.weights:
            found["fake_vector_MSE"] = square_distance(latents[rows["fake"]], scene.latents)
        values = [found[term].sum() for term in self.weights]
        objective = sum(weight * value for weight, value in zip(self.weights.values(), values))
        return objective, [objective, *values]

    def _pictures(self, images, scene, sides):
        """Return {term: (n,)} of the pictures that were rendered of each side."""
        found, count = {}, scene.count
        measures = {"lpips": self._perceptual_distance, "MSE": self._pixel_distance,
                    "decision": self._decision_distance}
        for measure, distance in measures.items():
            wanted = [side for side in sides if f"{side}_{measure}" in self.weights]
            if not wanted:
                continue
            places = [sides.index(side) for side in wanted]
            part = images if len(wanted) == len(sides) else images[places[0] * count : (places[0] + 1) * count]
            values = distance(part, torch.cat([scene.pictures[side] for side in wanted]))
            found |= {f"{side}_{measure}": own for side, own in zip(wanted, values.split(count))}
        return found

    def _pixel_distance(self, images, targets):
        return image_distance(images, targets, self.loss_type)

    def _perceptual_distance(self, images, targets):
        with torch.no_grad():
            reference = self.perceptual.features(targets)
        return self.perceptual.distance(self.perceptual.features(images), reference)

    def _decision_distance(self, images, targets):
        with torch.no_grad():
            reference = self.decision.features(targets)
        return square_distance(self.decision.features(images), reference)


class Scene:
    """What a part's rows are: count n; pictures {side: (n, 3, H, W)}; the fakes' latents (n, L) and blobs."""

    def __init__(self, pictures, latents=None, blobs=None):
        self.pictures, self.latents, self.blobs = pictures, latents, blobs
        self.count = len(next(iter(pictures.values())))
