"""PSNR and SSIM against their definitions, taken in another way."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from common.errors import InputError
from common.metrics.image_pairs import luma, psnr, ssim
from tests.common.metrics.pictures import picture


def noisy(image, seed, spread=12):
    shifted = image + np.random.default_rng(seed).normal(0, spread, image.shape)
    return shifted.clip(0, 255).round().astype(np.uint8)


def scipy_ssim(first, second):
    """Return SSIM as scikit-image has it with Gaussian weights and moments by n: scipy's filter, its border cut off."""
    x, y = first.astype(np.float64), second.astype(np.float64)

    def mean(plane):
        return gaussian_filter(plane, 1.5, truncate=3.5, axes=(0, 1))  # radius 5

    ux, uy = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - ux * ux, mean(y * y) - uy * uy, mean(x * y) - ux * uy
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    index = ((2 * ux * uy + c1) * (2 * vxy + c2)) / ((ux**2 + uy**2 + c1) * (vx + vy + c2))
    return index[5:-5, 5:-5].mean()


@pytest.mark.parametrize("size", [(24, 31), (11, 11), (40, 17)])
def test_ssim_is_that_of_scikit_image_by_scipys_filter(size):
    image = picture(1, size)
    assert ssim(image, noisy(image, 2)) == pytest.approx(scipy_ssim(image, noisy(image, 2)), rel=1e-9)
    grey = luma(image)
    assert ssim(grey, luma(noisy(image, 2))) == pytest.approx(scipy_ssim(grey, luma(noisy(image, 2))), rel=1e-9)


def test_ssim_of_one_window_by_its_sums():
    """The formula of Wang et al. with the weights written out."""
    x, y = (np.random.default_rng(seed).uniform(0, 255, (11, 11)) for seed in (1, 2))
    w = np.exp(-((np.arange(11) - 5) ** 2) / 4.5)
    w = np.outer(w, w) / np.outer(w, w).sum()
    ux, uy = (w * x).sum(), (w * y).sum()
    vx, vy, vxy = (w * (x - ux) ** 2).sum(), (w * (y - uy) ** 2).sum(), (w * (x - ux) * (y - uy)).sum()
    expected = (2 * ux * uy + 6.5025) * (2 * vxy + 58.5225) / ((ux**2 + uy**2 + 6.5025) * (vx + vy + 58.5225))
    assert ssim(x, y) == pytest.approx(expected, rel=1e-9)


def test_equal_images_and_images_that_are_too_small():
    image = picture(3, (12, 12))
    assert ssim(image, image) == pytest.approx(1, abs=1e-12)
    assert psnr(image, image) == float("inf")
    with pytest.raises(InputError, match=r"10 x 11 pixels are less than SSIM's window of 11"):
        ssim(image[:11, :10], image[:11, :10])


def test_psnr_of_a_known_error():
    image = np.full((5, 4, 3), 100, np.uint8)
    assert psnr(image, image + np.uint8(10)) == pytest.approx(20 * np.log10(25.5), rel=1e-12)
    assert psnr(image, image - np.uint8(100)) == pytest.approx(20 * np.log10(2.55), rel=1e-12)  # bytes do not wrap


def test_luma_ends_at_16_and_235():
    ends = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    np.testing.assert_allclose(luma(ends), [[16, 235]], atol=1e-3)
