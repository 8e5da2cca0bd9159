"""Realism of counterfactuals: FID and sFID in a feature space, yNN in the explained model's features."""

import numpy as np
import torch

from common.images.pixels import to_uint8
from common.metrics.counterfactual import neighbours_agree, split_distance

LEAST = 4  # pairs of a halving


class Realism:
    """Collects features of images and counterfactuals, and measures them at the end.

    space: of common.features.spaces, None without FID.
    """

    def __init__(self, measurer, space):
        self.measurer, self.space = measurer, space
        self.real, self.own, self.decisions, self.made = [], [], [], {}

    def add(self, targets, before, pictures, lines):
        """Take in a batch: its images (None for generated ones), reconstructions, counterfactuals by attribute and the
        lines of its pairs."""
        images, measurer = before if targets is None else targets, self.measurer
        model = measurer.explained
        self.real.append(self._features(images))
        self.own.append(measurer.in_parts(model.features, images).cpu().numpy())
        self.decisions.append((measurer.scores(model, images) > 0.5).cpu().numpy())
        for (attribute, _), shown in pictures.items():
            features = self._features(shown)
            own = measurer.in_parts(model.features, shown).cpu().numpy()
            entry = self.made.setdefault(attribute, ([], [], [], []))
            lines_here = [line for line in lines if line["attribute"] == attribute]
            for part, value in zip(entry, (features, own, lines_here[: len(shown)], None)):
                if value is not None:
                    part.append(value)

    def _features(self, pictures):
        """Return features (N, D) in the space, None without one."""
        if self.space is None:
            return None
        pixels = to_uint8(torch.as_tensor(pictures), "dmd2")
        size, found = self.measurer.options.batch_size, []
        for first in range(0, len(pixels), size):
            found.append(self.space.encode([self.space.prepare(image) for image in pixels[first : first + size]])[0])
        return np.concatenate(found)

    def finish(self, summary, names, seed):
        """Add fid, sfid, ynn and the numbers of images to a summary."""
        from common.features.statistics import Statistics, frechet

        real_own, decisions = np.concatenate(self.own), np.concatenate(self.decisions)
        for attribute, (features, own, lines, _) in self.made.items():
            lines = [line for part in lines for line in part]
            entry, flips = summary[names[attribute]], np.array([line["flip"] for line in lines], dtype=bool)
            if flips.any():
                targets = np.array([line["start_score"] < 0.5 for line in lines])
                entry["ynn"] = float(neighbours_agree(np.concatenate(own)[flips], real_own, decisions[:, attribute],
                                                      targets[flips]).mean())
            if self.space is None or flips.sum() < LEAST:
                continue
            real, made = np.concatenate(self.real), np.concatenate(features)
            repeated = np.concatenate([real] * (len(made) // len(real)))
            entry["fid"] = frechet(Statistics(features=real), Statistics(features=made[flips]))
            entry["sfid"], entry["sfid_spread"] = split_distance(repeated[flips], made[flips], seed)
            entry["fid_images"] = [len(real), int(flips.sum())]
