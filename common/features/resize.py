"""Resizing to Inception's 299x299 as in each published tool, and the normalisation that goes with it.

Modes: clean (clean-fid: PIL bicubic on floats), legacy_pytorch (pytorch-fid), legacy_tensorflow (TTUR, torch-fidelity),
fast (OCTET: torchvision's bilinear on tensors). Scores of different modes do not compare.

Clean and legacy_tensorflow are linear along each axis. A block of neighbouring outputs needs few inputs, so each axis
is a handful of small dense matrix products: PIL's and TensorFlow's numbers to 1e-4 of a grey level, faster than PIL.
"""

from functools import lru_cache

from common.errors import InputError, nearest

MODES = ("clean", "legacy_pytorch", "legacy_tensorflow", "fast")
SIZE = 299
SMALLEST, LARGEST = 8, 8192  # sides that images are brought to before
_BLOCK = 32  # outputs of one matrix product: wider wastes arithmetic on zeros, narrower wastes calls


def resize_image(image, mode, size=SIZE, antialias=True):
    """Return one image as float32 (size, size, 3) in 0..255, not rounded, resized as in `mode`.

    image: uint8 or float (H, W, 3) array, 0..255.  antialias: for mode fast alone, where it changes the score:
    torchvision's default was off before 0.17 and is on since.
    Raises InputError for another type, shape or mode.
    """
    import numpy as np
    import torch

    image = np.asarray(image)
    is_number = image.dtype == np.uint8 or image.dtype.kind == "f"
    if not is_number or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InputError(f"an image is {image.dtype} {image.shape}, expected uint8 or float (height, width, 3)")
    image = image if image.dtype == np.uint8 else image.astype(np.float32, copy=False)
    image = image if image.flags.writeable and image.flags.c_contiguous else image.copy()
    pixels = torch.from_numpy(image)
    with torch.inference_mode():
        return _resize(pixels, mode, size, antialias).numpy()


def normalise(x, mode):
    """Return pixels 0..255 (array or tensor) normalised for the network of `mode`, about [-1, 1]."""
    _check_mode(mode)
    return 2 * (x / 255) - 1 if mode == "legacy_pytorch" else (x - 128) / 128  # TensorFlow's graph: 128, not 127.5


def _check_mode(mode):
    if mode not in MODES:
        raise InputError(f"unknown mode '{mode}'", do=nearest(mode, MODES))


def _resize(pixels, mode, size, antialias):
    """Return float32 (size, size, 3) of a contiguous uint8 or float32 tensor (H, W, 3)."""
    _check_mode(mode)
    if mode not in _AXES:
        resized = _interpolate(pixels.permute(2, 0, 1)[None].float(), (size, size), antialias and mode == "fast")
        return resized[0].permute(1, 2, 0).contiguous().clamp_(0, 255)
    # Rows first, though PIL starts with the columns: in (H, W, 3) the rows need no transposition of the whole image.
    height, width, _ = pixels.shape
    rows = _along_first(pixels.reshape(height, width * 3), mode, size).reshape(size, width, 3)
    columns = _along_first(rows.transpose(0, 1).reshape(width, size * 3), mode, size).reshape(size, size, 3)
    return columns.transpose(0, 1).contiguous().clamp_(0, 255)


def _along_first(x, mode, size):
    """Return float32 (size, k): the first axis of x (length, k) resized."""
    import torch

    if len(x) == size:
        return x.float()  # both originals skip an axis of the right length
    resized = torch.empty((size, x.shape[1]), dtype=torch.float32)
    for outputs, inputs, weights in _bands(mode, len(x), size):
        torch.mm(weights, x[inputs].float(), out=resized[outputs])
    return resized


def _interpolate(x, shape, antialias):
    """Return float (n, 3, *shape): torch's bilinear, half-pixel centres, as torchvision applies it to tensors."""
    from torch.nn import functional

    return functional.interpolate(x, size=tuple(shape), mode="bilinear", align_corners=False, antialias=bool(antialias))


def _bicubic_axis(length, size):
    """Return float64 (size, length): PIL's antialiased bicubic (a = -0.5) of one axis, as in its Resample.c."""
    import numpy as np

    scale = length / size
    stretch = max(scale, 1.0)
    centres = (np.arange(size) + 0.5) * scale
    first = np.maximum((centres - 2 * stretch + 0.5).astype(int), 0)
    past = np.minimum((centres + 2 * stretch + 0.5).astype(int), length)
    taps = np.arange(length)
    t = np.abs((taps + 0.5 - centres[:, None]) / stretch)
    weights = np.where(t < 1, (1.5 * t - 2.5) * t * t + 1, np.where(t < 2, (((t - 5) * t + 8) * t - 4) * -0.5, 0.0))
    weights[(taps < first[:, None]) | (taps >= past[:, None])] = 0
    return weights / weights.sum(axis=1, keepdims=True)


def _tensorflow_axis(length, size):
    """Return float64 (size, length): TensorFlow 1's bilinear, source = target x length / size, clamped."""
    import numpy as np

    source = np.arange(size, dtype=np.float32) * np.float32(length / size)  # in float32, as in TensorFlow
    low = np.minimum(source.astype(int), length - 1)
    fraction = (source - low.astype(np.float32)).astype(np.float64)
    weights = np.zeros((size, length))
    rows = np.arange(size)
    weights[rows, low] = 1 - fraction
    weights[rows, np.minimum(low + 1, length - 1)] += fraction
    return weights


_AXES = {"clean": _bicubic_axis, "legacy_tensorflow": _tensorflow_axis}


@lru_cache(maxsize=64)
def _bands(mode, length, size):
    """Return [(slice of outputs, slice of the inputs they need, float32 weights)] of one axis."""
    import torch

    weights = torch.from_numpy(_AXES[mode](length, size)).float()
    bands = []
    for start in range(0, size, _BLOCK):
        outputs = slice(start, min(start + _BLOCK, size))
        used = weights[outputs].any(dim=0).nonzero()
        inputs = slice(int(used[0]), int(used[-1]) + 1)
        bands.append((outputs, inputs, weights[outputs, inputs].contiguous()))
    return bands


def cover(pixels, shape, antialias=True):
    """Return uint8 pixels (H, W, 3) resized at their aspect ratio until they just cover shape (height, width).

    Bilinear and rounded, like torchvision's Resize on byte tensors; for a square this is `Resize(side)`.
    """
    import numpy as np
    import torch

    (height, width), (target_height, target_width) = pixels.shape[:2], shape
    if height * target_width <= width * target_height:  # the height is the limiting side
        target = target_height, target_height * width // height
    else:
        target = target_width * height // width, target_width
    if target == (height, width):
        return pixels
    x = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float()
    return _interpolate(x, target, antialias)[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()


def cover_and_crop(pixels, shape, antialias=True):
    """Return uint8 (height, width, 3): pixels (H, W, 3) resized to cover `shape`, then center-cropped.

    shape: (height, width), or one number for a square: the transform that BlobGAN's setup_fid applies first.
    antialias: on as in torchvision since 0.17; off as in older versions.
    """
    shape = (shape, shape) if isinstance(shape, int) else tuple(shape)
    resized = cover(pixels, shape, antialias)
    top, left = (round((have - want) / 2) for have, want in zip(resized.shape, shape))
    return resized[top : top + shape[0], left : left + shape[1]]


def check_resolution(given, where="--resolution"):
    """Return (height, width) of one or two numbers of pixels, None for 0: images as they are. Raises InputError."""
    sides = given if isinstance(given, (list, tuple)) else [given]
    whole = all(isinstance(side, int) and SMALLEST <= side <= LARGEST for side in sides)
    if list(sides) == [0]:
        return None
    if len(sides) not in (1, 2) or not whole:
        raise InputError(f"expected one or two sizes in pixels, each from {SMALLEST} to {LARGEST:,}",
                         where=f"{where} {' '.join(map(str, sides))}", do="Pass a side, height and width, or 0")
    return sides[0], sides[-1]


def change_of(shape, fit="cover", antialias=True):
    """Return the transform that brings images to a shape (height, width), None for None.

    fit: cover for CoverAndCrop, squash for BlobGAN's own.
    """
    if shape is None:
        return None
    return AsTrained(shape) if fit == "squash" else CoverAndCrop(shape, antialias)


class CoverAndCrop:
    """`cover_and_crop` as a transform for common.features.encode, with its `description`."""

    def __init__(self, shape, antialias=True):
        self.shape, self._antialias = tuple(shape), antialias
        self.description = {"resolution": list(self.shape), "resolution_antialias": antialias}

    def __call__(self, image):
        """Return uint8 (height, width, 3) of uint8 or float (H, W, 3) in 0..255."""
        from common.images.pixels import to_bytes

        return cover_and_crop(to_bytes(image), self.shape, self._antialias)


class AsTrained:
    """How BlobGAN's training prepares images (common.images.squash), as a transform with its `description`.

    fit: that of the training; cover crops, by the same filter.
    """

    def __init__(self, shape, fit="squash"):
        from common.images.squash import SquashOrCrop

        self._rule = SquashOrCrop(*shape, fit)
        self.description = {"resolution": list(shape), "resolution_fit": self._rule.rule,
                            "resolution_filter": "lanczos"}

    def __call__(self, image):
        """Return uint8 (height, width, 3) of uint8 or float (H, W, 3) in 0..255."""
        import numpy as np
        from PIL import Image

        from common.images.pixels import to_bytes

        return np.asarray(self._rule(Image.fromarray(to_bytes(image))))
