"""How close two images of one scene are: PSNR, and the structural similarity of Wang et al. (2004).

Images are (H, W, 3) in 0..255, whose peak is 255. SSIM is as in the paper: a Gaussian window of 11 x 11 with sigma 1.5,
K1 = 0.01, K2 = 0.03, moments that divide by n, the mean over the positions at which the window lies in the image, of
each channel; the mean over channels is what MATLAB's and scikit-image's functions and BasicSR give for colour.
"""

import numpy as np

from common.errors import InputError

PEAK = 255.0
WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2


def psnr(first, second):
    """Return the peak signal-to-noise ratio in dB over all pixels and channels; infinite for equal images."""
    error = np.mean(np.square(np.asarray(first, np.float64) - np.asarray(second, np.float64)))
    return float(10.0 * np.log10(PEAK**2 / error)) if error else float("inf")


def ssim(first, second):
    """Return the mean structural similarity, 1 for equal images.

    first, second: (H, W) or (H, W, C).  Raises InputError for images smaller than the window.
    """
    if min(first.shape[:2]) < WINDOW:
        height, width = first.shape[:2]
        raise InputError(f"{width} x {height} pixels are less than SSIM's window of {WINDOW}",
                         do="Leave out the metric ssim, or use larger images")
    channels = [1] if first.ndim == 2 else range(first.shape[2])
    planes = [(first, second)] if first.ndim == 2 else [(first[..., c], second[..., c]) for c in channels]
    return float(np.mean([_ssim_of_plane(*plane) for plane in planes]))


def _ssim_of_plane(first, second):
    x, y = (np.ascontiguousarray(plane, np.float64) for plane in (first, second))
    mean_x, mean_y = _blurred(x), _blurred(y)
    square, product = mean_x**2 + mean_y**2, mean_x * mean_y
    spread = _blurred(x * x + y * y) - square  # both variances
    common = _blurred(x * y) - product
    index = (2 * product + C1) * (2 * common + C2) / ((square + C1) * (spread + C2))
    return index.mean()


def _blurred(plane):
    """Return the window's weighted means at the positions where it lies inside."""
    import cv2

    half = WINDOW // 2
    kernel = cv2.getGaussianKernel(WINDOW, SIGMA, cv2.CV_64F)
    return cv2.sepFilter2D(plane, cv2.CV_64F, kernel, kernel)[half:-half, half:-half]


def luma(image):
    """Return the luma (H, W) in 16..235 of an image (H, W, 3) in 0..255, by BT.601 as MATLAB's rgb2ycbcr and BasicSR
    take it."""
    return np.asarray(image, np.float64) @ np.array([65.481, 128.553, 24.966]) / 255.0 + 16.0
