"""How well an encoder's reconstructions match pictures: perceptual distance, L1, L2, decisions kept.

The numbers of the original's compute_encoder_quality.py, for `train_encoder` and for evaluations of encoders.
"""

import numpy as np
import torch

from common import parallel
from common.blobs.terms import image_distance
from common.files import write_json


@torch.no_grad()
def reconstruct(gan, encoder, images):
    """Return what a BlobGAN renders, with its fixed noise, of the layouts that an EncoderFile sees in images."""
    return gan.render(gan.decode(encoder.network(images), encoder.config.mlp_idx))


class Quality:
    """Measures pairs of pictures and reconstructions, in any number of processes.

    perceptual: a distance of common.blobs.perceptual, decision: a DecisionModel; None: without their numbers.
    """

    def __init__(self, perceptual=None, decision=None):
        self.perceptual, self.decision, self.rows = perceptual, decision, {}

    @torch.no_grad()
    def add(self, names, images, reconstructions):
        """Measure pictures (B, 3, H, W) in [-1, 1] under their names."""
        found = {"l1": image_distance(reconstructions, images, "l1"),
                 "l2": image_distance(reconstructions, images, "l2")}
        if self.perceptual is not None:
            features = self.perceptual.features
            found[self.perceptual.name] = self.perceptual.distance(features(reconstructions), features(images))
        if self.decision is not None:
            found |= {"decisions_real": self.decision(images),
                      "decisions_reconstruction": self.decision(reconstructions)}
        numbers = {name: value.float().cpu().numpy() for name, value in found.items()}
        for place, name in enumerate(names):
            self.rows[name] = {key: value[place].tolist() for key, value in numbers.items()}

    def gather(self):
        """Give every process the pictures of all, sorted by name; called in all of them."""
        together = {}
        for rows in parallel.gather_objects(self.rows):
            together |= rows
        self.rows = {name: together[name] for name in sorted(together)}

    def summary(self):
        """Return {quality_images, l1, l2, lpips or perceptual, agreement_NAME of each attribute, agreement,
        all_decisions_kept}: means over the pictures. A decision is kept when it is on the same side of 1/2, or the
        class of the largest probability the same."""
        rows = list(self.rows.values())
        found = {"quality_images": len(rows)}
        for name in ("l1", "l2", *([self.perceptual.name] if self.perceptual else [])):
            found[name] = float(np.mean([row[name] for row in rows]))
        if self.decision is not None:
            before, after = (np.array([row[f"decisions_{of}"] for row in rows]) for of in ("real", "reconstruction"))
            if self.decision.kind == "attributes":
                same = np.rint(before) == np.rint(after)
                shares = zip(self.decision.names, same.mean(axis=0))
                found |= {f"agreement_{name}": float(share) for name, share in shares}
            else:
                same = (before.argmax(axis=1) == after.argmax(axis=1))[:, None]
            found |= {"agreement": float(same.mean()), "all_decisions_kept": float(same.all(axis=1).mean())}
        return found

    def write(self, path):
        """Write {name of the picture: its numbers} as JSON: what the original pickles as val_images_results.pkl."""
        write_json(path, self.rows)
