"""The two sides of a comparison: images to encode, or stored features or statistics."""

import hashlib
import json
import re
from pathlib import Path

GENERATOR_SUFFIXES = (".pt", ".pth", ".pt2", ".ckpt", ".safetensors", ".pkl", ".bin", ".tar")
NUM_GEN = 50_000  # images of a generator, as of published FIDs
STORED_ARRAYS = {"mu", "sigma", "feats", "pool_3"}


class GeneratedImages:
    """A source of `num` images from a generator (common.generators), as common.features.encode takes them."""

    def __init__(self, generator, num, seed, rounded):
        self._generator, self._num, self._seed, self._rounded = generator, num, seed, rounded
        self.resolution = generator.resolution
        self.output_range = generator.description.get("output_range")  # score models have but one
        self.what = f"{generator.name} ({generator.description['kind']}, {num:,} images, seed {seed})"

    def __len__(self):
        return self._num

    def title(self, index):
        """Return an image's name in messages."""
        return f"{self._generator.name}: image {index}"

    def identity(self):
        """Return the hash of all that shapes these images."""
        description = {**self._generator.description, "seed": self._seed, "rounded": self._rounded}
        return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()

    def generate(self, numbers):
        """Return images (H, W, 3), uint8 when rounded, else float32 in 0..255."""
        import numpy as np

        from common.images.pixels import to_bytes

        pixels = self._generator.generate(list(numbers), self._seed)
        images = np.broadcast_to(pixels.permute(0, 2, 3, 1).cpu().numpy(), (len(pixels), *pixels.shape[2:], 3))
        # A non-finite image is passed on: its features are not finite either, which excludes and counts it.
        return [to_bytes(image) if self._rounded and np.isfinite(image).all() else np.ascontiguousarray(image)
                for image in images]


def is_stored(place):
    """True for a file of features or statistics."""
    path = Path(place)
    if not path.is_file() or path.suffix.lower() not in (".npz", ".pkl", ".npy"):
        return False
    if path.suffix.lower() == ".pkl":
        return True
    if path.suffix.lower() == ".npy":
        from common.formats.npy import npy_header

        try:
            with open(path, "rb") as stream:
                return len(npy_header(stream)[0]) == 2  # rows of features; images have three axes, many of them four
        except (ValueError, EOFError):
            return False
    from common.formats.npz import npz_names

    return bool(STORED_ARRAYS & set(npz_names(path)))


def is_generator(place):
    """True for a file that holds a network."""
    path = Path(place)
    return path.is_file() and path.suffix.lower() in GENERATOR_SUFFIXES and not is_stored(place)


def open_source(place, options, device, num=None, split="train"):
    """Return the source of the first `num` images at a place (None: of a generator NUM_GEN, else all); None for a file
    of features or statistics."""
    from common.features.sources import open_images

    if is_stored(place):
        return None
    if is_generator(place):
        from common.generators import open_generator

        generator = open_generator(place, device, config=options.config, method=options.method,
                                   num_steps=options.num_steps,
                                   z_dim=options.z_dim, truncation=options.truncation,
                                   output_range=options.output_range)
        return GeneratedImages(generator, num or NUM_GEN, options.seed, options.round)
    return open_images(place, num, split=split, data_dir=options.data_dir)


def encoded_side(images, space, options, change):
    """Return (Statistics with rows, excluded images) of a source, encoded now or cached."""
    from common.features.encode import encode, report_excluded

    encoded = encode(images, space, options.batch_size, options.num_workers, change, options.overwrite,
                     f"{space.name} features")
    report_excluded(encoded)
    return encoded.statistics(), encoded.excluded


def stored_side(path, metric="fid"):
    """Return the Statistics of a stored file, with the features of a <stem>_kid.npz beside it.

    metric: which entry of an EDM2 pickle.  A file without metadata may have them in its name, as those of clean-fid do.
    Raises InputError where the features are of other images.
    """
    from common.features.statistics import Statistics, check_same_images, read_statistics

    path = Path(path)
    stored = read_statistics(path, metric)
    features, meta = path.with_name(f"{path.stem}_kid.npz"), _meta_of_name(path.name) | stored.meta
    rows = stored.features
    if rows is None and features.is_file():
        beside = read_statistics(features, width=stored.width)
        check_same_images(stored, beside)
        rows = beside.features
    moments = {} if stored.features is not None else {"mean": stored.mean, "covariance": stored.covariance}
    return Statistics(**moments, count=stored.count, features=rows, logits=stored.logits, meta=meta, path=path)


def _meta_of_name(name):
    """Return the metadata in clean-fid's file names, `<name>_<mode>_<split>_<res>.npz` of Inception's features."""
    splits = "custom|train|trainfull|test|trainval|trainval70k"
    match = re.search(rf"_(clean|legacy_pytorch|legacy_tensorflow)_({splits})_(na|\d+)(_kid)?\.npz$", name.lower())
    return {"extractor": "inception", "resize": match.group(1)} if match else {}
