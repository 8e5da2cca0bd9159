"""The small feature space: fixed for good, independent of batches, and sensitive to bad samples."""

import hashlib

import numpy as np
import pytest
import scipy.ndimage

from common.datasets import open_dataset
from common.errors import InputError
from common.features.small_features import NAME, NUM_FEATURES, _layers, small_features
from common.metrics.frechet import FeatureStatistics, frechet_distance


def digits(split):
    images = open_dataset("digits", split)
    return images.read(np.arange(len(images)))


def distance(images1, images2):
    moments = []
    for images in (images1, images2):
        statistics = FeatureStatistics(NUM_FEATURES)
        statistics.add(small_features(images))
        moments += [statistics.mean, statistics.covariance()]
    return frechet_distance(*moments)


def test_the_space_is_fixed_for_good():
    """Other numbers here mean that stored features no longer compare: give the space another NAME instead."""
    digest = hashlib.sha256()
    for layer in _layers("cpu"):
        for array in layer:
            digest.update(array.contiguous().numpy().tobytes())
    assert (NAME, digest.hexdigest()[:16]) == ("small-features-v1", "c9d9ce96ac34731a")
    ramp = (np.arange(2 * 8 * 8 * 3) % 256).astype(np.uint8).reshape(2, 8, 8, 3)
    np.testing.assert_allclose(small_features(ramp)[:, :3],
                               [[-0.099676, 0.639346, 1.68715], [-0.030885, 0.67709, 1.818374]], rtol=1e-4)


@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3)])
def test_features_do_not_depend_on_the_batch(shape):
    images = np.random.default_rng(0).integers(0, 256, (70, *shape), dtype=np.uint8)
    whole = small_features(images)
    assert whole.shape == (70, NUM_FEATURES)
    assert whole.dtype == np.float32
    for size in (1, 9, 64):
        parts = np.concatenate([small_features(images[start : start + size]) for start in range(0, 70, size)])
        np.testing.assert_allclose(parts, whole, rtol=0, atol=2e-6)


def test_grey_images_are_colour_images_of_three_equal_channels():
    grey = digits("test")[:20]
    np.testing.assert_array_equal(small_features(grey), small_features(np.repeat(grey, 3, axis=3)))


def test_bad_samples_are_farther_from_the_test_set_than_the_training_set():
    train, test = digits("train"), digits("test")
    generator = np.random.default_rng(0)
    order = generator.permutation(64)
    bad = {
        "noise": np.clip(train + generator.normal(0, 40, train.shape), 0, 255).astype(np.uint8),
        "blur": scipy.ndimage.gaussian_filter(train.astype(float), (0, 0.7, 0.7, 0)).astype(np.uint8),
        "moved pixels": train.reshape(-1, 64, 1)[:, order].reshape(train.shape),
        "mirrored": train[:, :, ::-1],
        "one kind": train[open_dataset("digits", "train").labels == 3],
        "few repeated": train[np.arange(1500) % 10],
    }
    good = distance(train, test)
    for name, images in bad.items():
        assert distance(images, test) > 5 * good, name


def test_other_types_and_shapes_are_refused():
    for images in (np.zeros((2, 8, 8, 2), np.uint8), np.zeros((2, 8, 8), np.uint8), np.zeros((2, 8, 8, 3), np.float32)):
        with pytest.raises(InputError, match="expected uint8"):
            small_features(images)
