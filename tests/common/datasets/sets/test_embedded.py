"""The data sets that need no file: counts, values, disjoint regions, and the promises every ImageSet keeps."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_sample_images

from common.datasets import open_dataset
from common.datasets.sets.embedded import patch_corners
from common.errors import InputError


def test_importing_the_package_imports_nothing_heavy():
    heavy = "('numpy', 'PIL', 'scipy', 'sklearn', 'torch')"
    code = f"import sys, common.datasets; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=True).stdout.strip() == "[]"


def test_reading_does_not_import_scikit_learn():
    code = ("import sys; from common.datasets import open_dataset as opened; "
            "print(len(opened('digits', 'train')), len(opened('photos32', 'test')), 'sklearn' in sys.modules)")
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["1500", "1300", "False"]


def test_digits_are_the_1797_scans_each_once():
    train, test = open_dataset("digits", "train"), open_dataset("digits", "test")
    assert (len(train), len(test)) == (1500, 297)
    assert train.image_shape == (8, 8, 1)
    assert train.labels.dtype == np.int64
    images = np.concatenate([train.read(range(1500)), test.read(range(297))])[..., 0]
    labels = np.concatenate([train.labels, test.labels])
    bunch = load_digits()
    expected = np.round(255 / 16 * bunch.images).astype(np.uint8)
    assert images.dtype == np.uint8
    assert images.max() == 255
    ours = sorted((*image.ravel().tolist(), label) for image, label in zip(images, labels))
    assert ours == sorted((*image.ravel().tolist(), label) for image, label in zip(expected, bunch.target))
    assert set(test.labels) == set(range(10))


def test_digits_order_is_fixed_for_good():
    assert open_dataset("digits", "test").fingerprint()["sha256"].startswith("f98b4aae810f")


@pytest.mark.parametrize(("name", "patch", "train_count", "test_count"), [
    ("photos32", 32, 6100, 1300), ("photos64", 64, 5244, 828),
])
def test_photo_patches_come_from_disjoint_regions(name, patch, train_count, test_count):
    covered = {}
    photos = load_sample_images().images
    for split, count in (("train", train_count), ("test", test_count)):
        images, corners = open_dataset(name, split), patch_corners(split, patch)
        assert len(images) == len(corners) == count
        assert images.image_shape == (patch, patch, 3)
        mask = np.zeros((2, 427, 640), bool)
        for photo, top, left in corners:
            mask[photo, top : top + patch, left : left + patch] = True
        covered[split] = mask
        for row in (0, count // 2, count - 1):
            photo, top, left = corners[row]
            np.testing.assert_array_equal(images.read([row])[0], photos[photo][top : top + patch, left : left + patch])
    assert not (covered["train"] & covered["test"]).any()
    assert (covered["train"] | covered["test"]).mean() > 0.95


def test_read_takes_any_order_and_repeats():
    digits = open_dataset("digits", "test")
    everything = digits.read(np.arange(297))
    rows = [296, 0, 5, 5, 17]
    np.testing.assert_array_equal(digits.read(rows), everything[rows])
    assert digits.read([]).shape == (0, 8, 8, 1)
    assert digits.read([3]).flags.c_contiguous


@pytest.mark.parametrize("rows", [[297], [-1]])
def test_indices_outside_the_split_are_refused(rows):
    with pytest.raises(IndexError):
        open_dataset("digits", "test").read(rows)


def test_indices_must_be_a_row_of_integers():
    for wrong in ([True, False], [0.0], 3, [[0]]):
        with pytest.raises(TypeError):
            open_dataset("digits", "test").read(wrong)


def test_sets_travel_to_other_processes():
    digits = open_dataset("digits", "test")
    again = pickle.loads(pickle.dumps(digits))
    np.testing.assert_array_equal(again.read([3, 1]), digits.read([3, 1]))
    assert again.fingerprint() == digits.fingerprint()


def test_fingerprint_holds_plain_values_and_tells_splits_apart():
    fingerprints = [open_dataset("digits", split).fingerprint() for split in ("train", "test")]
    assert fingerprints[0].keys() == {"name", "split", "count", "image_shape", "sha256"}
    assert fingerprints[0]["sha256"] != fingerprints[1]["sha256"]
    assert fingerprints[1]["image_shape"] == [8, 8, 1]


def test_size_resizes_and_a_size_already_right_changes_nothing():
    plain, same, larger = (open_dataset("digits", "test", size=size) for size in (None, 8, (16, 12)))
    np.testing.assert_array_equal(plain.read([0, 1]), same.read([0, 1]))
    assert larger.image_shape == (16, 12, 1)
    assert larger.read([0, 1, 2]).shape == (3, 16, 12, 1)


def test_names_and_splits_in_any_case_and_spelling():
    assert open_dataset("Digits", "VAL").fingerprint() == open_dataset("digits", "test").fingerprint()


@pytest.mark.parametrize(("name", "split", "text"), [
    ("cifar11", "train", "Did you mean cifar10?"), ("digits", "tests", "Did you mean test?"),
    ("nowhere/at/all", "train", "no such data set or path"),
])
def test_unknown_names_are_input_errors_with_the_nearest(name, split, text):
    with pytest.raises(InputError) as caught:
        open_dataset(name, split)
    assert text in str(caught.value)


@pytest.mark.parametrize("size", [0, -3, (8,), (8, 8, 8), 2.5, "8"])
def test_sizes_that_are_none_are_input_errors(size):
    with pytest.raises(InputError, match="not a size"):
        open_dataset("digits", "test", size=size)
