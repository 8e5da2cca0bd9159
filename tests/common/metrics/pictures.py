"""Small image files of every kind that users have, and Inception weights for tests."""

import io
import zipfile

import numpy as np
from PIL import Image


def picture(seed, size=(16, 20)):
    """Return uint8 (height, width, 3) of smooth noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def write_folder(folder, count=12, size=(16, 20), first=0):
    """Write `count` PNG files, half of them in a folder below, and return the folder."""
    (folder / "below").mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        place = folder / "below" if number % 2 else folder
        Image.fromarray(picture(number, size)).save(place / f"{number:03d}.png")
    return folder


def write_odd_folder(folder):
    """Write one image of every kind, two that are broken and some files that are not images; return (readable,
    broken)."""
    folder.mkdir(parents=True)
    base = Image.fromarray(picture(1))
    base.save(folder / "rgb.PNG")
    base.convert("L").save(folder / "grey.png")
    base.convert("RGBA").save(folder / "alpha.png")
    base.convert("CMYK").save(folder / "cmyk.jpg")
    base.convert("P").save(folder / "palette.bmp")
    base.resize((31, 7)).save(folder / "wide.webp")
    Image.fromarray((np.arange(320, dtype=np.uint16) * 200).reshape(16, 20)).save(folder / "sixteen.png")
    np.save(folder / "array.npy", picture(2))
    np.save(folder / "float.npy", picture(3).astype(np.float32))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    stream = io.BytesIO()
    base.save(stream, format="PNG")
    (folder / "short.png").write_bytes(stream.getvalue()[:120])
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_bytes(stream.getvalue())
    return 9, 2


def write_zip(path, folder):
    """Write the files of a folder into a zip, in no order."""
    files = sorted((file for file in folder.rglob("*") if file.is_file()), key=lambda file: file.name[::-1])
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.write(file, file.relative_to(folder))
    return path
