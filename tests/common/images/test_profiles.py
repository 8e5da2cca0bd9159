"""Colour profiles in files of all kinds and depths, against LittleCMS by Pillow."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from common.images.photos import decode_photo
from common.images.pil_transforms import open_image
from tests.common.images.depths import scaled, tiff
from tests.common.images.profiles import WIDE, grey_profile, ink_profile
from tests.peers.image_files import ALPHA, GREY, INK, PALETTE, SHOWN, by_pillow, numbers, png

RGB, GRAY, CMYK = WIDE["display-p3"], grey_profile(1.0), ink_profile()
COLOURS = b"PLTE", PALETTE.tobytes()
SRGB = ImageCms.createProfile("sRGB")


def in_png(profile):
    return b"iCCP", b"x\0\0" + zlib.compress(profile)


def in_tiff(profile):
    return {34675: (7, list(profile))}


def converted(pixels, mode, profile):
    """Return pixels of a mode in sRGB, (H, W, 3)."""
    image = Image.fromarray(np.ascontiguousarray(pixels), mode)
    return np.asarray(ImageCms.profileToProfile(image, io.BytesIO(profile), SRGB, outputMode="RGB"))


def files():
    """Return {name: (file, what it shows in sRGB, the limit of levels)}."""
    rgb, grey, ink = converted(SHOWN, "RGB", RGB), converted(GREY, "L", GRAY), converted(INK, "CMYK", CMYK)
    grey_as_rgb, palette = converted(np.dstack([GREY] * 3), "RGB", RGB), converted(PALETTE[GREY], "RGB", RGB)
    found = {}
    for bits in (8, 16):
        with_alpha, grey_alpha = np.dstack([SHOWN, ALPHA]), np.dstack([GREY, ALPHA])
        found |= {f"png rgb {bits}": (png(numbers(SHOWN, bits), bits, 2, in_png(RGB)), rgb),
                  f"png rgba {bits}": (png(numbers(with_alpha, bits), bits, 6, in_png(RGB)), rgb),
                  f"png grey {bits}": (png(numbers(GREY, bits), bits, 0, in_png(GRAY)), grey),
                  f"png grey+alpha {bits}": (png(numbers(grey_alpha, bits), bits, 4, in_png(GRAY)), grey),
                  f"png grey of rgb {bits}": (png(numbers(GREY, bits), bits, 0, in_png(RGB)), grey_as_rgb)}
        top = 2**bits - 1
        deep, light = scaled(SHOWN, top), scaled(GREY[..., None], top)
        found |= {f"tiff rgb {bits}": (tiff(bits, 2, deep, more=in_tiff(RGB)), rgb),
                  f"tiff rgba {bits}": (tiff(bits, 2, scaled(with_alpha, top), extra=(2,), more=in_tiff(RGB)), rgb),
                  f"tiff grey {bits}": (tiff(bits, 1, light, more=in_tiff(GRAY)), grey),
                  f"tiff white is zero {bits}": (tiff(bits, 0, top - light, more=in_tiff(GRAY)), grey),
                  f"tiff cmyk {bits}": (tiff(bits, 5, scaled(INK, top), more=in_tiff(CMYK)), ink)}
    found |= {"png palette": (png(GREY, 8, 3, in_png(RGB), COLOURS), palette),
              "png palette tRNS": (png(GREY, 8, 3, in_png(RGB), COLOURS, (b"tRNS", bytes(range(256)))), palette)}
    for kind, image, profile, mode, options in (
            ("JPEG", SHOWN, RGB, "RGB", {}), ("JPEG", GREY, GRAY, "L", {}), ("JPEG", INK, CMYK, "CMYK", {}),
            ("WEBP", SHOWN, RGB, "RGB", {"lossless": True}), ("AVIF", SHOWN, RGB, "RGB", {"quality": 100}),
            ("AVIF", GREY, GRAY, "L", {"quality": 100})):
        file = by_pillow(Image.fromarray(image, mode), kind, icc_profile=profile, **options)
        read = np.asarray(Image.open(io.BytesIO(file)))
        found[f"{kind} {mode}"] = file, converted(read, mode, profile)
    return found


FILES = files()


@pytest.mark.parametrize("name", FILES)
def test_show_3_profiles_of_every_kind_of_file_become_srgb(name):
    file, shown = FILES[name]
    photo = decode_photo(file)
    assert photo.notes == {"icc": "wide"}
    assert np.abs(photo.pixels[..., ::-1].astype(int) - shown).max() <= 1
    assert np.abs(decode_photo(file, icc=False).pixels[..., ::-1].astype(int) - shown).max() > 4
    read = np.asarray(open_image(io.BytesIO(file), "RGB", name, photo=True)).astype(int)
    assert np.abs(read - shown).max() <= (1 if "16" not in name else 6)  # Pillow keeps the upper 8 bits of 16 first


@pytest.mark.parametrize(("name", "file"), [
    ("colours, grey profile", png(numbers(SHOWN, 8), 8, 2, in_png(GRAY))),
    ("colours, CMYK profile", png(numbers(SHOWN, 8), 8, 2, in_png(CMYK))),
    ("CMYK, RGB profile", by_pillow(Image.fromarray(INK, "CMYK"), "JPEG", icc_profile=RGB)),
    ("grey, CMYK profile", png(numbers(GREY, 8), 8, 0, in_png(CMYK)))])
def test_show_3_a_profile_of_other_colours_is_passed_over_and_counted(name, file):
    photo = decode_photo(file)
    assert list(photo.notes) == ["icc_ignored"]
    assert np.array_equal(photo.pixels, decode_photo(file, icc=False).pixels)
