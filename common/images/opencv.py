"""Image files as RGB pixels, decoded by OpenCV, for the data sets of `options` dictionaries.

Grey becomes RGB, alpha is dropped, Exif rotation is not applied (as in DL-Art-School's readers).
"""

from common.errors import InputError


def read_image(path, compat=False):
    """Return an image file as (H, W, 3) float32 RGB in 0..1; 16-bit files are divided by 65535.

    compat: divide by 255 whatever the depth, as the original does (16-bit files then reach 257).
    Raises InputError naming a file that is missing, cannot be decoded or has floating-point pixels.
    """
    import numpy as np

    pixels = decode_rgb(_bytes_of(path), path)
    top = 255 if compat or pixels.dtype == np.uint8 else 65535
    return pixels.astype(np.float32) / np.float32(top)


def decode_rgb(data, where):
    """Return (H, W, 3) RGB, uint8 or uint16, contiguous, from an image file's bytes. where: its name in messages."""
    import cv2
    import numpy as np

    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error as error:
        raise _unreadable(where, error.err or "rejected by OpenCV") from error
    if pixels is None:
        raise _unreadable(where, "OpenCV cannot decode it" if data else "the file is empty")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise _unreadable(where, f"pixels of type {pixels.dtype}, expected 8 or 16 bits")
    if pixels.ndim == 2 or pixels.shape[2] < 3:  # a grey image may come as (H, W, 1); (H, W, 2) would be grey and alpha
        grey = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., 0])
        return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def _bytes_of(path):
    from common.files import system_errors

    with system_errors(path), open(path, "rb") as stream:
        return stream.read()


def _unreadable(where, why):
    return InputError(f"not a readable image ({why})", where=where, do="Restore or remove this file")
