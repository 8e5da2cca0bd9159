"""Float pixels of networks and of resampling as uint8."""

from common.errors import InputError

CONVENTIONS = {
    "unit": lambda x: x * 255,  # [0, 1], score_sde
    "dmd2": lambda x: (x + 1) * 127.5,  # [-1, 1], DMD2
    "edm": lambda x: x * 127.5 + 128,  # [-1, 1], EDM: half a level above DMD2's
}


def to_uint8(images, convention):
    """Return images (B, C, H, W) as uint8 (B, H, W, C), clipped and truncated, not rounded, as the originals do.

    convention: "unit" for [0, 1], 255 x; "dmd2" and "edm" for [-1, 1], (x + 1) 127.5 and 127.5 x + 128.
    """
    import torch

    scaled = CONVENTIONS[convention](images.float())
    return scaled.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def to_bytes(image):
    """Return an image (H, W, 3) as uint8: floats in 0..255 rounded to the nearest, halves to even.

    Raises InputError for NaN.
    """
    import numpy as np

    if image.dtype == np.uint8:
        return image
    if not np.isfinite(image).all():
        raise InputError("pixels hold NaN or infinity")
    return np.rint(np.clip(image, 0, 255)).astype(np.uint8)


def rounded_bytes(images):
    """Return images (B, C, H, W) float in [-1, 1] as uint8 (B, H, W, C): (x + 1) 127.5 clipped and rounded, halves to
    even."""
    import torch

    scaled = (images.float() + 1) * 127.5
    return scaled.clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
