"""Kinds of image files that few programs write: what they show, in each reader, or refused by what they are."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from common.errors import InputError
from common.images.decode import decode
from common.images.opencv import decode_rgb
from common.images.photos import SkippedPhoto, decode_photo
from common.images.pil_transforms import open_image
from tests.common.images.depths import scaled, tiff
from tests.common.images.profiles import WIDE
from tests.peers.image_files import ALPHA, GREY, PALETTE, SHOWN, bmp, by_pillow, numbers, packed, png

LIGHT = GREY[..., None]
DENSE = np.maximum(ALPHA, 128)  # no colour is lost under it
TURN = (b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>')


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def animated():
    """Return an APNG of one frame, of other colours than its picture, which is not a frame."""
    plain, frame = png(SHOWN, 8, 2), png(255 - SHOWN, 8, 2)
    control = struct.pack(">IIIIIHHBB", 0, SHOWN.shape[1], SHOWN.shape[0], 0, 0, 1, 10, 0, 0)
    pixels = frame[frame.find(b"IDAT") + 4 : -16]
    return (plain[:33] + chunk(b"acTL", struct.pack(">II", 1, 0)) + plain[33:-12] + chunk(b"fcTL", control)
            + chunk(b"fdAT", struct.pack(">I", 1) + pixels) + plain[-12:])


def os2(values, bits, colours=None):
    """Return a BMP with OS/2's header, of RGB (H, W, 3) or of indices (H, W)."""
    rows = [packed(row[:, ::-1] if bits == 24 else row, min(bits, 8)) for row in values[::-1]]
    data = b"".join(row + bytes(-len(row) % 4) for row in rows)
    palette = b"" if colours is None else colours[:, ::-1].tobytes()
    start = 26 + len(palette)
    return (b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start)
            + struct.pack("<IHHHH", 12, values.shape[1], values.shape[0], 1, bits) + palette + data)


def associated(bits):
    """Return a TIFF whose colours are multiplied by their alpha."""
    top, alpha = 2**bits - 1, numbers(DENSE, bits)
    colours = np.round(numbers(SHOWN, bits) * (alpha[..., None] / top)).astype(np.int64)
    return tiff(bits, 2, np.dstack([colours, alpha]), extra=(1,))


def files():
    """Return {name: (file, what it shows)}."""
    found = {"png, no frame of its animation": (animated(), SHOWN), "bmp os2 24": (os2(SHOWN, 24), SHOWN)}
    for bits in (1, 4, 8):
        values = scaled(GREY, 2**bits - 1)
        found[f"bmp os2 {bits}"] = os2(values, bits, PALETTE[: 2**bits]), PALETTE[values]
    for bits in (2, 8):
        values, colours = scaled(LIGHT, 2**bits - 1), PALETTE[: 2**bits]
        found[f"tiff palette {bits}, colours of 8 bits"] = tiff(bits, 3, values, colours=colours.T.ravel()), \
            colours[values[..., 0]]
    for bits in (8, 16):
        found[f"tiff associated alpha {bits}"] = associated(bits), SHOWN
        xmp = {700: (7, list(TURN))}
        found[f"tiff turned by xmp {bits}"] = tiff(bits, 2, scaled(SHOWN, 2**bits - 1), more=xmp), np.rot90(SHOWN, -1)
        both = tiff(bits, 2, scaled(SHOWN, 2**bits - 1), more={**xmp, 274: (3, [3])})
        found[f"tiff turned by its tag, not xmp, {bits}"] = both, np.rot90(SHOWN, 2)
    grey = np.round(LIGHT * (DENSE[..., None] / 255)).astype(np.int64)
    found["tiff grey associated alpha 8"] = tiff(8, 1, np.dstack([grey, DENSE]), extra=(1,)), LIGHT
    return found


def thumbnail_first():
    """Return a TIFF of two pages, the first a smaller copy."""
    kind = struct.pack("<HHII", 254, 4, 1, 0)
    pages = tiff(8, 2, scaled(SHOWN, 255), pages=2, more={254: (4, [0])})
    return pages.replace(kind, struct.pack("<HHII", 254, 4, 1, 1), 1)


def odd_files():
    """Return {name: (file, what the refusal names)}."""
    import cv2

    jpeg = cv2.imencode(".jpg", SHOWN)[1].tobytes()
    frame = jpeg.find(b"\xff\xc0")
    found = {"tiff, its thumbnail first": (thumbnail_first(), "smaller copy of another"),
             "jpeg of two components": (jpeg[: frame + 9] + b"\x02" + jpeg[frame + 10 :], "JPEG of 2 components"),
             "jpeg-ls": (jpeg[:frame] + b"\xff\xf7" + jpeg[frame + 2 :], "JPEG-LS")}
    for bits in (3, 6, 9, 11, 13, 15, 24, 32):
        found[f"tiff grey {bits}"] = tiff(bits, 1, scaled(LIGHT, 2**bits - 1)), f"{bits} bits"
        found[f"tiff rgb {bits}"] = tiff(bits, 2, scaled(SHOWN, 2**bits - 1)), f"3 samples of {bits} bits"
    found["tiff rgb 4"] = tiff(4, 2, scaled(SHOWN, 15)), "3 samples of 4 bits"
    grey = scaled(np.dstack([LIGHT, DENSE]), 65535)
    found["tiff grey associated alpha 16"] = tiff(16, 1, grey, extra=(1,)), "grey of 16 bits multiplied by alpha"
    planes = tiff(8, 2, scaled(np.dstack([SHOWN, DENSE]), 255), planar=2, extra=(1,))
    found["tiff associated alpha in planes"] = planes, "multiplied by alpha in separate planes"
    values = scaled(SHOWN, 15)[::-1].astype("<u2")
    values = values[..., 0] << 8 | values[..., 1] << 4 | values[..., 2]
    found["bmp 444"] = bmp(values, 16, masks=(0xF00, 0xF0, 0xF)), "BMP of other colour masks"
    return found


FILES, ODD = files(), odd_files()


@pytest.mark.parametrize("name", FILES)
def test_S7_rare_kinds_show_what_went_in_in_every_reader(name):
    file, shown = FILES[name]
    readers = (lambda: decode_photo(file).pixels[..., ::-1], lambda: decode_rgb(file, name, photo=True),
               lambda: decode(file, name), lambda: np.asarray(open_image(io.BytesIO(file), "RGB", name, photo=True)))
    for read in readers:
        pixels = read()
        limit = 2 if "associated" in name else 1  # Pillow divides 8-bit values
        assert pixels.shape == (*shown.shape[:2], 3)
        assert np.abs(pixels * (255 / np.iinfo(pixels.dtype).max) - shown).max() <= limit


@pytest.mark.parametrize("name", ODD)
def test_S7_rare_kinds_are_refused_by_what_they_are(name):
    file, why = ODD[name]
    with pytest.raises(SkippedPhoto) as refused:
        decode_photo(file)
    assert refused.value.reason == "pixels of another kind"
    assert why in refused.value.detail
    for read in (lambda: decode(file, name), lambda: open_image(io.BytesIO(file), "RGB", name)):
        with pytest.raises(InputError, match="not a readable image"):
            read()


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_S14_profiles_of_tiffs_that_pillow_cannot_open(bits):
    profile = WIDE["adobe"]
    file = tiff(bits, 2, scaled(SHOWN, 2**bits - 1), more={34675: (7, list(profile))})
    expected = np.asarray(ImageCms.profileToProfile(Image.fromarray(SHOWN), io.BytesIO(profile),
                                                    ImageCms.createProfile("sRGB"))).astype(int)
    photo = decode_photo(file)
    assert photo.notes == {"icc": "wide"}
    assert np.abs(photo.pixels[..., ::-1] - expected).max() <= 2  # the depth's own rounding, magnified


def test_S6_further_pictures_of_a_jpeg_are_noted():
    pictures = [Image.fromarray(SHOWN), Image.fromarray(255 - SHOWN)]
    file = by_pillow(pictures[0], "MPO", save_all=True, append_images=pictures[1:])
    assert decode_photo(file).notes == {"pages": 2}
    assert decode_photo(by_pillow(pictures[0], "JPEG")).notes == {}


def test_S14_what_is_said_of_an_unusable_profile_is_equal_in_each_run():
    file = png(GREY, 8, 0, (b"iCCP", b"x\0\0" + zlib.compress(b"no profile")))
    webp = by_pillow(Image.fromarray(SHOWN), "WEBP", icc_profile=b"no profile", lossless=True)
    for data in (file, webp):
        assert " at 0x" not in str(decode_photo(data).notes)
        assert list(decode_photo(data).notes) == ["icc_ignored"]
