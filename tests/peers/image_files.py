"""Make tests/common/images/peer_files.npz: image files by tifffile, imagecodecs and Pillow, and what they show.

    python -m tests.peers.image_files       # needs numpy, pillow, tifffile 2026.3.3, imagecodecs 2026.3.6

The archive holds the bytes of each file under its name, `table` (JSON: name of a file -> name of what it shows, or null
where it has to be refused), and what the files show: (H, W, 3) float32 in 0..255, the values that went in, or, for a
lossy file, what the peer reads from it. Colours under alpha are as stored.
"""

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

TARGET = Path(__file__).parents[1] / "common/images/peer_files.npz"
WIDTH, HEIGHT = 34, 22
SHOWN = np.asarray(Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8))
                   .resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
GREY = SHOWN[..., 0]
ALPHA = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
INK = np.dstack([255 - SHOWN[..., 0], SHOWN[..., 1], GREY // 2, ALPHA // 3])
INK_SHOWN = (255.0 - INK[..., :3]) * (255.0 - INK[..., 3:]) / 255
PALETTE = np.random.default_rng(1).integers(0, 256, (256, 3), dtype=np.uint8)


def scaled(pixels, top):
    """Return pixels of 0..255 as whole numbers of 0..top."""
    return np.round(pixels.astype(float) * top / 255).astype(np.int64)


def numbers(pixels, bits):
    """Return pixels of 0..255 in an unsigned type of `bits` bits, at its full range."""
    return scaled(pixels, 2**bits - 1).astype(f"u{bits // 8}")


def by_pillow(image, kind, **options):
    """Return the bytes of a Pillow image as a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def read_pillow(data):
    """Return what Pillow reads, upright, without alpha."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    return np.asarray(image.convert("RGBA" if "A" in image.mode else "RGB"))[..., :3]


def png(values, bits, kind, *chunks, interlaced=False):
    """Return a PNG of whole numbers (H, W) or (H, W, C), not filtered. kind: its colour type."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    parts = [values[top::down, left::right] for left, top, right, down in passes] if interlaced else [values]
    rows = b"".join(b"\0" + packed(row, bits) for part in parts for row in part)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, kind, 0, 0, interlaced)
    every = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(data)) + name + data
                                           + struct.pack(">I", zlib.crc32(name + data)) for name, data in every)


def packed(row, bits):
    """Return a row of whole numbers, most significant bit first."""
    if bits >= 8:
        return row.astype(f">u{bits // 8}").tobytes()
    return np.packbits(((row.reshape(-1, 1) >> np.arange(bits - 1, -1, -1)) & 1).astype(np.uint8).ravel()).tobytes()


def pngs():
    """Yield (name, file, what it shows) of PNG."""
    for way in (False, True):
        name = "png interlaced" if way else "png"
        for bits in (1, 2, 4, 8, 16):
            top, values = 2**bits - 1, scaled(GREY, 2**bits - 1)
            yield f"{name} grey {bits}", png(values, bits, 0, interlaced=way), values * 255 / top
            clear = b"tRNS", struct.pack(">H", values[3, 3])
            yield f"{name} grey {bits} tRNS", png(values, bits, 0, clear, interlaced=way), values * 255 / top
        for bits in (8, 16):
            grey, colours, alpha = (numbers(part, bits) for part in (GREY, SHOWN, ALPHA))
            yield f"{name} grey+alpha {bits}", png(np.dstack([grey, alpha]), bits, 4, interlaced=way), GREY
            yield f"{name} rgb {bits}", png(colours, bits, 2, interlaced=way), SHOWN
            clear = b"tRNS", struct.pack(">HHH", *colours[2, 2])
            yield f"{name} rgb {bits} tRNS", png(colours, bits, 2, clear, interlaced=way), SHOWN
            yield f"{name} rgba {bits}", png(np.dstack([colours, alpha]), bits, 6, interlaced=way), SHOWN
        for bits in (1, 2, 4, 8):
            values, colours = scaled(GREY, 2**bits - 1), (b"PLTE", PALETTE[: 2**bits].tobytes())
            yield f"{name} palette {bits}", png(values, bits, 3, colours, interlaced=way), PALETTE[values]
            clear = b"tRNS", bytes(range(2**bits))
            yield f"{name} palette {bits} tRNS", png(values, bits, 3, colours, clear, interlaced=way), PALETTE[values]


def jpegs():
    """Yield (name, file, what Pillow reads) of JPEG."""
    import imagecodecs

    for kind, image in (("grey", Image.fromarray(GREY)), ("ycbcr", Image.fromarray(SHOWN)),
                        ("cmyk", Image.fromarray(INK, "CMYK"))):
        for progressive in (False, True):
            for chroma in (0, 1, 2) if kind == "ycbcr" else (-1,):
                data = by_pillow(image, "JPEG", quality=95, progressive=progressive, subsampling=chroma)
                yield f"jpeg {kind} {chroma} {'progressive' if progressive else 'baseline'}", data, read_pillow(data)
    for stored, pixels, space in (("RGB", SHOWN, "RGB"), ("CMYK", 255 - INK, "CMYK"), ("YCCK", 255 - INK, "CMYK")):
        data = imagecodecs.jpeg8_encode(pixels, level=97, colorspace=space, outcolorspace=stored, subsampling="444")
        yield f"jpeg stored {stored}", data, read_pillow(data)
        place = data.find(b"\xff\xee")
        if place > 0:  # without Adobe's marker
            plain = data[:place] + data[place + 2 + int.from_bytes(data[place + 2 : place + 4]) :]
            yield f"jpeg stored {stored} plain", plain, read_pillow(plain)
    twelve = scaled(SHOWN, 4095).astype(np.uint16)
    yield "jpeg 12", imagecodecs.jpeg8_encode(twelve, bitspersample=12, level=97), None
    yield "jpeg lossless 16", imagecodecs.jpeg8_encode(numbers(SHOWN, 16), lossless=True, bitspersample=16), None


TIFFS = {"grey": ("minisblack", GREY, {}, GREY),
         "rgb": ("rgb", SHOWN, {}, SHOWN),
         "rgba": ("rgb", np.dstack([SHOWN, ALPHA]), {"extrasamples": ["unassalpha"]}, SHOWN),
         "grey+alpha": ("minisblack", np.dstack([GREY, ALPHA]),
                        {"extrasamples": ["unassalpha"], "planarconfig": "contig"}, GREY),
         "cmyk": ("separated", INK, {}, INK_SHOWN)}
WAYS = {"plain": {}, "tiles": {"tile": (16, 16)}, "lzw": {"compression": "lzw", "predictor": 2},
        "deflate tiles": {"compression": "zlib", "tile": (16, 16), "predictor": 2},
        "packbits": {"compression": "packbits"}, "big": {"bigtiff": True},
        "MM lzw": {"byteorder": ">", "compression": "lzw"}, "strips": {"rowsperstrip": 3}}


def tiff(values, photometric, **options):
    """Return a TIFF by tifffile."""
    import tifffile

    stream = io.BytesIO()
    tifffile.imwrite(stream, values, photometric=photometric, **options)
    return stream.getvalue()


def tiffs():
    """Yield (name, file, what it shows or None where it has to be refused) of TIFF."""
    for way, options in WAYS.items():
        for bits in (8, 16):
            for kind, (photometric, pixels, more, shown) in TIFFS.items():
                refused = kind == "grey+alpha" and bits == 16 and "tiles" in way
                data = tiff(numbers(pixels, bits), photometric, **options, **more)
                yield f"tiff {kind} {bits} {way}", data, None if refused else shown
            yield f"tiff white is zero {bits} {way}", tiff(numbers(255 - GREY, bits), "miniswhite", **options), GREY
            planes = np.ascontiguousarray(np.moveaxis(numbers(SHOWN, bits), 2, 0))
            shown = SHOWN if bits == 8 else None
            yield f"tiff planes {bits} {way}", tiff(planes, "rgb", planarconfig="separate", **options), shown
        colours = PALETTE.T.astype(np.uint16) * 257
        yield f"tiff palette 8 {way}", tiff(GREY, "palette", colormap=colours, **options), PALETTE[GREY]
    for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "u4"):
        yield f"tiff grey {kind}", tiff((GREY / 255 if kind[0] == "f" else GREY // 2).astype(kind), "minisblack"), None
    yield "tiff black and white", tiff(GREY > 127, "minisblack"), (GREY > 127) * 255
    yield "tiff lab 8", tiff(SHOWN, "cielab"), None
    yield "tiff lab 16", tiff(numbers(SHOWN, 16), "cielab"), None
    pages = tiff(np.stack([SHOWN, SHOWN[::-1]]), "rgb")
    yield "tiff two pages", pages, SHOWN
    for turn in range(1, 9):
        image = Image.fromarray(SHOWN)
        image.getexif()[274] = turn
        for bits in (8, 16):
            data = tiff(numbers(SHOWN, bits), "rgb", extratags=[(274, "H", 1, turn, True)])
            yield f"tiff turned {turn} {bits}", data, np.asarray(ImageOps.exif_transpose(image))
    yield from compressed()


def compressed():
    """Yield TIFFs of other compressions."""
    import tifffile

    for name, options in (("jpeg2000", {"reversible": True}), ("webp", {"lossless": True}),
                          ("jpegxl", {"lossless": True}), ("png", {}), ("lerc", {})):
        yield f"tiff {name}", tiff(SHOWN, "rgb", compression=name, compressionargs=options), None
    for name in ("lzma", "zstd"):
        yield f"tiff {name} 8", tiff(SHOWN, "rgb", compression=name), SHOWN
        yield f"tiff {name} 16 grey", tiff(numbers(GREY, 16), "minisblack", compression=name), GREY
    for across, down in ((1, 1), (2, 1), (2, 2)):
        data = tiff(SHOWN, "rgb", compression="jpeg", compressionargs={"level": 97}, subsampling=(across, down))
        yield f"tiff jpeg {across}{down}", data, tifffile.imread(io.BytesIO(data))
    for name in ("group3", "group4", "tiff_ccitt"):
        image = Image.fromarray(SHOWN).convert("1")
        yield f"tiff {name}", by_pillow(image, "TIFF", compression=name), np.asarray(image.convert("RGB"))


def others():
    """Yield WebP, AVIF, GIF and BMP files and what they show, by the peer where they are lossy."""
    import imagecodecs

    with_alpha = Image.fromarray(np.dstack([SHOWN, ALPHA]))
    for kind, image in (("rgb", Image.fromarray(SHOWN)), ("rgba", with_alpha)):
        for lossless in (False, True):
            for frames in ((), [image.rotate(180)]):
                data = by_pillow(image, "WEBP", lossless=lossless, quality=95, exact=True, save_all=bool(frames),
                                 append_images=frames)
                yield f"webp {kind} {lossless} {len(frames)}", data, read_pillow(data)
    for bits in (8, 10, 12):
        for name, pixels, shown in (("grey", GREY, GREY), ("rgb", SHOWN, SHOWN)):
            deep = scaled(pixels, 2**bits - 1).astype(np.uint8 if bits == 8 else np.uint16)
            yield f"avif {name} {bits}", imagecodecs.avif_encode(deep, level=100, bitspersample=bits), shown
            data = imagecodecs.avif_encode(deep, level=90, bitspersample=bits, pixelformat="420")
            if name == "rgb":
                yield f"avif 420 {bits}", data, imagecodecs.avif_decode(data) * 255.0 / (2**bits - 1)
    for chroma in ("4:2:0", "4:4:4", "4:0:0"):
        for span in ("full", "limited"):
            data = by_pillow(Image.fromarray(SHOWN), "AVIF", quality=95, subsampling=chroma, range=span)
            yield f"avif {chroma} {span}", data, read_pillow(data)
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[274] = turn
        for kind, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("AVIF", {"quality": 100}), ("JPEG", {})):
            data = by_pillow(Image.fromarray(SHOWN), kind, exif=exif, **options)
            yield f"{kind.lower()} turned {turn}", data, read_pillow(data)
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        data = by_pillow(with_alpha.convert(mode), "BMP")
        yield f"bmp {mode}", data, read_pillow(data)
    yield from bmps()


def bmps():
    """Yield BMP files that Pillow does not write."""
    deep = SHOWN[::-1].astype(np.uint32)
    five, six = deep * 31 // 255, deep * 63 // 255
    shown = {bits: SHOWN.astype(int) * (2**bits - 1) // 255 * (255 / (2**bits - 1)) for bits in (5, 6)}
    values = five[..., 0] << 10 | five[..., 1] << 5 | five[..., 2]
    yield "bmp 555", bmp(values.astype("<u2"), 16), shown[5]
    values = five[..., 0] << 11 | six[..., 1] << 5 | five[..., 2]
    yield ("bmp 565", bmp(values.astype("<u2"), 16, masks=(0xF800, 0x7E0, 0x1F)),
           np.dstack([shown[5][..., 0], shown[6][..., 1], shown[5][..., 2]]))
    values = deep[..., 0] << 16 | deep[..., 1] << 8 | deep[..., 2]
    yield "bmp 32 masks", bmp(values.astype("<u4"), 32, masks=(0xFF0000, 0xFF00, 0xFF)), SHOWN
    values = deep[..., 0] | deep[..., 1] << 8 | deep[..., 2] << 16
    yield "bmp 32 strange masks", bmp(values.astype("<u4"), 32, masks=(0xFF, 0xFF00, 0xFF0000)), None


def bmp(rows, bits, masks=()):
    """Return a BMP of rows (H, W) of whole numbers, the lowest first. masks: of red, green and blue."""
    data = b"".join(row.tobytes() + bytes(-len(row.tobytes()) % 4) for row in rows)
    start = 14 + 40 + 4 * len(masks)
    head = struct.pack("<IiiHHII16x", 40, rows.shape[1], rows.shape[0], 1, bits, 3 if masks else 0, len(data))
    return (b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + head
            + struct.pack(f"<{len(masks)}I", *masks) + data)


def main():
    """Write the archive and print what is in it."""
    arrays, table, places = {}, {}, {}
    for make in (pngs, jpegs, tiffs, others):
        for name, data, shown in make():
            arrays[name], table[name] = np.frombuffer(data, np.uint8), None
            if shown is not None:
                shown = np.asarray(shown, np.float32)
                shown = np.dstack([shown] * 3) if shown.ndim == 2 else shown
                table[name] = places.setdefault(shown.tobytes(), f"shown {len(places)}")
                arrays[table[name]] = shown
    np.savez_compressed(TARGET, table=np.frombuffer(json.dumps(table).encode(), np.uint8), **arrays)
    print(f"{len(table)} files, {len([1 for shown in table.values() if shown])} to be read, "
          f"{TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
