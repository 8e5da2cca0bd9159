"""Scores of folders of pictures in the small feature space, and the features themselves."""

import numpy as np

from common.features.small_features import small_features
from common.features.sources import open_images
from tests.tools.commands import results_of

SMALL = ("--extractor", "small", "--device", "cpu")


def score(*words):
    """Return the results of `compute_fid clean`."""
    return results_of("compute_fid", "clean", *words, *SMALL)


def features(place):
    """Return the small features (N, D) of the images at a place."""
    images = open_images(place)
    return np.concatenate([small_features(images.load(index)[None]) for index in range(len(images))])
