"""The two sides of a comparison: images to encode, or stored features or statistics."""

import hashlib
import json
import re
import tarfile
from pathlib import Path

from common.errors import InputError
from common.numerals import counted

GENERATOR_SUFFIXES = (".pt", ".pth", ".pt2", ".ckpt", ".safetensors", ".pkl", ".bin", ".tar")
NUM_GEN = 50_000  # images of a generator, as of published FIDs
STORED_ARRAYS = ({"mu"}, {"sigma"}, {"feats"}, {"pool_3"}, {"m", "s"}, {"mean", "cov"})


class GeneratedImages:
    """A source of `num` images from a generator (common.generators), as common.features.encode takes them."""

    def __init__(self, generator, num, seed, rounded):
        self._generator, self._num, self._seed, self._rounded = generator, num, seed, rounded
        self.resolution, self.fit = generator.resolution, getattr(generator, "fit", None)
        self.output_range = generator.description.get("output_range")  # score models have but one
        self.what = f"{generator.name} ({generator.description['kind']}, {counted(num, 'image')}, seed {seed})"

    def __len__(self):
        return self._num

    def title(self, index):
        """Return an image's name in messages."""
        return f"{self._generator.name}: image {index}"

    def identity(self):
        """Return the hash of all that shapes these images."""
        description = {**self._generator.description, "seed": self._seed, "rounded": self._rounded}
        return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()

    def keys(self):
        """Return what identifies each image: all that shapes it, and its number."""
        identity = self.identity()
        return [f"{identity} {number}" for number in range(self._num)]

    def classes(self):
        """Return the number of each image's class as text; None for a generator without classes."""
        labels = getattr(self._generator, "labels", None)
        return None if labels is None else list(map(str, labels.numbers(range(self._num), self._seed)))

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
    suffix = path.suffix.lower()
    if not path.is_file() or suffix not in (".npz", ".pkl", ".pickle", ".npy", ".pt"):
        return False
    if suffix == ".npy":
        from common.formats.npy import npy_header

        try:
            with open(path, "rb") as stream:
                shape, _, dtype = npy_header(stream)
        except (ValueError, EOFError):
            return False
        return dtype.hasobject or len(shape) == 2  # rows of features; images have three axes, many of them four
    if suffix == ".pt":
        from common.features.foreign import is_container

        return is_container(path)
    from common.formats.npz import npz_names

    return suffix != ".npz" or any(arrays <= set(npz_names(path)) for arrays in STORED_ARRAYS)


def is_generator(place):
    """True for a file that holds a network."""
    path = Path(place)
    named = path.is_file() and path.suffix.lower() in GENERATOR_SUFFIXES
    return named and not is_stored(place) and not (path.suffix.lower() == ".tar" and tarfile.is_tarfile(path))


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
                                   output_range=options.output_range, num_classes=options.num_classes,
                                   class_label=options.class_label)
        return GeneratedImages(generator, num or NUM_GEN, options.seed, options.round)
    return open_images(place, num, split=split, data_dir=options.data_dir)


def encoded_side(images, spaces, options, change):
    """Return [(Statistics with rows, EncodedImages)] of a source in each space, encoded now or cached."""
    from common.features.encode import encode_in, report_excluded

    encoded = encode_in(spaces, images, options.batch_size, options.num_workers, change, options.overwrite,
                        f"{spaces[0].name} features", options.cache_gb)
    report_excluded(encoded[0])
    return [(found.statistics(), found) for found in encoded]


def has_spatial(place):
    """True for a .npz with statistics of spatial features, as guided-diffusion's references."""
    from common.formats.npz import npz_names

    return Path(place).suffix.lower() == ".npz" and {"mu_s", "sigma_s"} <= set(npz_names(place))


def images_in(place):
    """Return the source of the images that a .npz of statistics holds too, as ADM's references do; None without."""
    from common.datasets.sets.npz import IMAGE_KEYS
    from common.features.sources import open_images
    from common.formats.npz import npz_names

    if Path(place).suffix.lower() != ".npz" or not set(IMAGE_KEYS) & set(npz_names(place)):
        return None
    return open_images(place)


def stored_side(path, metric="fid", like=None):
    """Return the Statistics of a stored file, with the features of a <stem>_kid.npz beside it.

    metric, like: which entry of an EDM2 pickle, see read_statistics.  A file without metadata may have them in its
    name, as those of clean-fid do.
    Raises InputError where the features are of other images, and for those of a single one.
    """
    from common.features.comparable import check_same_images
    from common.features.statistics import Statistics, read_statistics

    path = Path(path)
    stored = read_statistics(path, metric, like=like)
    if stored.count == 1:
        raise InputError("features of one image, at least two are required", where=path, do="Use more images")
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
