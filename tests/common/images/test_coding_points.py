"""Colours by coding points (cICP of PNG, nclx of AVIF), against published matrices and LittleCMS."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from common.errors import InputError
from common.images.coding_points import coding_points
from common.images.photos import SkippedPhoto, decode_photo
from common.images.pil_transforms import open_image
from tests.common.images.profiles import WIDE
from tests.common.images.test_profiles import converted, in_png
from tests.peers.image_files import ALPHA, GREY, SHOWN, by_pillow, numbers, png

# light in other primaries to light in BT.709's: Report ITU-R BT.2407 (BT.2020), SMPTE EG 432-1 (P3)
TO_BT709 = {1: np.eye(3),
            9: np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]),
            12: np.array([[1.2249, -0.2247, 0], [-0.0420, 1.0419, 0], [-0.0197, -0.0786, 1.0979]])}


def light(values, transfer):
    """Return the light of encoded values, by the formulas of the standards."""
    if transfer == 13:
        return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    if transfer in (1, 14):
        return np.where(values < 0.081, values / 4.5, ((values + 0.099) / 1.099) ** (1 / 0.45))
    return values ** {4: 2.2, 8: 1.0}[transfer]


def shown(pixels, primaries, transfer):
    """Return RGB or grey levels in sRGB, float."""
    values = light(pixels / 255, transfer)
    values = np.clip(values @ TO_BT709[primaries].T if pixels.ndim == 3 else values, 0, 1)
    return 255 * np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055)


def tagged(primaries, transfer, full=1):
    return b"cICP", bytes([primaries, transfer, 0, full])


def avif(primaries, transfer, image=SHOWN):
    """Return an AVIF with these coding points."""
    data = bytearray(by_pillow(Image.fromarray(image), "AVIF", quality=100, subsampling="4:4:4"))
    at = data.index(b"colrnclx") + 8
    data[at : at + 4] = struct.pack(">HH", primaries, transfer)
    return bytes(data)


@pytest.mark.parametrize("points", [(12, 13), (9, 14), (9, 13), (1, 4), (1, 8), (1, 1), (12, 8)])
def test_coding_points_become_srgb(points):
    with_alpha = np.dstack([SHOWN, ALPHA])
    files = {"png 8": (png(numbers(SHOWN, 8), 8, 2, tagged(*points)), SHOWN),
             "png 16": (png(numbers(SHOWN, 16), 16, 2, tagged(*points)), SHOWN),
             "png rgba": (png(numbers(with_alpha, 8), 8, 6, tagged(*points)), SHOWN),
             "avif": (avif(*points), np.asarray(Image.open(io.BytesIO(avif(1, 13)))))}
    for name, (file, pixels) in files.items():
        photo = decode_photo(file, keep_alpha=name == "png rgba")
        expected = shown(pixels, *points)
        assert np.abs(photo.pixels[..., 2::-1] - expected).max() <= 1.1, name
        assert f"CICP {points[0]}/{points[1]}" in photo.notes["icc"]
        assert np.array_equal(decode_photo(file, icc=False).pixels[..., ::-1], pixels)
        read = np.asarray(open_image(io.BytesIO(file), "RGB", name, photo=True))
        if "16" not in name:
            assert np.array_equal(read, photo.pixels[..., 2::-1]), name
        assert np.array_equal(np.asarray(open_image(io.BytesIO(file), "RGB", name)), pixels)
    if points[1] != 13:
        grey = decode_photo(png(numbers(GREY, 8), 8, 0, tagged(*points)), keep_grey=True).pixels
        assert np.abs(grey - shown(GREY, *points)).max() <= 1.1


def test_display_p3_is_that_of_its_profile():
    file = png(numbers(SHOWN, 8), 8, 2, tagged(12, 4), in_png(WIDE["display-p3"]))  # of gamma 2.2
    assert "CICP" in decode_photo(file).notes["icc"]  # the chunk goes before a profile
    expected = converted(SHOWN, "RGB", WIDE["display-p3"]).astype(int)
    assert np.abs(decode_photo(file).pixels[..., ::-1] - expected).max() <= 2


@pytest.mark.parametrize("points", [(1, 13), (2, 2), (1, 2), (2, 13)])
def test_srgb_and_what_says_nothing_is_left(points):
    for file in (png(numbers(SHOWN, 8), 8, 2, tagged(*points)), avif(*points)):
        photo = decode_photo(file)
        assert photo.notes == {}
        assert np.array_equal(photo.pixels, decode_photo(file, icc=False).pixels)


@pytest.mark.parametrize(("points", "line"), [
    ((9, 16), "transfer PQ"), ((9, 18), "transfer HLG"), ((11, 13), "primaries 11"), ((1, 9), "transfer 9"),
    ((1, 13, 0), "narrow range")])
def test_colours_that_are_not_converted_are_refused_by_name(points, line):
    files = [png(numbers(SHOWN, 8), 8, 2, tagged(*points))] + ([avif(*points)] if len(points) == 2 else [])
    for file in files:
        with pytest.raises(SkippedPhoto, match=line):
            decode_photo(file)
        with pytest.raises(InputError, match=line):
            open_image(io.BytesIO(file), "RGB", "photo", photo=True)
        decode_photo(file, icc=False)


def test_broken_chunks_say_nothing():
    for chunk in ((b"cICP", b"\x0c"), (b"cICP", b"")):
        assert coding_points(png(numbers(SHOWN, 8), 8, 2, chunk)) is None
    assert coding_points(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 1 << 31) + b"cICP") is None
    assert coding_points(avif(12, 13)[:200].partition(b"colrnclx")[0] + b"colrnclx\0") is None
