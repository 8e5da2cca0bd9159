"""Corrupting clean images into the low-quality partners of training pairs: DL-Art-School's ImageCorruptor.

    corruptor = Corruptor({"fixed_corruptions": ["jpeg-broad", "gaussian_blur"],
                           "random_corruptions": ["noise-5", "none"], "num_corrupts_per_image": 1})
    low, strengths = corruptor.corrupt([image], rng=unit_numpy(seed, epoch, index), return_entropy=True)
"""

import math
import random

import cv2
import numpy as np

from common.datasets.dlas.corruption_operations import NAMES, Context, find_operation, resampling_factor
from common.datasets.dlas.draws import ItemDraws, LegacyDraws
from common.datasets.dlas.option_values import LARGEST_BLUR, SEEDS, OptionValues
from common.errors import InputError, nearest
from common.seeding import unit_numpy

MOST = 100  # corruptions of an image


class Corruptor:
    """The corruptions of a data set's options.

    Keys: fixed_corruptions ([]), random_corruptions ([]), num_corrupts_per_image (0: no random ones),
    corruption_blur_scale (1), cosine_bias (True: strengths are biased towards 0), random_seed, compat (False).
    compat=True, as argument or key, draws as the original: names from Python's global generator, strengths from a
    private one (random_seed), noise and resampling from the global ones; nothing is clipped, noise brightens, JPEG
    wraps around, and names without effect there have none.
    Raises InputError for an unknown name, or random corruptions without any names.
    """

    def __init__(self, options, compat=None):
        values = OptionValues(options, "corruptions")
        self.compat = values.flag("compat") if compat is None else bool(compat)
        self.fixed = values.names("fixed_corruptions")
        self.count = values.integer("num_corrupts_per_image", 0, low=0, high=MOST)
        self.random = values.names("random_corruptions") if self.count else []
        self.blur_scale = values.number("corruption_blur_scale", 1.0, high=LARGEST_BLUR)
        self.cosine_bias = values.flag("cosine_bias", True)
        self.seed = values.integer("random_seed", None, low=-SEEDS, high=SEEDS)
        if self.count and not self.random:
            raise InputError(f"num_corrupts_per_image is {self.count}, but there is nothing to draw from",
                             where="random_corruptions", do="Add corruptions, or set num_corrupts_per_image to 0")
        for key, names in (("fixed_corruptions", self.fixed), ("random_corruptions", self.random)):
            for name in names:
                check_name(name, key)
        self.reset()

    def reset(self):
        """Reset the private generators, like the original's reset_random."""
        self._private = random.Random(self.seed)
        self._own = ItemDraws(unit_numpy(0 if self.seed is None else self.seed, "corruptions"))

    def corrupt(self, images, rng=None, return_entropy=False):
        """Return the images corrupted: new (H, W, 3) float32 arrays of the same sizes, in 0..1 (compat: not clipped).

        images: list of (H, W, 3) float32 RGB in 0..1; the drawn names are the same for all of them.
        rng: the item's numpy Generator or draws; None: the corruptor's own, whose draws depend on the order of calls.
        compat ignores it.
        return_entropy: also return the strengths of the fixed corruptions, image by image, as a list of floats.
        Without configured corruptions the same images are returned.
        """
        if not self.fixed and not self.count:
            return (images, []) if return_entropy else images
        draws = self._draws(rng)
        drawn = draws.choices(self.random, self.count) if self.count else []
        names, results, strengths = (*drawn, *self.fixed), [], []
        for image in images:
            image, used = self._corrupt_one(np.asarray(image, np.float32), names, draws)
            results.append(image)
            strengths += used[len(drawn) :]
        return (results, strengths) if return_entropy else results

    def apply(self, image, name, strength, applied=None, draws=None):
        """Return an image corrupted at a strength; for lq_resampling the small image.

        applied: all names applied to this image (JPEG is skipped beside noise).
        """
        operation = check_name(name, "corruption")
        context = Context(name, tuple(applied or (name,)), draws or self._draws(None), self.blur_scale)
        image = operation(image, strength, context)
        return image if self.compat else np.clip(image, 0, 1)

    def _corrupt_one(self, image, names, draws):
        """Return (the image after all corruptions, the drawn strengths); the size is restored after resampling."""
        strengths, shrunk = [], []
        for name in names:
            strength = self._strength(draws)
            strengths.append(strength)
            before = image.shape[:2]
            image = self.apply(image, name, strength, names, draws)
            if image.shape[:2] != before:
                shrunk.append((before, resampling_factor(name, strength)))
        for before, factor in shrunk if self.compat else shrunk[::-1]:
            image = enlarge(image, before, factor, self.compat)
        return image, strengths

    def _draws(self, rng):
        if self.compat:
            return LegacyDraws()
        if rng is None:
            return self._own
        return rng if isinstance(rng, (ItemDraws, LegacyDraws)) else ItemDraws(rng)

    def _strength(self, draws):
        """Return a strength in 0..1: a uniform u, or 1 - cos(u pi / 2) with the cosine bias."""
        u = self._private.random() if self.compat else draws.unit()
        return 1 - math.cos(u * math.pi / 2) if self.cosine_bias else u


def enlarge(image, before, factor, compat=False):
    """Return an image that resampling shrank by a factor, enlarged bilinearly to its size `before` (H, W).

    compat: enlarged by the factor, as in the original, which loses the remainder of rows and columns.
    """
    height, width = (image.shape[0] * factor, image.shape[1] * factor) if compat else before
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def check_name(name, key):
    """Return the operation of a corruption's name. Raises InputError with the nearest name when there is none."""
    operation = find_operation(name)
    if operation is None:
        raise InputError(f"unknown corruption '{name}'", where=key, do=nearest(name, NAMES))
    return operation
