"""The torchvision transforms that the Stylegan2 and Torch data sets need, on Pillow images: same sizes, same draws."""

import math

import numpy as np
import torch

TRIES = 10


def resize_short_side(image, size):
    """Return an image resized (antialiased bilinear) so that its shorter side is `size`."""
    from PIL import Image

    width, height = image.size
    if min(width, height) == size:
        return image
    long_side = int(size * max(width, height) / min(width, height))
    return image.resize((size, long_side) if width <= height else (long_side, size), Image.Resampling.BILINEAR)


def center_crop(image, size):
    """Return the middle size x size pixels of an image with no side below `size`."""
    left, top = int(round((image.width - size) / 2)), int(round((image.height - size) / 2))
    return image.crop((left, top, left + size, top + size))


def random_resized_crop(image, size, draws, scale, ratio):
    """Return a random part of an image, its area and aspect ratio within limits, resized to size x size (bilinear)."""
    from PIL import Image

    left, top, width, height = crop_box(image.width, image.height, draws, scale, ratio)
    part = image.crop((left, top, left + width, top + height))
    return part.resize((size, size), Image.Resampling.BILINEAR)


def crop_box(width, height, draws, scale, ratio):
    """Return (left, top, width, height) of a random crop; the largest central one when ten tries fail."""
    for _ in range(TRIES):
        pixels = width * height * draws.span(*scale)
        aspect = math.exp(draws.span(math.log(ratio[0]), math.log(ratio[1])))
        w, h = int(round(math.sqrt(pixels * aspect))), int(round(math.sqrt(pixels / aspect)))
        if 0 < w <= width and 0 < h <= height:
            top = draws.below(height - h + 1)
            return draws.below(width - w + 1), top, w, h
    aspect = min(max(width / height, ratio[0]), ratio[1])
    w, h = (width, int(round(width / aspect))) if width / height < ratio[0] else (int(round(height * aspect)), height)
    w, h = min(w, width), min(h, height)
    return (width - w) // 2, (height - h) // 2, w, h


def image_tensor(image):
    """Return an RGB, RGBA or grey Pillow image as a (C, H, W) float32 tensor in 0..1."""
    pixels = np.asarray(image)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return torch.from_numpy(np.array(pixels.transpose(2, 0, 1), np.float32, order="C")) / 255


def open_image(source, mode, where, photo=False):
    """Return an image file (path or stream) as a Pillow image of a mode (RGB, RGBA), loaded. Errors name `where`.

    16-bit grey keeps its upper 8 bits (Pillow alone would clip it to white). photo: turn it as its Exif block says, and
    convert its colours to sRGB, as extract_subimages does.
    """
    from PIL import ImageOps

    from common.files import system_errors
    from common.images.coding_points import coding_points
    from common.images.decode import eight_bits, image_errors, open_pillow
    from common.images.profiles import srgb_image

    with system_errors(where), image_errors(where), open_pillow(source) as image:
        points = coding_points(_beginning(image.fp)) if photo and image.format in ("PNG", "AVIF") else None
        if photo and image.format != "TIFF":  # which Pillow turns by itself
            ImageOps.exif_transpose(image, in_place=True)
        decoded = eight_bits(image).convert(mode)
        return srgb_image(image, decoded, points) if photo else decoded


def _beginning(stream, count=1 << 20):
    """Return the first bytes of a stream, which is left where it was."""
    place = stream.tell()
    stream.seek(0)
    data = stream.read(count)
    stream.seek(place)
    return data
