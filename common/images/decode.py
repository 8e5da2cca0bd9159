"""Decode the bytes of an image file to uint8 pixels of a given size (Pillow)."""

import io
import re
import struct
import warnings
from contextlib import contextmanager

from common.errors import InputError


def decode(data, where, size=None):
    """Return the image in `data` (bytes of a file) as (H, W, 3) uint8.

    where: its name in messages.  size: (H, W) to resize and crop to (`fit`), or None for its own.
    Grey becomes RGB, alpha is dropped, 16-bit grey keeps its upper 8 bits, as Pillow does for 16-bit RGB.
    Exif rotation is not applied, as in the published preparations of data sets.
    Raises InputError naming the image when it cannot be decoded.
    """
    import numpy as np
    from PIL import Image

    with image_errors(where), Image.open(io.BytesIO(data)) as image:
        image = eight_bits(image).convert("RGB")
        return np.asarray(image if size is None else fit(image, size))


def eight_bits(image):
    """Return an open Pillow image as one of 8 bits a sample: of 16-bit grey, by its header's depth, the upper ones.

    Raises ValueError for pixels of another kind, and for those that Pillow takes for what they are not.
    """
    import numpy as np
    from PIL import Image

    tags = getattr(image, "tag_v2", {})  # of TIFF: depths, photometric interpretation, planes, formats of samples
    depth = tags.get(258, (16,))[0]
    if tags.get(339, (1,))[0] != 1 or (tags.get(284) == 2 and depth == 16 and image.mode != "I;16"):
        raise ValueError("samples of another kind than whole numbers, or of 16 bits in separate planes")
    if image.mode.startswith("I;16"):
        upper = (np.asarray(image) >> (depth - 8)).astype(np.uint8)
        return Image.fromarray(255 - upper if tags.get(262) == 0 else upper)
    if image.mode == "I" and image.format == "PPM":  # which Pillow has brought to 0..65535
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of type {image.mode} are not 8-bit colours")
    return image


def header_size(stream, where):
    """Return (H, W) from the header of an image file open as a binary stream; InputError when it has none."""
    from PIL import Image

    with image_errors(where), Image.open(stream) as image:
        return image.height, image.width


def fit(image, size):
    """Return a Pillow image resized until it just covers size (H, W), then center-cropped.

    Bicubic, antialiased when shrinking. Smaller images are enlarged.
    """
    from PIL import Image

    height, width = size
    if (image.height, image.width) == (height, width):
        return image
    scale = max(height / image.height, width / image.width)
    covering = max(width, round(image.width * scale)), max(height, round(image.height * scale))
    image = image.resize(covering, Image.Resampling.BICUBIC)
    left, top = (covering[0] - width) // 2, (covering[1] - height) // 2
    return image.crop((left, top, left + width, top + height))


def fit_array(pixels, size):
    """Return (H, W, C) uint8 pixels, C = 1 or 3, resized and cropped to size (H, W) as `fit` does."""
    import numpy as np
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))
    return np.asarray(fit(image, size)).reshape(*size, pixels.shape[-1])


@contextmanager
def image_errors(where):
    """Turn what Pillow raises for an invalid image file into an InputError about `where`, and hide its warnings."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        reason = re.sub(r" <[^<>]* at 0x\w+>", "", str(error))  # an object's address, another one in each run
        raise InputError(f"not a readable image ({reason})", where=where, do="Restore or remove this file") from error
