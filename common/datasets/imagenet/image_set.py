"""ImageNet at 32 x 32 (Chrabaszcz et al. 2017), as published: pickles, or the same as .npz.

train_data_batch_1 .. train_data_batch_10 and val_data, each with `data` uint8 (n, 3072), rows of 1024 R, 1024 G, 1024
B, each 32 x 32 row-major, and `labels` 1..1000, from which 1 is subtracted. Other entries, such as a mean, are ignored.
"""

from pathlib import Path

from common.datasets.sets.imageset import ArrayImages
from common.datasets.sets.locate import check_labels, check_planes, missing_data, plain_key
from common.errors import InputError

PUBLISHED = "https://image-net.org/download-images (downsampled, 32x32)"
NESTED = ("imagenet", "imagenet32", "imagenet-32", "Imagenet32_train", "Imagenet32_val", "imagenet/Imagenet32_train",
          "imagenet/Imagenet32_val")


def imagenet_roots(data_dir):
    """Return the folders to search: data_dir and the usual names below it, or ./imagenet without data_dir."""
    from common.datasets.sets.locate import search_roots

    return [Path("imagenet")] if data_dir is None else search_roots(data_dir, NESTED)


def open_imagenet32(split, roots, size=None):
    """Return the ImageSet of one split from the first of the folders `roots` that has a file of it.

    train: the existing batches 1, 2, ... in numeric order. Labels 0..999.
    Raises InputError when there is no file, a batch before the last one is missing, or a file is broken.
    """
    import numpy as np

    for root in roots:
        paths = _train_files(root) if split == "train" else _present(root / "val_data")
        if paths:
            break
    else:
        wanted = ["train_data_batch_1 .. train_data_batch_10"] if split == "train" else ["val_data"]
        do = "put the unpacked files in ./imagenet, or pass their folder with --data_dir"
        raise missing_data("imagenet", split, [*wanted, "the same as .npz"], roots, PUBLISHED, do)
    images, labels = zip(*(read_file(path) for path in paths))
    return ArrayImages("imagenet32", split, images, np.concatenate(labels), channels_first=True, size=size)


def _present(path):
    """Return [the file], else [the same as .npz], else []."""
    names = (path, path.with_name(f"{path.name}.npz"))
    return [name for name in names if name.is_file() or name.is_symlink()][:1]  # a link to nothing is an error


def _train_files(root):
    """Return the batch files of a folder in numeric order; InputError when one between them is missing."""
    files = {number: _present(root / f"train_data_batch_{number}") for number in range(1, 11)}
    present = [number for number, paths in files.items() if paths]
    for number in range(1, max(present, default=0)):
        if not files[number]:
            raise InputError(
                f"no such file, but train_data_batch_{present[-1]} exists", where=root / f"train_data_batch_{number}",
                do=f"Download the missing batch from {PUBLISHED}",
            )
    return [path for paths in files.values() for path in paths]


def read_file(path):
    """Return (n, 3, 32, 32) uint8 images and (n,) int64 labels from 0 of one published file, pickle or .npz.

    Raises InputError when it is missing, broken, lacks an entry, or its labels do not run 1..1000.
    """
    from common.files import read_npz
    from common.formats.pickles import read_pickle

    entries = read_npz(path, required=("data", "labels")) if path.suffix == ".npz" else read_pickle(path)
    do = "Use the published files; add 1 to labels that start at 0"
    labels = check_labels(plain_key(entries, "labels", path), 1, 1000, path, do=do)
    return check_planes(plain_key(entries, "data", path), labels, path), labels - 1
