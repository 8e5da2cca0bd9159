"""Realism of counterfactuals: FID and sFID in a feature space, yNN in the explained model's features."""

import numpy as np

from common.effects import check_effects
from common.errors import InputError
from common.files import file_hash
from common.images.pixels import rounded_bytes
from common.metrics.counterfactual import neighbours_agree, split_distance

LEAST = 4  # pairs of a halving


def features_of(space, pictures, size):
    """Return features (N, D) of pictures (N, 3, H, W) in [-1, 1], as bytes, `size` at a time."""
    pixels, found = rounded_bytes(pictures), []
    for first in range(0, len(pixels), size):
        found.append(space.encode([space.prepare(image) for image in pixels[first : first + size]])[0])
    return np.concatenate(found)


class Sets:
    """What sets of pictures are compared in, and with. space: of common.features.spaces, None without FID.
    reference: Statistics of --reference or --dataset_name, None without one.  Both are None until `open`.
    """

    def __init__(self, options, gan, device):
        """Raises InputError for flags that do not go together, and for statistics that are missing."""
        from common.features.reference import find_reference
        from common.features.small_features import NAME

        self.options, self.gan, self.device = options, gan, device
        self.space = self.reference = self.path = None
        given = [f"--{name}" for name in ("reference", "dataset_name") if getattr(options, name) is not None]
        if len(given) > 1:
            raise InputError("cannot be used with --reference: choose one", where="--dataset_name",
                             do="Leave one out")
        if given and options.extractor == "none":
            raise InputError("needs features to compare in", where=given[0], do="Pass --extractor inception")
        acts = {"mode": (options.extractor == "inception" or options.dataset_name is not None, "--extractor inception"),
                "weights": (options.extractor == "inception", "--extractor inception"),
                "stats_dir": (options.dataset_name is not None, "--dataset_name"),
                "any_stats": (bool(given), "--reference or --dataset_name")}
        check_effects(options, acts)
        if given:
            model = "" if options.extractor == "inception" else NAME
            self.path = find_reference(model, options.reference, options.dataset_name, options.stats_dir, options.mode)

    def derived(self):
        """Return what shapes results beside the flags."""
        return {} if self.path is None else {"contents of reference": file_hash(self.path)}

    def inputs(self):
        """Return the paths that are read beside those of the flags."""
        return [] if self.path is None else [self.path]

    def open(self):
        """Open the feature space and the statistics; InputError where they do not go together."""
        from common.features.reference import read_reference
        from common.features.spaces import open_space

        options, config = self.options, self.gan.config
        if options.extractor != "none":
            self.space = open_space(options.extractor, options.mode, options.weights, self.device)
        if self.path is not None:
            self.reference = read_reference(self.path, self.space, (config.resolution, config.columns),
                                            config.transform.rule, "this BlobGAN", options.any_stats)

    @property
    def name(self):
        """What a Frechet distance is called: FID in Inception's features alone."""
        return "fid" if self.space.is_inception else "frechet"

    def distances(self, real, made):
        """Return {fid: between two Statistics, fid_reference: of `made` to the stored ones, reference_images}."""
        from common.features.statistics import frechet

        found = {self.name: frechet(real, made)}
        if self.reference is not None:
            found |= {f"{self.name}_reference": frechet(self.reference, made),
                      "reference_images": self.reference.count}
        return found


class Realism:
    """Collects features of images and counterfactuals, and measures them at the end.

    sets: Sets. Both sides are pictures of the BlobGAN's size in bytes and take the same way into the space.
    """

    def __init__(self, measurer, sets):
        self.measurer, self.sets = measurer, sets
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
        if self.sets.space is None:
            return np.zeros((len(pictures), 0), np.float32)
        return features_of(self.sets.space, pictures, self.measurer.options.batch_size)

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
        """Return {attribute: {fid, sfid, sfid_spread, fid_real, fid_counterfactual, fid_reference, reference_images}},
        {} without a space.

        Outside Inception's features frechet takes the place of fid in names, but for the numbers of images. All
        searched pairs count, flipped or not, as in the original.
        """
        from common.features.statistics import Statistics

        if self.sets.space is None:
            return {}
        name, found = self.sets.name, {}
        real = np.concatenate([each[0] for each in self.images])
        for attribute, parts in self.made.items():
            made, images = (np.concatenate([part[place] for part in parts]) for place in (0, 3))
            entry = found[attribute] = {"fid_real": len(real), "fid_counterfactual": len(made)}
            if min(len(made), len(real)) < 2:
                continue
            entry |= self.sets.distances(Statistics(features=real), Statistics(features=made))
            if len(made) >= LEAST:
                entry[f"s{name}"], entry[f"s{name}_spread"] = split_distance(real[images], made, seed,
                                                                                   groups=images)
        return found
