"""Image files as RGB pixels: what the data sets of `options` dictionaries read.

Grey becomes RGB, channels beyond three (alpha) are dropped. Photos are read as extract_subimages reads them: upright by
Exif, colours of other profiles as sRGB, every depth at full range.
"""

from common.errors import InputError
from common.formats.lmdb_files import image_bytes


def read_image(path, compat=False):
    """Return a photo as (H, W, 3) float32 RGB in 0..1; 16-bit files are divided by 65535. It may lie in an LMDB.

    compat: as the original, which takes what OpenCV gives as it is stored and divides it by 255 whatever the depth.
    Raises InputError naming a file that is missing, cannot be decoded or holds floating-point pixels.
    """
    import numpy as np

    pixels = decode_rgb(image_bytes(path), path, photo=True, original=compat)
    top = 255 if compat or pixels.dtype == np.uint8 else 65535
    return pixels.astype(np.float32) / np.float32(top)


def decode_rgb(data, where, photo=False, original=False):
    """Return the bytes of an image file as (H, W, 3) RGB, uint8 or uint16, contiguous. where: its name in messages.

    photo: turn it upright and convert its colours to sRGB.  original: whatever OpenCV gives (common.images.photos).
    """
    import cv2

    from common.images.photos import SkippedPhoto, decode_photo

    try:
        pixels = decode_photo(data, exif=photo, icc=photo, original=original, eight_bits=False).pixels
    except SkippedPhoto as error:
        raise InputError(f"not a readable image ({error.detail})", where=where,
                         do="Restore or remove this file") from error
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB if pixels.ndim == 2 else cv2.COLOR_BGR2RGB)

