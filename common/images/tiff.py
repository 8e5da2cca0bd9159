"""The header of a TIFF file: which of the many kinds of pixels it holds."""

import struct
from dataclasses import dataclass, field

SIZES = {1: 1, 3: 2, 4: 4, 16: 8}  # bytes of a value, by the type's number: BYTE, SHORT, LONG, LONG8
FORMATS = {1: "B", 3: "H", 4: "I", 16: "Q"}
MOST_PAGES = 10_000
DEEP = (10, 12, 14)
DEPTHS = (8, 10, 12, 14, 16), (1, 2, 4, 8, 10, 12, 14, 16)  # bits of several samples, and of one
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
SEPARATE_PLANES, JPEG, ASSOCIATED_ALPHA = 2, 7, 1
ORIENTATION, COLOUR_MAP, TILE_WIDTH, XMP, PROFILE = 274, 320, 322, 700, 34675  # tags
PLAIN = (1, 2, 3, 4, 5, JPEG, 8, 32773, 32946)  # compressions that every libtiff knows
COMPRESSIONS = {6: "old JPEG", 34712: "JPEG 2000", 33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000",
                34887: "LERC", 34925: "LZMA", 34933: "PNG", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL",
                52546: "JPEG XL"}
NAMES = {4: "a mask", 8: "L*a*b*", 9: "L*a*b*", 10: "L*a*b*", 32803: "sensor values", 32844: "LogL",
         32845: "LogLuv", 34892: "sensor values"}


@dataclass
class TiffHeader:
    """The tags of the first page that say what its pixels are, and how many pages there are."""

    bits: tuple = (1,)
    compression: int = 1
    photometric: int = BLACK_IS_ZERO
    samples: int = 1
    planar: int = 1
    extra: tuple = ()
    sample_format: tuple = (1,)
    profile: tuple = ()  # (place, bytes) of the colour profile in the file
    pages: int = 1
    is_thumbnail: bool = False  # the first page, a smaller copy of another
    tags: dict = field(default_factory=dict, repr=False)

    def is_plain(self):
        """Return whether the compression is one that every libtiff knows: others may come out black."""
        return self.compression in PLAIN

    def compression_name(self):
        """Return the name of the compression, or its number."""
        return COMPRESSIONS.get(self.compression, f"number {self.compression}")

    def strange(self):
        """Return what pixels are that no reader here decodes right, else None."""
        if self.is_thumbnail:
            return "a first page that is a smaller copy of another"
        if len(set(self.bits)) > 1 or len(set(self.sample_format)) > 1:
            return "samples of several depths"
        if self.sample_format[0] != 1:
            return {2: "signed samples", 3: "floating-point samples"}.get(self.sample_format[0], "complex samples")
        if self.photometric in NAMES or self.photometric > YCBCR:
            return NAMES.get(self.photometric, f"photometric interpretation {self.photometric}")
        if self.photometric == YCBCR and self.compression != JPEG:
            return "YCbCr that is not stored as JPEG"
        if self.planar == SEPARATE_PLANES and self.samples > 1 and (self.bits[0] != 8 or self.samples == 2):
            return f"{self.samples} samples of {self.bits[0]} bits in separate planes"
        if self.samples == 2 and self.bits[0] > 8 and TILE_WIDTH in self.tags:
            return f"grey with alpha of {self.bits[0]} bits in tiles"
        if self.extra[:1] == (ASSOCIATED_ALPHA,) and self.planar == SEPARATE_PLANES:
            return "colours multiplied by alpha in separate planes"
        if self.extra[:1] == (ASSOCIATED_ALPHA,) and self.samples == 2 and self.bits[0] > 8:
            return f"grey of {self.bits[0]} bits multiplied by alpha"
        if self.photometric == PALETTE and self.bits[0] > 8:
            return f"a palette of {self.bits[0]} bits"
        wanted = {WHITE_IS_ZERO: (1, 2), BLACK_IS_ZERO: (1, 2), RGB: (3, 4), PALETTE: (1,), CMYK: (4,), YCBCR: (3,)}
        if self.samples not in wanted[self.photometric]:
            return f"{self.samples} samples a pixel"
        if self.bits[0] not in DEPTHS[self.samples == 1]:
            return f"{self.samples} samples of {self.bits[0]} bits" if self.samples > 1 else f"{self.bits[0]} bits"
        return None


def tiff_header(data):
    """Return the TiffHeader of a file's bytes. Raises ValueError for a broken one."""
    try:
        return _read(data)
    except (struct.error, IndexError, KeyError, OverflowError) as error:
        raise ValueError(f"broken TIFF header ({error})") from error


def is_tiff(data):
    """Return whether a file's bytes begin as a TIFF's."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def with_colours(image):
    """Return an open Pillow image; of a TIFF whose colour map is of 8 bits, which Pillow takes for black, with its
    colours."""
    from PIL import ImagePalette

    colours = image.tag_v2.get(COLOUR_MAP) if image.format == "TIFF" and image.mode in ("P", "PA") else None
    if colours and max(colours) < 256:
        image.palette = ImagePalette.raw("RGB;L", bytes(colours))
    return image


def _read(data):
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    place, = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    first, pages, seen = None, 0, set()
    while place and place not in seen and len(seen) < MOST_PAGES:
        seen.add(place)
        tags, place = _directory(data, place, order, big)
        first = tags if first is None else first
        pages += not tags.get(254, (0,))[0] & 5  # not a smaller copy nor a mask of another page
    tags = first or {}
    one = {name: tags[number][0] for name, number in (("compression", 259), ("photometric", 262), ("samples", 277),
                                                      ("planar", 284)) if number in tags}
    several = {name: tags[number] for name, number in (("bits", 258), ("extra", 338), ("sample_format", 339))
               if number in tags}
    return TiffHeader(**one, **several, profile=tags.get(PROFILE, ()), pages=max(pages, 1), tags=tags,
                      is_thumbnail=bool(tags.get(254, (0,))[0] & 1 and pages))


def _directory(data, place, order, big):
    """Return ({tag: values of those that are looked at, else their number}, place of the next directory)."""
    count, = struct.unpack_from(order + ("Q" if big else "H"), data, place)
    place += 8 if big else 2
    length, tags = (20 if big else 12), {}
    for entry in range(place, place + min(count, 4096) * length, length):
        tag, kind, number = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, entry)
        value, held = entry + (12 if big else 8), (8 if big else 4)
        if tag == PROFILE:  # of bytes, some thousands
            tags[tag] = (*struct.unpack_from(order + ("Q" if big else "I"), data, value), number)
            continue
        if kind not in SIZES or number == 0:
            tags[tag] = (0,)
            continue
        if number * SIZES[kind] > held:
            value, = struct.unpack_from(order + ("Q" if big else "I"), data, value)
        if tag in (254, 256, 257, 258, 259, 262, 274, 277, 284, 338, 339):
            tags[tag] = struct.unpack_from(f"{order}{min(number, 8)}{FORMATS[kind]}", data, value)
        else:
            tags[tag] = (number,)
    return tags, struct.unpack_from(order + ("Q" if big else "I"), data, place + count * length)[0]
