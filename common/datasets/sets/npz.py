"""Images in a .npz or .npy file: uint8, (N, H, W, C), (N, C, H, W) or grey (N, H, W), mapped unless compressed."""

import zipfile
from pathlib import Path

from common.datasets.sets.imageset import ArrayImages
from common.datasets.sets.splits import split_rows
from common.errors import InputError
from common.formats.npy import check_length, npy_header
from common.formats.zips import member_start, open_zip, zip_errors

IMAGE_KEYS = ("images", "samples", "data", "arr_0", "x")
LABEL_KEYS = ("labels", "label", "y")
UNNAMED = {"arr_0": "arr_1"}  # numpy's names: guided-diffusion's samples, with labels where they have classes
SPLIT_KEYS = {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")}  # of keras's mnist.npz


def open_npz(path, split, size=None):
    """Return the ImageSet of a split (`splits.split_rows`) of a .npz (first of IMAGE_KEYS, LABEL_KEYS) or .npy file.

    Channels are last when the last axis has 1 or 3 entries, else first. Labels, if any, are integers, (N,) or (N, 1).
    A file with x_train and x_test, as keras has them, is split by these.
    Raises InputError for a broken file, a missing array, another dtype or shape, or another number of labels.
    """
    path, is_split = Path(path), False
    if path.suffix.lower() == ".npy":
        from common.files import fingerprint

        images, labels, identity = _map(path, 0, path.stat().st_size, path), None, {"files": [fingerprint(path)]}
    else:
        images, labels, identity, is_split = _open_arrays(path, split)
    channels_first = _channels_first(images, path)
    rows = None if is_split else split_rows(images.shape[0], split, path)
    return ArrayImages(path.stem, split, [images], labels, channels_first, rows, size, identity)


def _open_arrays(path, split):
    """Return images (array or MappedArray), labels or None, the identity of a .npz file, and whether the images are
    those of the split alone."""
    from common.files import read_npz

    with open_zip(path, "not a complete .npz file") as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    key = next((name for name in IMAGE_KEYS if name in members), None)
    is_split = key is None and split in SPLIT_KEYS and all(keys[0] in members for keys in SPLIT_KEYS.values())
    key = SPLIT_KEYS[split][0] if is_split else key
    if key is None:
        raise InputError(
            f"no array {', '.join(IMAGE_KEYS[:-1])} or {IMAGE_KEYS[-1]}, the file has "
            f"{', '.join(members) or 'nothing'}",
            where=path, do="Store the images as `images`",
        )
    label_keys = SPLIT_KEYS[split][1:] if is_split else LABEL_KEYS
    label_key = next((name for name in label_keys if name in members), None)
    unnamed = UNNAMED.get(key) if label_key is None else None
    info = members[key]
    if info.compress_type == zipfile.ZIP_STORED:
        images = _map(path, _member_start(path, info), info.file_size, f"{path}: {key}")
    else:
        images = read_npz(path, required=(key,))[key]
        images = images.reshape(_with_channel(images.shape))
    if unnamed in members and _is_labels(path, members[unnamed], images.shape[0]):
        label_key = unnamed
    labels = read_npz(path, required=(label_key,))[label_key] if label_key else None
    arrays = [{"name": n, "bytes": members[n].file_size, "crc32": members[n].CRC} for n in (key, label_key) if n]
    identity = {"files": [{"name": path.name, "bytes": path.stat().st_size}], "arrays": arrays}
    return images, _check_labels(labels, images.shape, label_key, path), identity, is_split


def _is_labels(path, info, count):
    """Return whether an array without a name of its own is one of an integer for each image."""
    try:
        with open_zip(path, "not a complete .npz file") as archive, archive.open(info) as stream:
            shape, _, dtype = npy_header(stream)
    except (ValueError, EOFError):
        return False
    return dtype.kind in "iu" and tuple(shape) in ((count,), (count, 1))


def _member_start(path, info):
    """Return the offset of a stored zip member's data."""
    with zip_errors(path, "not a complete .npz file"), open(path, "rb") as stream:
        return member_start(stream, info)


class MappedArray:
    """A uint8 array inside a file, read through a memory map that is opened on first use in each process."""

    def __init__(self, path, offset, shape, order):
        self._path, self._offset, self._order = path, offset, order
        self.shape, self.dtype, self.ndim = shape, "uint8", len(shape)
        self._map = None

    def __getstate__(self):
        return {**self.__dict__, "_map": None}

    def __getitem__(self, rows):
        import numpy as np

        if self._map is None:
            self._map = np.memmap(self._path, np.uint8, "r", self._offset, self.shape, self._order)
        return np.asarray(self._map[rows])


def _map(path, start, size, where):
    """Return the .npy data in `size` bytes from byte `start` of a file on as MappedArray; InputError when they are not
    uint8."""
    from common.files import system_errors

    try:
        with system_errors(path), open(path, "rb") as stream:
            stream.seek(start)
            shape, fortran, dtype = npy_header(stream)
            offset = stream.tell()
            if not dtype.hasobject:
                check_length(shape, dtype, start + size - offset)
    except (ValueError, EOFError) as error:
        raise InputError(f"not a complete .npy array ({error})", where=where,
                         do="Recreate the file or copy it again") from error
    shape = _with_channel(shape)
    _check_images(shape, dtype, where)
    return MappedArray(path, offset, shape, "F" if fortran else "C")


def _with_channel(shape):
    """Return the shape (N, H, W) of grey images as (N, H, W, 1), any other unchanged, that of one RGB image too."""
    return (*shape, 1) if len(shape) == 3 and shape[2] not in (1, 3) else tuple(shape)


def _check_images(shape, dtype, where):
    if dtype != "uint8" or len(shape) != 4 or 0 in shape:
        raise InputError(
            f"images are {dtype} {tuple(shape)}, expected uint8 (N, H, W, C), (N, C, H, W) or (N, H, W)", where=where,
            do="Store 8-bit pixels",
        )


def _channels_first(images, where):
    """Return whether the channels are axis 1; InputError when neither it nor the last axis has 1 or 3 entries."""
    _check_images(images.shape, images.dtype, where)
    if images.shape[3] in (1, 3):
        return False
    if images.shape[1] in (1, 3):
        return True
    raise InputError(
        f"images have shape {tuple(images.shape)}, expected 1 or 3 channels on the last axis or on axis 1", where=where,
        do="Store grey or RGB images",
    )


def _check_labels(labels, shape, key, where):
    """Return labels as int64 (N,), or None; InputError when they are not one integer per image."""
    if labels is None:
        return None
    if labels.ndim == 2 and labels.shape[1] > 1 and labels.dtype.kind in "iufb" and (labels.sum(axis=1) == 1).all() \
            and (labels.max(axis=1) == 1).all():  # one-hot
        labels = labels.argmax(axis=1)
    if labels.dtype.kind not in "iu" or labels.size != shape[0] or labels.shape[0] != shape[0]:
        raise InputError(
            f"'{key}' is {labels.dtype} {labels.shape}, expected {shape[0]} integers, one per image", where=where,
            do="Store one integer per image, or no labels",
        )
    return labels.reshape(-1).astype("int64")
