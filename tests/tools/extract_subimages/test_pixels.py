"""Pixel work of extract_subimages against formulas of its own."""

import cv2
import numpy as np
import pytest

from tools.extract_subimages.pixels import shrink_area


def coverage(length, count):
    """Return float64 (count, length): the share of each result pixel that a source pixel covers."""
    edges = np.arange(count + 1) * length / count
    places = np.arange(length)
    overlap = np.minimum(edges[1:, None], places + 1) - np.maximum(edges[:-1, None], places)
    return overlap.clip(0) / (length / count)


@pytest.mark.parametrize(("size", "wanted"),
                         [((1450, 1450), (256, 256)), ((513, 1025), (256, 512)), ((701, 300), (100, 149)),
                                              ((7, 5), (3, 2)), ((3, 3), (1, 1)), ((40, 33), (1, 16))])
def test_shrinking_gives_the_mean_under_each_pixel(size, wanted):
    photo = np.random.default_rng(0).integers(0, 256, (size[0] + 3, size[1] + 9, 3), np.uint8)
    pixels = photo[2 : 2 + size[0], 5 : 5 + size[1]]  # a view, as squares of photos are
    means = np.einsum("ih,hwc,jw->ijc", coverage(size[0], wanted[0]), pixels.astype(float),
                      coverage(size[1], wanted[1]), optimize=True)
    shrunk = shrink_area(pixels, *wanted)
    assert shrunk.dtype == np.uint8
    assert np.abs(shrunk - means).max() <= 0.5 + 1e-4
    opencv = cv2.resize(pixels, wanted[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(int) - opencv).max() <= 1
    assert np.mean(shrunk != opencv) < 1e-4


@pytest.mark.parametrize(("size", "wanted", "dtype"),
                         [((512, 512), (256, 256), np.uint8), ((300, 500), (256, 256), np.uint8),
                                                       ((700, 700), (256, 256), np.uint16),
                          ((256, 256), (256, 256), np.uint8)])
def test_other_sizes_and_kinds_are_opencv_s(size, wanted, dtype):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (*size, 3)).astype(dtype)
    opencv = cv2.resize(pixels, wanted[::-1], interpolation=cv2.INTER_AREA)
    assert np.array_equal(shrink_area(pixels, *wanted), opencv)
