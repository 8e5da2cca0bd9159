"""PAM files (netpbm's P7): the header, and pixels at full range."""

from dataclasses import dataclass

MOST_HEADER = 1 << 16  # bytes
TYPES = {"BLACKANDWHITE": (1, False), "GRAYSCALE": (1, False), "RGB": (3, False), "BLACKANDWHITE_ALPHA": (2, True),
         "GRAYSCALE_ALPHA": (2, True), "RGB_ALPHA": (4, True)}  # (depth, whether the last is alpha)
UNNAMED = {1: "GRAYSCALE", 2: "GRAYSCALE_ALPHA", 3: "RGB", 4: "RGB_ALPHA"}  # by depth, where no type is told


@dataclass(frozen=True)
class PamHeader:
    """What the header says; start: offset of the pixels."""

    height: int
    width: int
    depth: int
    top: int  # MAXVAL
    kind: str  # TUPLTYPE
    start: int


def is_pam(data):
    """Return whether a file's bytes begin as a PAM's."""
    return data[:3] == b"P7\n"


def pam_header(data):
    """Return the PamHeader of a file's bytes. Raises ValueError for a broken one and for tuples of another kind."""
    end = data.find(b"\nENDHDR\n", 0, MOST_HEADER)
    if end < 0:
        raise ValueError("PAM without the end of its header")
    entries, kinds = {}, []
    for line in data[3:end].decode("latin-1").splitlines():
        name, _, value = line.strip().partition(" ")
        if name == "TUPLTYPE":  # several lines are one text
            kinds.append(value.strip())
        elif name and not name.startswith("#"):
            if name not in ("WIDTH", "HEIGHT", "DEPTH", "MAXVAL") or name in entries or not value.strip().isdecimal():
                raise ValueError(f"PAM with the header line '{line[:40]}'")
            entries[name] = int(value[:20])
    if len(entries) != 4 or not (0 < entries["MAXVAL"] < 1 << 16) or 0 in entries.values():
        raise ValueError("PAM without a size, depth or largest value in range")
    kind = " ".join(kinds) or UNNAMED.get(entries["DEPTH"], "none")
    if TYPES.get(kind, (0,))[0] != entries["DEPTH"]:
        raise ValueError(f"PAM of tuples '{kind[:40]}' of {entries['DEPTH']}")
    return PamHeader(entries["HEIGHT"], entries["WIDTH"], entries["DEPTH"], entries["MAXVAL"], kind, end + 8)


def pam_image(data):
    """Return a PAM as a Pillow image of 8 bits (L, LA, RGB or RGBA), of 16-bit values the upper ones; ValueError as
    `pam_pixels`. Its `info` has the largest value as `maxval`."""
    from PIL import Image

    pixels = pam_pixels(data)
    pixels = (pixels >> 8).astype("uint8") if pixels.dtype == "uint16" else pixels
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    image.info["maxval"] = pam_header(data).top
    return image


def pam_pixels(data):
    """Return pixels (H, W, DEPTH), grey or RGB, alpha last: uint8, or uint16 where the largest value is above 255.

    They are at the full range of their type, rounded. Raises ValueError as `pam_header`, and for a truncated file.
    """
    import numpy as np

    header = pam_header(data)
    count, kind = header.height * header.width * header.depth, np.dtype(">u2" if header.top > 255 else "u1")
    if len(data) - header.start < count * kind.itemsize:
        raise ValueError(f"PAM of {header.width} x {header.height} pixels is truncated")
    values = np.frombuffer(data, kind, count, header.start).reshape(header.height, header.width, header.depth)
    full = 255 if header.top <= 255 else 65535
    levels = np.minimum(np.arange(full + 1, dtype=np.uint32), header.top)
    table = ((levels * np.uint32(full) + header.top // 2) // header.top).astype(np.uint8 if full == 255 else np.uint16)
    return table[values]
