"""Data sets that come with scikit-learn, so that everything runs without a download: digits, photos32, photos64.

digits: 1,797 real scans of handwritten digits (8 x 8, 1 channel, 16 grey levels), uint8 = round(255/16 * value).
photos32, photos64: square patches of the two bundled photographs (china, flower; 640 x 427 pixels, RGB). Train patches
come from columns 0..511, test patches from columns 512..639, so no pixel is in both; within a split they lie on a grid
of STRIDE pixels and overlap.
"""

import gzip
import importlib.util
from pathlib import Path

from common.datasets.sets.imageset import ArrayImages
from common.errors import InputError

NAMES = ("digits", "photos32", "photos64")
DIGITS_TRAIN = 1500
STRIDE = 8
PHOTOS = ("china.jpg", "flower.jpg")
COLUMNS = {"train": (0, 512), "test": (512, 640)}


def open_embedded(name, split, size=None):
    """Return the ImageSet of digits (1500 train, 297 test, with labels), photos32 or photos64 (without)."""
    if name == "digits":
        images, labels = load_digits(split)
        return ArrayImages(name, split, [images], labels, size=size)
    return ArrayImages(name, split, [load_photos(split, int(name.removeprefix("photos")))], size=size)


def fixed_permutation(count):
    """Return a permutation of `count` rows that never changes.

    From numpy's RandomState, whose streams are frozen; those of default_rng may change between versions of numpy.
    """
    import numpy as np

    return np.random.RandomState(0).permutation(count)


def load_digits(split):
    """Return (N, 8, 8, 1) uint8 images and (N,) int64 labels: rows 0..1499 (train) or 1500..1796 (test)."""
    import numpy as np

    with gzip.open(_bundled("data", "digits.csv.gz"), "rt", encoding="ascii") as stream:
        table = np.loadtxt(stream, delimiter=",", dtype=np.int64)  # 64 grey levels of 0..16, then the digit
    images = np.round(table[:, :64].reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    order = fixed_permutation(len(images))
    rows = order[:DIGITS_TRAIN] if split == "train" else order[DIGITS_TRAIN:]
    return images[rows], table[rows, 64]


def patch_corners(split, patch):
    """Return (N, 3) integers: photograph (0 or 1), top row and left column of each patch, in a fixed shuffled order."""
    import numpy as np

    first, end = COLUMNS[split]
    tops, lefts = range(0, 427 - patch + 1, STRIDE), range(first, end - patch + 1, STRIDE)
    corners = np.array([(photo, top, left) for photo in range(2) for top in tops for left in lefts])
    return corners[fixed_permutation(len(corners))]


def load_photos(split, patch):
    """Return (N, patch, patch, 3) uint8 patches of the two photographs; see `patch_corners`."""
    import numpy as np
    from PIL import Image

    photos = [np.asarray(Image.open(_bundled("images", name)).convert("RGB")) for name in PHOTOS]
    corners = patch_corners(split, patch)
    return np.stack([photos[photo][top : top + patch, left : left + patch] for photo, top, left in corners])


def _bundled(*parts):
    """Return the path of a file that comes with scikit-learn, without importing it, which takes seconds."""
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:  # a plain folder of this name has no origin
        raise InputError("scikit-learn is not installed", where="data set", do="pip install scikit-learn")
    return Path(found.origin).parent.joinpath("datasets", *parts)
