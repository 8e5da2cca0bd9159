"""Colours by coding points (CICP, ITU-T H.273): PNG's chunk cICP and AVIF's box nclx, converted to sRGB.

They say by numbers what a colour profile says by curves and matrices. A cICP chunk goes before a profile in the same
PNG (PNG, third edition), a profile before AVIF's nclx, which then tells the decoder its matrix alone.
"""

from functools import lru_cache

UNSPECIFIED, BT709, SRGB = 2, 1, 13
# Chromaticities (x, y) of red, green and blue. All have the white point D65.
PRIMARIES = {
    1: ("BT.709", (0.64, 0.33), (0.30, 0.60), (0.15, 0.06)), 5: ("BT.470 BG", (0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: ("BT.601", (0.63, 0.34), (0.31, 0.595), (0.155, 0.07)), 7: ("240M", (0.63, 0.34), (0.31, 0.595), (0.155, 0.07)),
    9: ("BT.2020", (0.708, 0.292), (0.17, 0.797), (0.131, 0.046)),
    12: ("Display P3", (0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),
    22: ("EBU 3213", (0.63, 0.34), (0.295, 0.605), (0.155, 0.077)),
}
WHITE = (0.3127, 0.3290)
NAMES = {16: "PQ (high dynamic range)", 18: "HLG (high dynamic range)"}  # transfers that sRGB cannot show
NEAR = 1  # levels of 255, as for profiles: colours that differ by no more are left


def coding_points(data):
    """Return (primaries, transfer characteristics, whether of full range) of a file's bytes; None where it has none."""
    if data[:4] == b"\x89PNG":
        return _of_png(data)
    at = data.find(b"colrnclx") if data[4:8] == b"ftyp" else -1
    if at < 0 or len(data) < at + 15 or b"colrprof" in data or b"colrrICC" in data:
        return None
    return int.from_bytes(data[at + 8 : at + 10]), int.from_bytes(data[at + 10 : at + 12]), True  # decoders expand


def _of_png(data):
    place = 8
    while place + 12 <= len(data):
        length, kind = int.from_bytes(data[place : place + 4]), data[place + 4 : place + 8]
        if kind == b"cICP" and length == 4 and place + 16 <= len(data):
            primaries, transfer, _, full = data[place + 8 : place + 12]
            return primaries, transfer, full == 1
        if kind in (b"IDAT", b"IEND"):
            return None
        place += length + 12
    return None


def to_srgb(pixels, points):
    """Return (8-bit pixels in sRGB, the name of the colours where it changed them, else None).

    pixels: (H, W) grey or (H, W, C) BGR, C = 3 or 4.  points: of `coding_points`.
    Raises ValueError for colours that are not converted, naming them.
    """
    import numpy as np

    primaries, transfer, full = points
    primaries, transfer = (default if point == UNSPECIFIED else point
                           for point, default in ((primaries, BT709), (transfer, SRGB)))
    if not full:
        raise ValueError("colours of narrow range (cICP)")
    if transfer in NAMES or _linear(transfer, np.zeros(1)) is None:
        raise ValueError(f"colours of transfer {NAMES.get(transfer, transfer)}")
    if primaries not in PRIMARIES:
        raise ValueError(f"colours of primaries {primaries}")
    curve, matrix = _curve(transfer), _matrix(primaries)
    name = f"{PRIMARIES[primaries][0]} (CICP {primaries}/{transfer})"
    if pixels.ndim == 2 or primaries == BT709:  # no colour moves towards another
        table = np.clip(np.rint(_encoded(curve) * 255), 0, 255).astype(np.uint8)
        if np.abs(table.astype(int) - np.arange(256)).max() <= NEAR:
            return pixels, None
        return (table[pixels] if pixels.ndim == 2 else np.dstack([table[pixels[..., :3]], pixels[..., 3:]])), name
    return np.dstack([_converted(pixels, curve, matrix), pixels[..., 3:]]), name


def _converted(pixels, curve, matrix):
    """Return BGR pixels (H, W, 3) in sRGB, by rows, so that a large photo needs no copy in float."""
    import numpy as np

    result = np.empty((*pixels.shape[:2], 3), np.uint8)
    steps = np.rint(_encoded(np.linspace(0, 1, 1 << 16)) * 255).astype(np.uint8)
    for row in range(0, len(pixels), 64):
        light = curve[pixels[row : row + 64, :, 2::-1]] @ matrix.T  # (64, W, 3) RGB
        result[row : row + 64] = steps[np.rint(np.clip(light, 0, 1) * 65535).astype(np.int64)][..., ::-1]
    return result


def _linear(transfer, values):
    """Return the light (0..1) of encoded values by a transfer's number, None for one that is not known."""
    import numpy as np

    if transfer in (1, 6, 14, 15):  # BT.709, BT.601, BT.2020: one curve
        return np.where(values < 4.5 * 0.018053968510807, values / 4.5,
                        ((values + 0.09929682680944) / 1.09929682680944) ** (1 / 0.45))
    if transfer == SRGB:
        return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    powers = {4: 2.2, 5: 2.8, 8: 1.0}
    return values ** powers[transfer] if transfer in powers else None


def _encoded(light):
    """Return sRGB values (0..1) of light."""
    import numpy as np

    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


@lru_cache
def _curve(transfer):
    """Return the light of the 256 levels, float64."""
    import numpy as np

    return _linear(transfer, np.arange(256) / 255)


@lru_cache
def _matrix(primaries):
    """Return the matrix (3, 3) from light in some primaries to light in sRGB's."""
    import numpy as np

    return np.linalg.solve(_to_xyz(BT709), _to_xyz(primaries))


def _to_xyz(primaries):
    """Return the matrix (3, 3) from RGB to XYZ, with white at (1, 1, 1)."""
    import numpy as np

    def xyz(x, y):
        return np.array([x / y, 1, (1 - x - y) / y])

    columns = np.stack([xyz(*point) for point in PRIMARIES[primaries][1:]], 1)
    return columns * np.linalg.solve(columns, xyz(*WHITE))
