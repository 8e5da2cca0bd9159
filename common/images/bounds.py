"""What the header of an image file claims, held against the bytes that are there, before a decoder believes it.

A decoder makes room for the claimed pixels (or the claimed chunk) first and looks for them afterwards: 8 kB may ask for
gigabytes. Only sizes are read here; what they belong to is for the decoder to judge.
"""

import re
import struct

from common.formats.zips import HIGHEST_RATIO
from common.images.profiles import jpeg_segments
from common.images.tiff import is_tiff, tiff_header

# What Pillow raises for damaged files, beside its DecompressionBombError.
PILLOW_ERRORS = (OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, AttributeError, ArithmeticError,
                 RuntimeError, MemoryError, struct.error)
LARGE = 1 << 28  # bytes of pixels from which on the ratio counts: 89 megapixels, from where Pillow warns
MOST_SCANS = 500  # of a progressive JPEG, each of which passes over all its pixels; encoders write about ten
FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))  # JPEG's markers of a size
OS2 = (12).to_bytes(4, "little")  # bytes of a BMP's first kind of header
TEXTS = (re.compile(rb"P[1-6]\s(?:\s*#[^\n]*\n)*\s*(?P<width>\d+)\s(?:\s*#[^\n]*\n)*\s*(?P<height>\d+)"),
         re.compile(rb"P[Ff]\s+(?P<width>\d+)\s+(?P<height>\d+)"),
         re.compile(rb"P7\n(?:.*\n)*?WIDTH (?P<width>\d+)\n(?:.*\n)*?HEIGHT (?P<height>\d+)"),
         re.compile(rb"#\?(?:.*\n)*?[-+]Y (?P<height>\d+) [-+]X (?P<width>\d+)"))  # Radiance
# Kinds whose size lies at one place: what the file begins with, the place, and how (height, width) are written.
PLACED = ((b"BM", 18, "<ii"), (b"GIF8", 6, "<HH"), (b"\x59\xa6\x6a\x95", 4, ">II"))


def check_claims(data):
    """Raise ValueError where the bytes of an image file claim far more than they can hold.

    That is: a PNG's chunk that ends behind the file; a progressive JPEG of hundreds of scans; over 2**28 bytes of
    pixels, where the file has not one byte for 200 of them (photographs need one for 50 at most).
    """
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        _check_chunks(data)
    scans = _count_scans(data) if data[:2] == b"\xff\xd8" else 0
    if scans > MOST_SCANS:
        raise ValueError(f"{scans:,} scans of one JPEG")
    height, width = claimed_size(data)
    if 3 * height * width > max(LARGE, HIGHEST_RATIO * len(data)):
        raise ValueError(f"{len(data):,} bytes claim to be {width} x {height} pixels")


def claimed_size(data):
    """Return the largest (height, width) that the bytes of an image file claim, (0, 0) where none is found."""
    try:
        return _claimed_size(data)
    except (struct.error, ValueError, IndexError, TypeError):
        return 0, 0


def _count_scans(data):
    """Return how often a JPEG's bytes hold the marker of a scan: data.count(b"\\xff\\xda") in a fifth of its time."""
    import numpy as np

    pairs = (np.frombuffer(data, "<u2", (len(data) - start) // 2, start) for start in (0, 1))
    return sum(int(np.count_nonzero(values == 0xDAFF)) for values in pairs)


def _check_chunks(data):
    """Raise ValueError where a chunk of a PNG does not end within the file."""
    place = 8
    while place + 8 <= len(data):
        length, name = int.from_bytes(data[place : place + 4]), data[place + 4 : place + 8]
        if place + 12 + length > len(data):
            raise ValueError(f"a chunk of {length:,} bytes where {len(data) - place - 8:,} are left")
        if name == b"IEND":
            return
        place += 12 + length


def _claimed_size(data):
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        width, height = struct.unpack_from(">II", data, 16)
        return height, width
    if data[:2] == b"\xff\xd8":
        sizes = [struct.unpack_from(">HH", data, at + 1) for marker, at in jpeg_segments(data) if marker in FRAMES]
        return max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))
    if is_tiff(data):
        tags = tiff_header(data).tags
        return tags.get(257, (0,))[0], tags.get(256, (0,))[0]
    if data[:4] == b"RIFF":
        return _webp_size(data)
    if data[4:8] in (b"ftyp", b"jP  ") or data[:4] == b"\xff\x4f\xff\x51":
        return _boxed_size(data)
    for start, place, kind in PLACED:
        if data.startswith(start):
            kind = "<HH" if data[:2] == b"BM" and data[14:18] == OS2 else kind
            width, height = struct.unpack_from(kind, data, place)
            return abs(height), abs(width)
    found = next(filter(None, (text.match(data[:4096]) for text in TEXTS)), None)
    return (int(found["height"]), int(found["width"])) if found else (0, 0)


def _webp_size(data):
    """Return the canvas of a WebP, or the size of its one image."""
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[27:30], "little"), 1 + int.from_bytes(data[24:27], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return height & 0x3FFF, width & 0x3FFF


def _boxed_size(data):
    """Return the largest size of an AVIF's items, or of a JPEG 2000 (whose codestream may stand alone)."""
    sizes = [(height, width) for at in _places(data, b"ispe")
             for width, height in [struct.unpack_from(">II", data, at + 8)]]
    sizes += [struct.unpack_from(">II", data, at + 4) for at in _places(data, b"ihdr")]
    sizes += [(height, width) for at in _places(data, b"\xff\x4f\xff\x51")
              for width, height in [struct.unpack_from(">II", data, at + 8)]]
    return max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))


def _places(data, word):
    """Return the places of a word among the boxes at a file's beginning."""
    return [found.start() for found in re.finditer(re.escape(word), data[: 1 << 16]) if found.end() + 12 <= len(data)]
