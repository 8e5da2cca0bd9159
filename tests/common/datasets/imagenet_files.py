"""Small files in the layouts of ImageNet, for tests."""

import io
import pickle
import zipfile

import numpy as np

SIDE = 8


def make_pixels(count, side=SIDE, seed=0):
    """Return uint8 (count, 3, side, side); the first two values of image g are g."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 3, side, side), np.uint8)
    pixels[:, 0, 0, 0] = np.arange(count)
    return pixels


def write_batches(folder, counts=(7, 5, 6), numbers=(1, 2, 3), side=SIDE, classes=4, form="stored", seed=0):
    """Write npz batches (form stored or deflated) or pickles; returns (pixels, labels) of all in numeric order."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = make_pixels(sum(counts), side, seed)
    labels = np.random.default_rng(seed + 1).integers(1, classes + 1, len(pixels))
    labels[:classes] = np.arange(1, classes + 1)
    start = 0
    for number, count in zip(numbers, counts):
        part = {"data": pixels[start : start + count].reshape(count, -1), "labels": labels[start : start + count]}
        path = folder / f"train_data_batch_{number}"
        if form == "pickle":
            path.write_bytes(pickle.dumps({**part, "labels": part["labels"].tolist()}, protocol=2))
        else:
            (np.savez if form == "stored" else np.savez_compressed)(path, **part, mean=np.zeros(3))
        start += count
    return pixels, labels


def jpeg(seed=0, size=(20, 12), mode="RGB", form="JPEG"):
    """Return the bytes of a small picture."""
    from PIL import Image

    values = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(values).convert(mode).save(stream, format=form)
    return stream.getvalue()


def write_tree(root, split="val"):
    """Write a tree of three synsets with pictures of several kinds and one that is broken; returns its good names."""
    files = {
        "n01440764/a.JPEG": jpeg(0), "n01440764/b.jpg": jpeg(1, mode="L"), "n02119789/c.JPEG": jpeg(2, mode="CMYK"),
        "n02119789/d.png": jpeg(3, mode="RGBA", form="PNG"), "n03255030/e.JPEG": jpeg(4, (5, 4)),
        "n03255030/broken.JPEG": jpeg(5)[:200],
    }
    for name, data in files.items():
        path = root / split / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return sorted(f"{split}/{name}" for name in files if "broken" not in name)


def zip_tree(root, path):
    """Put a tree into a zip, inside one more folder."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(root.rglob("*.*")):
            archive.write(file, f"ILSVRC/{file.relative_to(root).as_posix()}")
