"""From the bytes of an image file to upright sRGB pixels at full range (OpenCV, BGR): one rule for all who read photos.

What the header says of depth and meaning decides: whatever OpenCV would hand over at another range than its type's is
brought to it, or read by Pillow, or refused by name.
"""

import contextlib
import io
import re
import warnings
from dataclasses import dataclass, field

from common.images.bounds import PILLOW_ERRORS, check_claims
from common.images.coding_points import coding_points, to_srgb
from common.images.headers import TOP, is_avif, is_multi_picture, largest_value, needs_pillow, strange
from common.images.pam import is_pam, pam_pixels
from common.images.profiles import has_profile, jpeg_segments, srgb_pixels
from common.images.tiff import (
    ASSOCIATED_ALPHA,
    DEEP,
    ORIENTATION,
    WHITE_IS_ZERO,
    XMP,
    is_tiff,
    tiff_header,
    with_colours,
)

PER_16_BITS = 1 / 257


class SkippedPhoto(Exception):
    """A photo that gives no pixels, or no tiles: `reason` is one of a few kinds, `detail` says what was found."""

    def __init__(self, reason, detail=""):
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@dataclass
class Photo:
    """A decoded photo: pixels (H, W, 3 or 4) or (H, W), uint8 or uint16, and what was done to it."""

    pixels: object
    stored_size: tuple  # (height, width) in the file
    orientation: int  # Exif, 1 when upright or not asked for
    notes: dict = field(default_factory=dict)  # icc: profile converted; icc_ignored: unusable one; pages: in the file


@contextlib.contextmanager
def no_warnings():
    """Keep Pillow's remarks on odd metadata and large images off the screen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def decode_photo(data, exif=True, keep_grey=False, keep_alpha=False, original=False, icc=True, eight_bits=True):
    """Return the Photo in the bytes of a file.

    Grey becomes three channels (unless keep_grey), alpha is dropped (unless keep_alpha), 16-bit values are divided by
    257 (unless not eight_bits). exif: turn it upright. icc: convert colours of other profiles to sRGB, in 8 bits.
    original: as OpenCV gives it, grey as it is.  Raises SkippedPhoto for what cannot be decoded or has other pixels.
    """
    if not data:
        raise SkippedPhoto("unreadable", "the file is empty")
    try:
        check_claims(data)
    except ValueError as error:
        raise SkippedPhoto("unreadable", str(error)) from error
    notes = {}
    try:
        pixels = _opencv_pixels(data) if original else _full_range(data, notes)
        if pixels is None:
            raise SkippedPhoto("unreadable", "not a complete image of a known kind")
        stored = pixels.shape[:2]
        if pixels.ndim == 3 and pixels.shape[2] < 3:
            pixels = pixels[..., 0]
        if not original:
            pixels = _in_srgb(data, pixels, notes) if icc else pixels
            pixels = _eight_bits(pixels) if eight_bits else pixels
    except MemoryError as error:
        raise SkippedPhoto("unreadable", "not enough memory") from error
    orientation = exif_orientation(data) if exif and not original else 1
    pixels = _channels(pixels, keep_grey or original, keep_alpha)
    if orientation != 1 and not is_tiff(data):  # OpenCV and Pillow turn TIFF by themselves
        pixels = upright(pixels, orientation)
    return Photo(pixels, stored, orientation, notes)


def _opencv_pixels(data):
    """Return what OpenCV decodes, as it is, or None."""
    import cv2
    import numpy as np

    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise SkippedPhoto("unreadable", "OpenCV cannot decode it") from error


def _full_range(data, notes):
    """Return BGR or grey pixels at the full range of their type, or None; notes: gets the number of pages."""
    if is_tiff(data):
        return _tiff_pixels(data, notes)
    if strange(data):
        raise SkippedPhoto("pixels of another kind", strange(data))
    if is_pam(data):
        return _pam_pixels(data)
    _count_frames(data, notes)
    pixels = None if needs_pillow(data) else _opencv_pixels(data)
    if pixels is None or (pixels.ndim == 2 and is_avif(data)):  # of grey AVIF OpenCV takes 16..235 for 0..255
        return _pillow_pixels(data)
    try:
        top = largest_value(data, str(pixels.dtype))
    except ValueError as error:
        raise SkippedPhoto("pixels of another kind", str(error)) from error
    return pixels if top is None else _scaled(pixels, top)


def _pam_pixels(data):
    """Return BGR(A) or grey pixels of a PAM; alpha of grey is dropped."""
    import numpy as np

    try:
        pixels = pam_pixels(data)
    except ValueError as error:
        broken = "truncated" in str(error) or "header" in str(error)
        raise SkippedPhoto("unreadable" if broken else "pixels of another kind", str(error)) from error
    if pixels.shape[2] < 3:
        return pixels[..., 0]
    return np.ascontiguousarray(pixels[..., [2, 1, 0, 3][: pixels.shape[2]]])


def _scaled(pixels, top):
    """Return pixels of 0..top at the full range of their type, rounded."""
    import numpy as np

    full = np.iinfo(pixels.dtype).max
    values = np.minimum(np.arange(full + 1, dtype=np.uint32), top)
    return ((values * np.uint32(full) + top // 2) // top).astype(pixels.dtype)[pixels]


def _tiff_pixels(data, notes):
    """Return the pixels of a TIFF's first page, of 8 bits by Pillow, of more by OpenCV; by the other what one cannot
    open.

    OpenCV's way to 8 bits is libtiff's, which multiplies colours by alpha and leaves black what it cannot decompress.
    """
    try:
        header = tiff_header(data)
    except ValueError as error:
        raise SkippedPhoto("unreadable", str(error)) from error
    if header.strange():
        raise SkippedPhoto("pixels of another kind", header.strange())
    if header.pages > 1:
        notes["pages"] = header.pages
    pixels = _pillow_pixels(data, header) if header.bits[0] <= 8 else None
    if pixels is None and header.is_plain() and (header.bits[0] > 8 or header.samples in (1, 3)):
        pixels = _opencv_pixels(data)
        pixels = pixels if pixels is None else _as_pillow(data, pixels, header)
    if pixels is None and header.bits[0] > 8:
        pixels = _pillow_pixels(data, header)
    if pixels is None and not header.is_plain():
        raise SkippedPhoto("pixels of another kind", f"TIFF compressed as {header.compression_name()}")
    return pixels


def _as_pillow(data, pixels, header):
    """Return the pixels of a TIFF by OpenCV as Pillow would give them: black as 0, not multiplied by alpha, upright
    where XMP alone tells the orientation."""
    if header.photometric == WHITE_IS_ZERO and pixels.dtype == "uint16":
        pixels = TOP - pixels
    if header.extra[:1] == (ASSOCIATED_ALPHA,) and pixels.ndim == 3:
        pixels = _divided_by_alpha(pixels)
    return upright(pixels, exif_orientation(data)) if XMP in header.tags and ORIENTATION not in header.tags else pixels


def _divided_by_alpha(pixels):
    """Return 16-bit pixels (H, W, C), multiplied by the alpha in their last channel, as they were, as Pillow does."""
    import numpy as np

    alpha = pixels[..., -1:].astype(np.uint32)
    colours = pixels[..., :-1] * np.uint32(TOP) // np.maximum(alpha, 1)
    return np.dstack([np.where(alpha == 0, pixels[..., :-1], np.minimum(colours, TOP)), alpha]).astype(np.uint16)


def _count_frames(data, notes):
    """Note how many frames an animation has, or pictures a multi-picture JPEG: the first is taken."""
    from PIL import Image

    several = (is_multi_picture(data) or (data[:4] == b"RIFF" and b"ANIM" in data[:64])
               or (data[:4] == b"\x89PNG" and data.find(b"acTL", 0, data.find(b"IDAT")) > 0)
               or data[4:12] == b"ftypavis")
    if several:
        with (contextlib.suppress(*PILLOW_ERRORS, Image.DecompressionBombError), no_warnings(),
              Image.open(io.BytesIO(data)) as image):
            if getattr(image, "n_frames", 1) > 1:
                notes["pages"] = image.n_frames


def _pillow_pixels(data, tiff=None):
    """Return BGR(A) or grey pixels as Pillow reads them, None where it cannot. tiff: the TiffHeader of a TIFF.

    Raises SkippedPhoto for pixels that Pillow has in another type, and for a file that it knows and finds damaged.
    """
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with no_warnings(), Image.open(io.BytesIO(data)) as image:
            if image.mode == "I" and image.format == "PPM":  # which Pillow has brought to 0..65535
                return np.asarray(image).astype(np.uint16)
            if image.mode.startswith("I;16") and tiff is not None and tiff.bits[0] == 16:
                values = np.asarray(image).astype(np.uint16)
                return TOP - values if tiff.photometric == WHITE_IS_ZERO else values
            if image.mode in ("I", "F") or image.mode.startswith("I;16"):
                raise SkippedPhoto("pixels of another kind", f"Pillow's type {image.mode}")
            image = image.convert("LA") if image.mode == "La" else with_colours(image)
            if image.mode in ("1", "L", "LA"):
                return np.asarray(image.convert("L"))
            mode = "RGBA" if image.mode in ("RGBA", "RGBa") else "RGB"
            return np.ascontiguousarray(np.asarray(image.convert(mode))[..., [2, 1, 0, 3][: len(mode)]])
    except UnidentifiedImageError:
        return None
    except (*PILLOW_ERRORS, Image.DecompressionBombError) as error:
        if "bitfields layout" in str(error):
            raise SkippedPhoto("pixels of another kind", "BMP of other colour masks") from error
        if tiff is not None and tiff.bits[0] <= 8 and tiff.is_plain():  # OpenCV would leave black what is damaged
            raise SkippedPhoto("unreadable", "not a complete image of a known kind") from error
        return None


def _in_srgb(data, pixels, notes):
    """Return the pixels in sRGB, 8 bits, where the file has another profile or coding points; notes: gets its name.

    Raises SkippedPhoto for colours by coding points that sRGB cannot show, as those of high dynamic range.
    """
    from PIL import Image

    points = coding_points(data)
    if points is not None:
        try:
            converted, name = to_srgb(_eight_bits(pixels), points)
        except ValueError as error:
            raise SkippedPhoto("pixels of another kind", str(error)) from error
        if name is None:
            return pixels
        notes["icc"] = name
        return converted
    if not has_profile(data):
        return pixels
    try:
        if is_tiff(data) and tiff_header(data).bits[0] in DEEP:  # Pillow opens none of them in colour
            place, count = tiff_header(data).profile
            converted, name = srgb_pixels(None, _eight_bits(pixels), data[place : place + count])
        else:
            with no_warnings(), Image.open(io.BytesIO(data)) as image:
                converted, name = srgb_pixels(image, _eight_bits(pixels))
    except (*PILLOW_ERRORS, Image.DecompressionBombError) as error:
        notes["icc_ignored"] = re.sub(r" <[^<>]* at 0x\w+>", "", " ".join(str(error).split()))[:80]  # equal in each run
        return pixels
    if name is None:
        return pixels
    notes["icc"] = name
    return converted


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

    if pixels.dtype not in (np.uint8, np.uint16):
        raise SkippedPhoto("pixels of another kind", f"{pixels.dtype} instead of 8 or 16 bits")
    if pixels.ndim == 2:
        pixels = np.ascontiguousarray(pixels)
        return pixels if keep_grey else cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    if pixels.shape[2] == 4 and not keep_alpha:
        return np.ascontiguousarray(pixels[..., :3])
    if pixels.shape[2] > 4:
        raise SkippedPhoto("pixels of another kind", f"{pixels.shape[2]} channels")
    return pixels


def _may_have_exif(data):
    """Return False where no orientation can be: Pillow is slow to find out, in PNG by decoding all of it."""
    if data[:2] == b"\xff\xd8":
        return any(marker == 0xE1 for marker, _ in jpeg_segments(data))  # Exif, or XMP, which may hold it too
    if data[:4] == b"\x89PNG":
        return b"eXIf" in data or b"Raw profile type" in data or b"XML:com.adobe.xmp" in data
    if data[:4] == b"RIFF":
        return b"EXIF" in data or b"XMP " in data
    return is_tiff(data) or data[4:8] == b"ftyp"  # AVIF


def exif_orientation(data):
    """Return the orientation, 1 to 8, of the bytes of an image file by its Exif or XMP block; 1 when there is none."""
    from PIL import Image

    if not _may_have_exif(data):
        return 1
    try:
        with no_warnings(), Image.open(io.BytesIO(data)) as image:
            found = image.getexif().get(0x0112, 1)
    except (*PILLOW_ERRORS, Image.DecompressionBombError):
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def upright(pixels, orientation):
    """Return pixels turned and mirrored as an Exif orientation of 2 to 8 says."""
    import cv2
    import numpy as np

    if orientation in (5, 6, 7, 8):
        pixels = cv2.transpose(pixels)
    flips = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}
    return np.ascontiguousarray(cv2.flip(pixels, flips[orientation]) if orientation in flips else pixels)
