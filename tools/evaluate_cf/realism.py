"""Realism of counterfactuals: FID and sFID in a feature space, yNN in the explained model's features."""

import numpy as np

from common.images.pixels import rounded_bytes
from common.metrics.counterfactual import neighbours_agree, split_distance

LEAST = 4  # pairs of a halving


def features_of(space, pictures, size):
    """Return features (N, D) of pictures (N, 3, H, W) in [-1, 1], as bytes, `size` at a time."""
    pixels, found = rounded_bytes(pictures), []
    for first in range(0, len(pixels), size):
        found.append(space.encode([space.prepare(image) for image in pixels[first : first + size]])[0])
    return np.concatenate(found)


def distance_name(space):
    """Return what a Frechet distance in a space is called: FID in Inception's alone."""
    return "fid" if space.is_inception else "frechet"


class Realism:
    """Collects features of images and counterfactuals, and measures them at the end.

    space: of common.features.spaces, None without FID. Both sides are pictures of the BlobGAN's size in bytes and take
    the same way into the space.
    """

    def __init__(self, measurer, space):
        self.measurer, self.space = measurer, space
        self.images, self.made, self.count = [], {}, 0

    def add_images(self, batch):
        """Take in the images of a batch; of generated ones the pictures that were explained."""
        pictures, measurer = batch.targets, self.measurer
        self.images.append((self._features(pictures), self._own(pictures), measurer.decided(pictures).cpu().numpy()))
        self.count += len(pictures)

    def add(self, part):
        """Take in the counterfactuals of the last batch: those of pairs that were searched and are finite."""
        kept = [row for row, line in enumerate(part.lines) if line["outcome"] in ("flipped", "not_found")]
        if not kept:
            return
        first = self.count - len(part.lines)
        pictures = (part.on_real if self.measurer.material.on_real else part.pictures)[kept]
        entry = self.made.setdefault(part.attribute, [])
        entry.append((self._features(pictures), self._own(pictures), [part.lines[row] for row in kept],
                      np.array([first + row for row in kept])))

    def _own(self, pictures):
        return self.measurer.in_parts(self.measurer.explained.features, pictures).cpu().numpy()

    def _features(self, pictures):
        """Return features (N, D) in the space; of width 0 without one."""
        if self.space is None:
            return np.zeros((len(pictures), 0), np.float32)
        return features_of(self.space, pictures, self.measurer.options.batch_size)

    def neighbours(self):
        """Add `ynn` to the lines of flips: the share of the nearest images that have the decision that was wanted."""
        real, decisions = (np.concatenate([each[place] for each in self.images]) for place in (1, 2))
        for attribute, parts in self.made.items():
            own, lines = np.concatenate([part[1] for part in parts]), [line for part in parts for line in part[2]]
            flips = np.array([line["flip"] for line in lines], dtype=bool)
            if flips.any():
                wanted = np.array([line["target"] == 1 for line in lines])
                shares = neighbours_agree(own[flips], real, decisions[:, attribute], wanted[flips])
                for row, share in zip(np.flatnonzero(flips), shares):
                    lines[row]["ynn"] = float(share)

    def distances(self, seed):
        """Return {attribute: {fid, sfid, sfid_spread, fid_real, fid_counterfactual}}, {} without a space.

        Outside Inception's features the first three are frechet, sfrechet, sfrechet_spread; the last two are the
        numbers of images. All searched pairs count, flipped or not, as in the original.
        """
        from common.features.statistics import Statistics, frechet

        if self.space is None:
            return {}
        name, found = distance_name(self.space), {}
        real = np.concatenate([each[0] for each in self.images])
        for attribute, parts in self.made.items():
            made, images = (np.concatenate([part[place] for part in parts]) for place in (0, 3))
            entry = found[attribute] = {"fid_real": len(real), "fid_counterfactual": len(made)}
            if min(len(made), len(real)) < 2:
                continue
            entry[name] = frechet(Statistics(features=real), Statistics(features=made))
            if len(made) >= LEAST:
                entry[f"s{name}"], entry[f"s{name}_spread"] = split_distance(real[images], made, seed,
                                                                                   groups=images)
        return found
