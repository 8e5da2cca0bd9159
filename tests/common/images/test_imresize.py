"""Matlab's bicubic against the formula written out, and against Pillow away from the borders."""

import math

import numpy as np
import pytest
from PIL import Image

from common.images.imresize import cubic, imresize


def image(height, width, seed=0):
    return np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)


def keys(x):
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0


def slow(row, scale, antialiasing):
    """One axis, one output value at a time, on a row mirrored at both ends as often as needed."""
    stretch = min(scale, 1.0) if antialiasing else 1.0
    mirrored = np.pad(np.asarray(row, np.float64), 200, mode="symmetric")
    result = []
    for k in range(1, math.ceil(len(row) * scale) + 1):
        centre = k / scale + 0.5 * (1 - 1 / scale)  # Matlab counts from 1
        weights = {i: keys((centre - i) * stretch)
                   for i in range(math.floor(centre - 2 / stretch) - 1, math.ceil(centre + 2 / stretch) + 2)}
        result.append(sum(w * mirrored[i - 1 + 200] for i, w in weights.items()) / sum(weights.values()))
    return np.array(result)


@pytest.mark.parametrize("antialiasing", [True, False])
@pytest.mark.parametrize("scale", [0.5, 0.25, 1 / 3, 0.37, 1.0, 1.7, 3.0])
def test_equals_the_formula_written_out(scale, antialiasing):
    source = image(13, 9)
    rows = np.apply_along_axis(slow, 0, source, scale, antialiasing)
    expected = np.apply_along_axis(slow, 1, rows, scale, antialiasing)
    got = imresize(source, scale, antialiasing)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=2e-6)


def test_agrees_with_pillow_away_from_the_borders():
    source = image(64, 48)[..., 0]
    pillow = np.asarray(Image.fromarray(source).resize((12, 16), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(imresize(source, 0.25)[3:-3, 3:-3], pillow[3:-3, 3:-3], atol=1e-6)


def test_no_padding_on_the_right_is_no_trouble():
    """Without antialiasing the last result of 8 -> 2 needs no pixel beyond the right edge, which stopped the
    original."""
    source = image(8, 8)
    assert imresize(source, 0.25, antialiasing=False).shape == (2, 2, 3)


def test_a_kernel_wider_than_the_image_is_no_trouble():
    np.testing.assert_allclose(imresize(np.full((2, 3, 3), 0.25, np.float32), 1 / 8), 0.25, atol=1e-6)


def test_constants_stay_and_sizes_round_up():
    got = imresize(np.full((7, 10, 3), 0.6, np.float32), 0.5)
    assert got.shape == (4, 5, 3)
    np.testing.assert_allclose(got, 0.6, atol=1e-6)
    np.testing.assert_array_equal(imresize(image(5, 6), 1.0), image(5, 6))


def test_the_kernel_adds_up_to_one_everywhere():
    x = np.linspace(0, 1, 11)
    np.testing.assert_allclose(sum(cubic(x + shift) for shift in range(-3, 3)), 1, atol=1e-12)


def test_a_scale_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        imresize(image(4, 4), 0)
