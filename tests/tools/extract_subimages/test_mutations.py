"""Damaged photos: 200 seeded mutations of eight kinds of files, each extracted or named, none crashes the run."""

import io
import random

import numpy as np
from PIL import Image

from tests.tools.extract_subimages.photos import extract, photo

KINDS = {"jpg": ("JPEG", {}), "png": ("PNG", {}), "webp": ("WEBP", {}), "tif": ("TIFF", {"compression": "tiff_lzw"}),
         "bmp": ("BMP", {}), "ppm": ("PPM", {}), "avif": ("AVIF", {}), "jpeg": ("JPEG", {"progressive": True})}


def mutate(data, rng):
    """Return bytes with some changed, cut off, doubled or left out."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(data))
        kind = rng.choice(["set", "set", "cut", "drop", "double", "head"])
        if kind == "set":
            data[place] = rng.randrange(256)
        elif kind == "head":
            data[rng.randrange(min(64, len(data)))] = rng.randrange(256)
        elif kind == "cut":
            del data[max(place, 1) :]
        elif kind == "drop":
            del data[place : place + rng.randint(1, 40)]
        else:
            data[place:place] = data[place : place + 20]
        if not data:
            data = bytearray(b"\0")
    return bytes(data)


def test_200_mutated_photos(tmp_path):
    rng = random.Random(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(np.ascontiguousarray(photo(0, 90, 110)[..., ::-1]))
    whole = {}
    for ending, (kind, flags) in KINDS.items():
        stream = io.BytesIO()
        image.save(stream, kind, **flags, **({"exif": exif} if kind in ("JPEG", "PNG", "TIFF") else {}))
        whole[ending] = stream.getvalue()
    (tmp_path / "in").mkdir()
    for index in range(200):
        ending = rng.choice(sorted(KINDS))
        (tmp_path / "in" / f"m{index:03d}.{ending}").write_bytes(mutate(whole[ending], rng))
    results = extract(tmp_path / "in", tmp_path / "out")
    assert results["photos"] == results["extracted"] + results["num_skipped"] == 200
    assert results["num_skipped"] > 50
    assert len(results["skipped_files"]) == len(set(results["skipped_files"])) == results["num_skipped"]
    assert len(list((tmp_path / "out").glob("*_left"))) == results["chunks"] == results["extracted"]
