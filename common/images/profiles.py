"""Colour profiles (ICC): pixels of Display P3, Adobe RGB, ProPhoto and others as sRGB, by LittleCMS."""

import io
from functools import lru_cache

from common.images.coding_points import to_srgb
from common.images.tiff import is_tiff, tiff_header

NEAR = 1  # levels of 255: a profile whose colours differ by no more from sRGB's is sRGB's
GRID = 9  # colours a channel that are looked at


def has_profile(data):
    """Return whether an image file's bytes may hold a colour profile: Pillow is slow to find out."""
    if data[:2] == b"\xff\xd8":
        return any(marker == 0xE2 and data[at : at + 11] == b"ICC_PROFILE" for marker, at in jpeg_segments(data))
    if data[:4] == b"\x89PNG":
        return data.find(b"iCCP", 0, data.find(b"IDAT")) > 0
    if data[:4] == b"RIFF":
        return b"ICCP" in data[:64]
    if is_tiff(data):
        return bool(tiff_header(data).profile)
    return data[4:8] == b"ftyp" and (b"prof" in data or b"rICC" in data)


def jpeg_segments(data):
    """Yield (marker, place of the content) of the segments before a JPEG's first scan."""
    place = 2
    while place + 4 <= len(data):
        if data[place] != 0xFF:
            place = data.find(b"\xff", place)
            if place < 0:
                return
            continue
        marker = data[place + 1]
        if marker == 0xDA:
            return
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:
            place += 1 if marker == 0xFF else 2
            continue
        yield marker, place + 4
        place += 2 + int.from_bytes(data[place + 2 : place + 4])


def srgb_pixels(image, pixels, profile=None):
    """Return (8-bit pixels in sRGB, the profile's name where it changed them, else None).

    image: the open Pillow image, None where Pillow cannot open the file.  pixels: (H, W) grey or (H, W, C) BGR, C = 3
    or 4, as decoded without the profile.  profile: its bytes, where they are not the image's.
    Raises ValueError for a profile that cannot be used.
    """
    import numpy as np
    from PIL import Image, ImageCms

    profile = profile or image.info.get("icc_profile")
    mode = image.mode if image is not None else ""
    if not profile:
        return pixels, None
    try:
        name, space = _describe(profile)
        grey = pixels.ndim == 2
        if space == "CMYK" and mode == "CMYK":
            colours = ImageCms.applyTransform(image, _transform(profile, "CMYK"))
            return np.ascontiguousarray(np.asarray(colours)[..., ::-1]), name
        fits = mode != "CMYK" if space == "RGB" else space == "GRAY" and (grey or _is_grey(pixels))
        if not fits:
            raise ValueError(f"a profile of {space} colours")
        transform = _transform(profile, "L" if space == "GRAY" else "RGB")
    except (ImageCms.PyCMSError, OSError, TypeError) as error:
        raise ValueError(str(error)) from error
    if transform is None:
        return pixels, None
    if space == "GRAY":
        source = pixels if grey else pixels[..., 1]
    else:
        source = np.dstack([pixels] * 3) if grey else pixels[..., 2::-1]
    colours = np.asarray(ImageCms.applyTransform(Image.fromarray(np.ascontiguousarray(source)), transform))
    if grey:
        return np.ascontiguousarray(colours[..., 1]), name
    return np.dstack([colours[..., ::-1], pixels[..., 3:]]), name


def _is_grey(pixels):
    """Return whether the three colours are equal everywhere."""
    return bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())


def srgb_image(image, decoded, points=None):
    """Return a Pillow image in mode RGB or RGBA, decoded from the open image, in sRGB; as it is with a profile that
    cannot be used.

    points: of coding_points, which go before a profile; ValueError for those that are not converted.
    """
    import numpy as np
    from PIL import Image

    order = [2, 1, 0, 3][: len(decoded.getbands())]
    if points is not None:
        pixels, name = to_srgb(np.asarray(decoded)[..., order], points)
        return decoded if name is None else Image.fromarray(np.ascontiguousarray(pixels[..., order]))
    try:
        pixels, name = srgb_pixels(image, np.asarray(decoded)[..., order])
    except ValueError:
        return decoded
    return decoded if name is None else Image.fromarray(np.ascontiguousarray(pixels[..., order]))


@lru_cache(maxsize=32)
def _describe(profile):
    from PIL import ImageCms

    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return (ImageCms.getProfileDescription(opened) or "").strip() or "unnamed", opened.profile.xcolor_space.strip()


@lru_cache(maxsize=32)
def _transform(profile, mode):
    """Return the transform of a profile's colours to sRGB, or None where it would hardly change any."""
    import numpy as np
    from PIL import Image, ImageCms

    transform = ImageCms.buildTransform(io.BytesIO(profile), ImageCms.createProfile("sRGB"), mode, "RGB")
    if mode == "CMYK":
        return transform
    levels = np.linspace(0, 255, GRID).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    if mode == "L":
        colours = np.arange(256, dtype=np.uint8)[None]
    result = np.asarray(ImageCms.applyTransform(Image.fromarray(colours), transform)).astype(int)
    expected = colours if mode == "RGB" else colours[..., None]
    return None if np.abs(result - expected).max() <= NEAR else transform
