"""From the bytes of a photo to upright 8-bit pixels, and from pixels to the bytes of a tile (OpenCV, BGR order)."""

import contextlib
import io
import os
import struct
import warnings
from dataclasses import dataclass

PER_16_BITS = 1 / 257  # 65535 becomes 255
STRIP = 16  # output rows summed at a time, few enough to stay in the cache


class SkippedPhoto(Exception):
    """A photo that gives no tiles: `reason` is one of a few kinds, `detail` the specifics."""

    def __init__(self, reason, detail=""):
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@dataclass
class Photo:
    """A decoded photo: pixels (H, W, 3) or (H, W) uint8 (uint16 under compat original), and what was done to it."""

    pixels: object
    stored_size: tuple  # (height, width) in the file
    orientation: int  # Exif orientation, 1 if upright or ignored


@contextlib.contextmanager
def silent_libraries():
    """Silence what libpng, libtiff and OpenCV print about broken files; the result reports them anyway."""
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


@contextlib.contextmanager
def _no_warnings():
    """Silence Pillow's warnings on odd metadata and large images."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def decode_photo(data, exif=True, keep_grey=False, keep_alpha=False, original=False):
    """Return the Photo in the bytes of a file.

    Grey becomes three channels (unless keep_grey), alpha is dropped (unless keep_alpha), 16-bit values are divided by
    257. original: grey and 16-bit values unchanged (clipped to 255 when a tile is stored), no rotation.
    Raises SkippedPhoto for files that cannot be decoded or have unsupported pixels.
    """
    import cv2
    import numpy as np

    if not data:
        raise SkippedPhoto("unreadable", "the file is empty")
    with silent_libraries():
        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        except (cv2.error, MemoryError) as error:
            raise SkippedPhoto("unreadable", " ".join(str(error).split())[:200]) from error
        if pixels is None:
            pixels = None if original else _pillow_pixels(data)
        if pixels is None:
            raise SkippedPhoto("unreadable", "not a complete image of a known kind")
        orientation = exif_orientation(data) if exif and not original else 1
    stored = pixels.shape[:2]
    if not original:
        pixels = _eight_bits(pixels)
    pixels = _channels(pixels, keep_grey or original, keep_alpha)
    if orientation != 1 and not _is_tiff(data):  # OpenCV rotates TIFF itself
        pixels = upright(pixels, orientation)
    return Photo(pixels, stored, orientation)


def _pillow_pixels(data):
    """Return BGR pixels of a file that only Pillow can read, else None."""
    import numpy as np
    from PIL import Image

    try:
        with _no_warnings(), Image.open(io.BytesIO(data)) as image:
            if image.mode in ("I", "F") or image.mode.startswith("I;16"):
                return np.asarray(image)
            return np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, MemoryError, Image.DecompressionBombError):
        return None


def _eight_bits(pixels):
    import numpy as np

    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.uint16:
        return (pixels.astype(np.float32) * np.float32(PER_16_BITS) + np.float32(0.5)).astype(np.uint8)
    raise SkippedPhoto("pixels of another kind", f"{pixels.dtype} instead of 8 or 16 bits")


def _channels(pixels, keep_grey, keep_alpha):
    """Return pixels with the wanted channels, contiguous."""
    import cv2
    import numpy as np

    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim == 2:
        return pixels if keep_grey else cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    if pixels.shape[2] == 2:
        return _channels(np.ascontiguousarray(pixels[..., 0]), keep_grey, keep_alpha)
    if pixels.shape[2] == 4 and not keep_alpha:
        return np.ascontiguousarray(pixels[..., :3])
    if pixels.shape[2] > 4:
        raise SkippedPhoto("pixels of another kind", f"{pixels.shape[2]} channels")
    return pixels


def _is_tiff(data):
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _may_have_exif(data):
    """Return False if there is no Exif block: Pillow is slow to tell, for PNG it decodes the whole file."""
    if data[:2] == b"\xff\xd8":
        return b"Exif" in data[:65536]
    if data[:4] == b"\x89PNG":
        return b"eXIf" in data
    if data[:4] == b"RIFF":
        return b"EXIF" in data
    return _is_tiff(data) or data[4:8] == b"ftyp"  # AVIF


def exif_orientation(data):
    """Return the Exif orientation, 1 to 8, of the bytes of an image file; 1 when there is none."""
    from PIL import Image

    if not _may_have_exif(data):
        return 1
    try:
        with _no_warnings(), Image.open(io.BytesIO(data)) as image:
            orientation = image.getexif().get(0x0112, 1)  # the tag Orientation
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, struct.error,
            Image.DecompressionBombError):
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def upright(pixels, orientation):
    """Return pixels rotated and mirrored by an Exif orientation of 2 to 8."""
    import cv2
    import numpy as np

    if orientation in (5, 6, 7, 8):
        pixels = cv2.transpose(pixels)
    flips = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}  # after the transpose; 0 vertical, 1 horizontal, -1 both
    return np.ascontiguousarray(cv2.flip(pixels, flips[orientation]) if orientation in flips else pixels)


def header(path, exif=True):
    """Return (height, width) of the upright photo from a file's header, or None when Pillow cannot tell."""
    from PIL import Image

    try:
        with _no_warnings(), Image.open(path) as image:
            width, height = image.size  # for a TIFF after rotation
            turned = False
            if exif and image.format != "TIFF":
                with open(path, "rb") as stream:
                    turned = exif_orientation(stream.read()) >= 5
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError):
        return None
    return (width, height) if turned else (height, width)


def resize_area(pixels, height, width):
    """Return pixels resized by area interpolation; the same array if the size already matches."""
    import cv2

    if pixels.shape[:2] == (height, width):
        return pixels
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def shrink_area(pixels, height, width):
    """Return uint8 pixels shrunk at least twofold by area interpolation: the mean under each output pixel.

    Takes half the time of OpenCV, at another order of summation: about one value in 100,000 rounds differently. Other
    sizes and types go to `resize_area`, as do integer factors, where OpenCV is as fast.
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
    edges = np.arange(height + 1) * (rows / height)  # of the output rows, in input rows
    firsts = edges.astype(np.int64)
    shares = (edges - firsts).astype(np.float32)[:, None]  # fraction of the row that an edge cuts
    sums = np.empty((height, columns * channels), np.float32)
    begins, cut_rows = firsts.tolist(), np.minimum(firsts, rows - 1)
    space = np.empty((STRIP + 1, columns * channels), np.float32)
    for start in range(0, height, STRIP):
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
    """Return a contiguous copy of a tile: it is in the CPU cache when encoded, which saves 8 % of all time."""
    import numpy as np

    return np.ascontiguousarray(tile)


def make_encoder(kind, quality, subsampling="420", png_level=3):
    """Return encode(pixels) -> uint8 bytes. kind: jpg, png or webp (bmp, ppm); uint16 pixels are clipped to 255."""
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
