"""Locating the user's data sets: the folders to search, and the error for missing data."""

import os
from pathlib import Path

from common.errors import InputError


def search_roots(data_dir, nested=()):
    """Return the folders to search: `data_dir`, by default TFDS_DATA_DIR, ~/tensorflow_datasets and ./data.

    nested: names of folders below each to search as well.
    Raises InputError when data_dir does not exist.
    """
    if data_dir is not None:
        if not Path(data_dir).exists():
            raise InputError("no such file or folder", where=data_dir,
                             do="Pass the folder that contains the data set with --data_dir")
        bases = [Path(data_dir)]
    else:
        tfds_dir = os.environ.get("TFDS_DATA_DIR")
        bases = [*([Path(tfds_dir)] if tfds_dir else []), Path("~/tensorflow_datasets").expanduser(), Path("data")]
    return [root for base in bases for root in (base, *(base / name for name in nested))]


def missing_data(title, split, files, roots, published, do):
    """Return the InputError for a missing data set.

    files: names searched for.  roots: folders searched (those inside another of them are not listed).
    published: where to download them.  do: where to put them.
    """
    tops = [str(root) for root in roots if not any(other in root.parents for other in roots)]
    return InputError(
        f"no data for split {split}: looked for {', '.join(files)} in and below {', '.join(tops)}",
        where=title, do=f"Download it from {published} (this program never downloads) and {do}",
    )


def check_labels(labels, first, last, where, key="labels", do=None):
    """Return labels as int64 (N,); InputError when they are not integers from `first` to `last`."""
    import numpy as np

    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise InputError(
            f"'{key}' is {labels.dtype} of shape {labels.shape}, expected one row of integers", where=where,
            do="Use a file of the published layout",
        )
    if labels.size and (labels.min() < first or labels.max() > last):
        raise InputError(
            f"array '{key}' runs {labels.min()}-{labels.max()}, expected {first}-{last}", where=where,
            do=do or "Use a file of the published layout",
        )
    return labels.astype(np.int64)


def check_planes(data, labels, where, key="data", side=32):
    """Return rows of 3 planes as (N, 3, side, side) uint8; InputError on another shape, dtype or number of labels."""
    import numpy as np

    expected = 3 * side * side
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != expected:
        actual = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise InputError(f"'{key}' is {actual}, expected uint8 (N, {expected})", where=where,
                         do="Use the published file")
    if len(data) != len(labels) or len(data) == 0:
        raise InputError(
            f"{len(data)} images and {len(labels)} labels, expected equal numbers, at least one", where=where,
            do="Recreate the file or copy it again",
        )
    return data.reshape(-1, 3, side, side)


def plain_key(entries, key, where):
    """Return entries[key] whether the dict's keys are text or bytes; InputError listing the keys."""
    if not isinstance(entries, dict):
        raise InputError(f"is of type {type(entries).__name__}, expected a dict", where=where,
                         do="Use the published file")
    for spelling in (key, key.encode()):
        if spelling in entries:
            return entries[spelling]
    names = sorted(name.decode("latin1") if isinstance(name, bytes) else str(name) for name in entries)
    raise InputError(
        f"no entry '{key}', the file has {', '.join(names) or 'none'}", where=where, do="Use the published file"
    )


def read_pickled_batch(path):
    """Return (data, labels) of a pickled batch, read without executing code from it."""
    import numpy as np

    from common.formats.pickles import read_pickle

    entries = read_pickle(path)
    return np.asarray(plain_key(entries, "data", path)), np.asarray(plain_key(entries, "labels", path))
