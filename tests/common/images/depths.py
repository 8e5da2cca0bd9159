"""Image files of many depths and kinds of pixels, with what they show."""

import io
import struct

import cv2
import numpy as np
from PIL import Image

SHOWN = cv2.resize(np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8), (40, 32),
                   interpolation=cv2.INTER_CUBIC)  # RGB
GREY = SHOWN[..., :1]
ALPHA = np.full(GREY.shape, 255, np.uint8)


def scaled(pixels, top):
    """Return pixels of 0..255 as whole numbers of 0..top."""
    return np.round(pixels.astype(float) * top / 255).astype(np.int64)


def pnm(kind, top, pixels):
    """Return a PGM or PPM file (kind P2, P3, P5, P6) of values 0..top."""
    head = f"{kind}\n# a comment\n{pixels.shape[1]} {pixels.shape[0]}\n{top}\n".encode()
    values = scaled(pixels, top)
    if kind in ("P5", "P6"):
        return head + values.astype(">u2" if top > 255 else "u1").tobytes()
    return head + " ".join(map(str, values.ravel())).encode()


def tiff(bits, photometric, values, *, planar=1, sample_format=1, extra=(), colours=None, order="<", pages=1, more=()):
    """Return an uncompressed TIFF of whole numbers (H, W, samples), as many equal pages as asked for."""
    height, width, samples = values.shape
    planes = [values] if planar == 1 else np.moveaxis(values[..., None], 2, 0)
    data = [_packed(plane, bits, sample_format, order) for plane in planes]
    tags = {256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * samples), 259: (3, [1]), 262: (3, [photometric]),
            273: (4, [0] * len(data)), 277: (3, [samples]), 278: (4, [height]), 279: (4, [len(part) for part in data]),
            284: (3, [planar]), 339: (3, [sample_format] * samples), **dict(more)}
    tags |= {338: (3, list(extra))} if extra else {}
    tags |= {320: (3, list(colours))} if colours is not None else {}
    file = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8)
    for page in range(pages):
        file += _page(len(file), tags, data, order, page == pages - 1)
    return file


def _page(start, tags, data, order, is_last):
    aside = start + 2 + 12 * len(tags) + 4
    length = sum(len(_values(*entry, order)) for entry in tags.values() if len(_values(*entry, order)) > 4)
    places = [aside + length + sum(map(len, data[:index])) for index in range(len(data))]
    entries, held = struct.pack(f"{order}H", len(tags)), b""
    for tag, (kind, values) in sorted({**tags, 273: (4, places)}.items()):
        value = _values(kind, values, order)
        if len(value) > 4:
            held += value
            value = struct.pack(f"{order}I", aside + len(held) - len(value))
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + value.ljust(4, b"\0")
    end = aside + length + sum(map(len, data))
    return entries + struct.pack(f"{order}I", 0 if is_last else end) + held + b"".join(data)


def _values(kind, values, order):
    return struct.pack(f"{order}{len(values)}{ {3: 'H', 4: 'I', 7: 'B'}[kind]}", *values)


def _packed(values, bits, sample_format, order):
    if bits in (8, 16, 32):
        return values.astype(f"{order}{'?uif'[sample_format]}{bits // 8}").tobytes()
    rows = (values.reshape(len(values), -1, 1) >> np.arange(bits - 1, -1, -1)) & 1
    return b"".join(np.packbits(row.astype(np.uint8).ravel()).tobytes() for row in rows)


def avif(bits, pixels):
    """Return an AVIF file of 8, 10 or 12 bits."""
    values = scaled(pixels, 2**bits - 1).astype(np.uint16 if bits > 8 else np.uint8)
    values = values[..., 0] if values.shape[2] == 1 else np.ascontiguousarray(values[..., ::-1])
    return cv2.imencode(".avif", values, [cv2.IMWRITE_AVIF_DEPTH, bits, cv2.IMWRITE_AVIF_QUALITY, 100])[1].tobytes()


def by_pillow(kind, mode, **options):
    """Return SHOWN in one of Pillow's modes as a file, and what Pillow reads from it."""
    stream = io.BytesIO()
    Image.fromarray(SHOWN).convert(mode).save(stream, kind, **options)
    return stream.getvalue(), np.asarray(Image.open(io.BytesIO(stream.getvalue())).convert("RGB"))


def table():
    """Return {name: (file, what it shows (H, W, 3) or None where it has to be refused)}."""
    files = {}
    for top in (15, 100, 255, 1000, 1023, 4095, 65535):
        for kind, pixels in (("P5", GREY), ("P6", SHOWN), ("P2", GREY), ("P3", SHOWN)):
            files[f"{kind} 0..{top}"] = pnm(kind, top, pixels), scaled(pixels, top) * 255 / top
    for bits in (8, 10, 12):
        files[f"avif {bits}"], files[f"avif grey {bits}"] = (avif(bits, SHOWN), SHOWN), (avif(bits, GREY), GREY)
    for order in "<>":
        files |= {f"tiff {order} {name}": entry for name, entry in _tiffs(order).items()}
    for kind, modes in (("PNG", ("1", "L", "LA", "P", "RGB", "RGBA")), ("BMP", ("1", "L", "P", "RGB", "RGBA")),
                        ("JPEG", ("L", "RGB", "CMYK")), ("WEBP", ("RGB", "RGBA"))):
        files |= {f"{kind} {mode}": by_pillow(kind, mode) for mode in modes}
    deep = cv2.imencode(".png", scaled(SHOWN[..., ::-1], 65535).astype(np.uint16))[1].tobytes()
    return files | {"png 16": (deep, SHOWN)}


def _tiffs(order):
    files = {}
    for bits in (1, 2, 4, 8, 10, 12, 14, 16):
        top = 2**bits - 1
        values = scaled(GREY, top)
        shown = values * 255 / top
        files[f"grey {bits}"] = tiff(bits, 1, values, order=order), shown
        files[f"white is zero {bits}"] = tiff(bits, 0, top - values, order=order), shown
    for bits in (8, 10, 12, 14, 16):
        for planar in (1, 2):
            seen = bits == 8 or planar == 1
            for name, pixels, extra in (("rgb", SHOWN, ()), ("rgba", np.dstack([SHOWN, ALPHA]), (2,))):
                file = tiff(bits, 2, scaled(pixels, 2**bits - 1), planar=planar, extra=extra, order=order)
                files[f"{name} {bits} planes {planar}"] = file, SHOWN if seen else None
    ink = np.asarray(Image.fromarray(SHOWN).convert("CMYK"))
    files["cmyk 8"] = tiff(8, 5, scaled(ink, 255), order=order), SHOWN
    files["cmyk 16"] = tiff(16, 5, scaled(ink, 65535), order=order), SHOWN
    colours = np.arange(16)[:, None] * np.array([17, 11, 5])
    indices = scaled(GREY, 15)
    files["palette 4"] = tiff(4, 3, indices, colours=(colours.T * 257).ravel(), order=order), colours[indices[..., 0]]
    for name, file in (("float", tiff(32, 1, GREY / 255, sample_format=3, order=order)),
                       ("signed 16", tiff(16, 1, scaled(GREY, 32767), sample_format=2, order=order)),
                       ("signed 8", tiff(8, 1, scaled(GREY, 127), sample_format=2, order=order)),
                       ("32", tiff(32, 1, scaled(GREY, 2**32 - 1), order=order)),
                       ("lab", tiff(8, 8, scaled(SHOWN, 255), order=order)),
                       ("ycbcr", tiff(8, 6, scaled(SHOWN, 255), order=order)),
                       ("five samples", tiff(8, 2, scaled(np.dstack([SHOWN, ALPHA, ALPHA]), 255), extra=(0, 0),
                                             order=order))):
        files[name] = file, None
    return files
