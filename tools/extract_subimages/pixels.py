"""From a photo's pixels to the bytes of a tile (OpenCV, BGR order); common.images.photos decodes the photo."""

import contextlib
import os

from common.images.bounds import PILLOW_ERRORS
from common.images.photos import decode_photo, exif_orientation, no_warnings

STRIP = 16  # rows of a result that are summed together


@contextlib.contextmanager
def silent_libraries():
    """Keep what libpng, libtiff and OpenCV print about broken files off the screen; the result tells it anyway."""
    saved, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nothing)


def decode_quietly(data, **options):
    """Return what common.images.photos.decode_photo gives, and keep what libraries print off the screen."""
    with silent_libraries():
        return decode_photo(data, **options)


def pixels_of(options, data, **kept):
    """Return the common.images.photos.Photo of a file's bytes as the options say. kept: keep_grey, keep_alpha."""
    return decode_quietly(data, exif=options.exif, original=options.compat == "original", icc=options.icc == "srgb",
                          **kept)


def header(path, exif=True):
    """Return (height, width) of the upright photo from a file's header, or None when Pillow cannot tell."""
    from PIL import Image

    try:
        with no_warnings(), Image.open(path) as image:
            width, height = image.size  # a TIFF's is already turned
            turned = False
            if exif and image.format != "TIFF":
                with open(path, "rb") as stream:
                    turned = exif_orientation(stream.read()) >= 5
    except (*PILLOW_ERRORS, Image.DecompressionBombError):
        return None
    return (width, height) if turned else (height, width)


def resize_area(pixels, height, width):
    """Return pixels brought to a size by area interpolation; the same array when the size is right."""
    import cv2

    if pixels.shape[:2] == (height, width):
        return pixels
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def shrink_area(pixels, height, width):
    """Return uint8 pixels brought to a size of at most half of theirs by area interpolation: the mean under each pixel.

    Half the time of OpenCV's own, which keeps to one order of summation; of 100,000 values about one is rounded
    otherwise. Other sizes and kinds go to `resize_area`, as do whole factors, for which OpenCV is as quick.
    """
    import cv2
    import numpy as np

    rows, columns = pixels.shape[:2]
    whole = rows % height == 0 and columns % width == 0
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or whole or rows < 2 * height or columns < 2 * width:
        return resize_area(pixels, height, width)
    channels = pixels.shape[2]
    if pixels.strides[1:] != (channels, 1):
        pixels = np.ascontiguousarray(pixels)
    lines = np.lib.stride_tricks.as_strided(pixels, (rows, columns * channels), (pixels.strides[0], 1), writeable=False)
    edges = np.arange(height + 1) * (rows / height)  # of the result's rows, in rows of the pixels
    firsts = edges.astype(np.int64)
    shares = (edges - firsts).astype(np.float32)[:, None]  # of the row that an edge goes through
    sums = np.empty((height, columns * channels), np.float32)
    begins, cut_rows = firsts.tolist(), np.minimum(firsts, rows - 1)
    space = np.empty((STRIP + 1, columns * channels), np.float32)
    for start in range(0, height, STRIP):  # strips that stay in the cache
        stop = min(start + STRIP, height)
        for row in range(start, stop):
            cv2.reduce(lines[begins[row] : begins[row + 1]], 0, cv2.REDUCE_SUM, sums[row : row + 1], cv2.CV_32F)
        cut = space[: stop - start + 1]
        cut[...] = lines[cut_rows[start : stop + 1]]
        cut *= shares[start : stop + 1]
        sums[start:stop] -= cut[:-1]
        sums[start:stop] += cut[1:]
    means = cv2.resize(sums.reshape(height, columns, channels), (width, height), interpolation=cv2.INTER_AREA)
    return cv2.convertScaleAbs(means, alpha=height / rows)


def compact(tile):
    """Return a tile in its own memory: the encoder finds a fresh copy in the cache, 8 % less time in all."""
    import numpy as np

    return np.ascontiguousarray(tile)


def make_encoder(kind, quality, subsampling="420", png_level=3):
    """Return encode(pixels) -> uint8 bytes. kind: jpg, png or webp (bmp, ppm); uint16 pixels are cut at 255."""
    import cv2
    import numpy as np

    chroma = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444 if subsampling == "444" else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    flags = {
        "jpg": [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, chroma],
        "png": [cv2.IMWRITE_PNG_COMPRESSION, png_level],
        "webp": [cv2.IMWRITE_WEBP_QUALITY, max(1, quality)],
    }.get(kind, [])
    ending, imencode, flags = f".{kind}", cv2.imencode, np.array(flags, dtype=np.int32)

    def encode(pixels):
        if pixels.dtype != np.uint8:
            pixels = np.minimum(pixels, 255).astype(np.uint8)
        if kind == "jpg" and pixels.ndim == 3 and pixels.shape[2] == 4:
            pixels = np.ascontiguousarray(pixels[..., :3])
        done, data = imencode(ending, pixels, flags)
        if not done:
            raise ValueError(f"OpenCV could not encode {pixels.shape} as {kind}")
        return data

    return encode
