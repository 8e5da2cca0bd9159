"""A folder of 40 pictures as people have them: sizes, modes, suffixes, damage; three of them cannot be read."""

import io

import numpy as np
from PIL import Image

DAMAGED = ("cut.jpg", "empty.png", "words.png")
MODES = ("L", "LA", "RGBA", "CMYK", "P", "1", "I;16", "RGB")
SIZES = ((1, 1), (4000, 3000), (33, 200), (200, 33), (64, 32), (32, 64), (63, 65), (720, 405))


def write_odd_pictures(folder, seed=0):
    """Write the 40 files into a folder; returns {name: the RGB Pillow image in it} of the 37 readable ones."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number, (width, height) in enumerate(SIZES):
        scene(rng, width, height).save(folder / f"size_{number}.png", compress_level=1)  # quick
    for number, mode in enumerate(MODES):
        _in_mode(scene(rng, 50 + number, 40), mode).save(folder / f"mode_{number}.{'tif' if mode == 'CMYK' else 'png'}")
    scene(rng, 48, 40).convert("CMYK").save(folder / "cmyk.jpg")
    scene(rng, 48, 40).save(folder / "upper.JPG")
    scene(rng, 48, 40).save(folder / "upper.JPEG")
    scene(rng, 48, 40).save(folder / "lossless.webp", lossless=True)
    frames = [scene(rng, 48, 40) for _ in range(3)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "moving.webp", save_all=True, append_images=frames[1:], lossless=True)
    turned = Image.Exif()
    turned[0x0112] = 6
    scene(rng, 60, 40).save(folder / "turned.jpg", exif=turned)
    stream = io.BytesIO()
    scene(rng, 200, 200).save(stream, "JPEG")
    (folder / "cut.jpg").write_bytes(stream.getvalue()[: len(stream.getvalue()) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "words.png").write_text("this is a text\n")
    for number in range(40 - len(list(folder.iterdir()))):
        scene(rng, 64 + number, 48).save(folder / f"plain_{number:02d}.png")
    return {path.name: _decoded(path) for path in sorted(folder.iterdir()) if path.name not in DAMAGED}


def scene(rng, width, height):
    """Return a smooth picture with edges, as photographs have them."""
    coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def _in_mode(image, mode):
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    image = image.convert(mode)
    if "A" in mode:
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def _decoded(path):
    with Image.open(path) as image:
        if image.mode.startswith("I;16"):
            return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
        return image.convert("RGB")
