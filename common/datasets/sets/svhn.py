"""SVHN, cropped digits, from the original MATLAB files (Netzer et al. 2011): train_32x32.mat and test_32x32.mat.

X is uint8 (32, 32, 3, N), y (N, 1) the digits 1..9, and 10 for the digit 0.
"""

import struct
import zlib

from common.datasets.sets.imageset import ArrayImages
from common.datasets.sets.locate import check_labels
from common.errors import InputError
from common.numerals import counted

PUBLISHED = "http://ufldl.stanford.edu/housenumbers/"
# What damaged files raise in loadmat beside its own MatReadError; NotImplementedError is that of MATLAB 7.3.
BROKEN = (ValueError, TypeError, LookupError, EOFError, OSError, NotImplementedError, OverflowError, MemoryError,
          zlib.error, struct.error)


def file_name(split):
    """Return the published name of a split's file."""
    return f"{split}_32x32.mat"


def find_svhn(split, roots):
    """Return the first path of the split's file in the folders `roots` (a root may be the file itself), or None."""
    for root in roots:
        if (root / file_name(split)).is_file():
            return root / file_name(split)
        if root.is_file() and root.name == file_name(split):
            return root
    return None


def open_svhn(split, path, size=None):
    """Return the ImageSet of one split, labels 0..9. Raises InputError for a broken or unexpected file."""
    import numpy as np

    arrays = _load(path)
    images, labels = arrays["X"], arrays["y"]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3) or not images.shape[3]:
        raise InputError(
            f"X is {images.dtype} {images.shape}, expected uint8 (32, 32, 3, N)", where=path,
            do=f"Download it from {PUBLISHED}"
        )
    labels = check_labels(labels.reshape(-1), 1, 10, path, "y", do=f"Download it from {PUBLISHED}")
    if len(labels) != images.shape[3]:
        raise InputError(f"{counted(images.shape[3], 'image')} and {len(labels)} labels", where=path,
                         do=f"Download it from {PUBLISHED}")
    images = np.ascontiguousarray(images.transpose(3, 0, 1, 2))
    return ArrayImages("svhn", split, [images], labels % 10, size=size)


def _load(path):
    """Return {"X", "y"} of a MATLAB file; InputError when it is broken or lacks one."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    from common.files import system_errors

    try:
        with system_errors(path):
            arrays = loadmat(path, variable_names=["X", "y"])
    except (*BROKEN, MatReadError) as error:
        raise InputError(f"not a complete MATLAB file ({error})", where=path,
                         do=f"Download it again from {PUBLISHED}") from error
    missing = [name for name in ("X", "y") if name not in arrays]
    if missing:
        raise InputError(f"no variable '{missing[0]}' in the file", where=path, do=f"Download it from {PUBLISHED}")
    return arrays
