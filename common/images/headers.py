"""What the headers of image files say of their pixels, where a decoder would take them for what they are not."""

import re
import struct

from common.images.profiles import jpeg_segments

TOP = 65535
PNM = re.compile(rb"P([2356])(?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+(\d+)")
JPEG_LS = 0xF7
FRAME_HEADERS = {*range(0xC0, 0xD0), JPEG_LS} - {0xC4, 0xC8, 0xCC}  # SOF markers of JPEG
BITFIELDS = (3, 6)  # a BMP's compression


def jpeg_frame(data):
    """Return (marker, bits of a sample, number of components) of a JPEG by its frame header; (0xC0, 8, 3) where there
    is none."""
    for marker, at in jpeg_segments(data):
        if marker in FRAME_HEADERS and at + 6 <= len(data):
            return marker, data[at], data[at + 5]
    return 0xC0, 8, 3


def strange(data):
    """Return what pixels are that no reader here decodes right, else None. TIFF: see common.images.tiff."""
    if data[:2] != b"\xff\xd8":
        return None
    marker, bits, components = jpeg_frame(data)
    if marker == JPEG_LS:
        return "JPEG-LS"
    if bits != 8:
        return f"JPEG of {bits} bits"
    return None if components in (1, 3, 4) else f"JPEG of {components} components"


def is_multi_picture(data):
    """Return whether a JPEG's header lists further pictures behind it (MPO: stereo pairs, gain maps)."""
    return data[:2] == b"\xff\xd8" and any(marker == 0xE2 and data[at : at + 4] == b"MPF\0"
                                           for marker, at in jpeg_segments(data))


def needs_pillow(data):
    """Return whether OpenCV is wrong about a file: CMYK of JPEG (two levels), BMP of 15 or 16 bits (the lowest are 0),
    of other masks (ignored) or with OS/2's header (colours of another place), PNG whose picture is not a frame of its
    animation (it gives the first frame)."""
    if data[:2] == b"\xff\xd8":
        return jpeg_frame(data)[2] == 4
    if data[:4] == b"\x89PNG":
        pixels = data.find(b"IDAT")
        return data.find(b"acTL", 0, pixels) > 0 > data.find(b"fcTL", 0, pixels)
    if data[:2] == b"BM" and len(data) >= 34:
        header, = struct.unpack_from("<I", data, 14)
        bits, compression = struct.unpack_from("<HI", data, 28)
        return header < 40 or bits == 16 or compression in BITFIELDS
    return False


def is_avif(data):
    """Return whether a file's bytes begin as an AVIF's."""
    return data[4:8] == b"ftyp"


def largest_value(data, dtype):
    """Return the largest value that a pixel can have by the header, None where it is that of its type, the name of
    which is `dtype`. Raises ValueError where the file does not say."""
    found = PNM.match(data)
    if found:
        top = int(found.groups()[-1])
        return None if top in (255, TOP) else top
    if dtype == "uint8" or data[:4] == b"\x89PNG":
        return None
    at = data.find(b"av1C") if is_avif(data) else -1
    if at < 0 or dtype != "uint16":
        raise ValueError(f"{dtype} of a depth that the file does not tell")
    return 4095 if data[at + 6] & 0x20 else 1023  # its flags: high_bitdepth, twelve_bit
