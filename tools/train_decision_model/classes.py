"""Images of one of many classes: a folder for each class, an npz with labels, or a data set by name."""

from pathlib import Path, PurePosixPath

import numpy as np

from common.datasets import canonical_name, dataset_inputs, open_dataset
from common.datasets.sets.folders import check_apart, list_images
from common.datasets.sets.splits import TEST_FOLDERS, is_in_a_split, split_names
from common.errors import InputError
from common.images.suffixes import DATA_SETS
from tools.train_decision_model.sources import LabelledFiles, LabelledSet, Source, held_out


def open_classes(options):
    """Return the Source of --data."""
    path = Path(options.data)
    if path.is_dir() and canonical_name(options.data) == options.data:
        return _open_folders(path, options)
    parts = [open_dataset(options.data, split, options.data_dir) for split in ("train", "test")]
    if any(part.labels is None for part in parts):
        raise InputError("these images have no classes", where=options.data,
                         do="Give a folder with a folder for each class, or an npz with labels")
    count = 1 + max(int(part.labels.max()) for part in parts)
    if min(int(part.labels.min()) for part in parts) < 0:
        raise InputError("a label is negative", where=options.data, do="Number the classes from 0")
    train, val = (LabelledSet(options.data, part.split, options.data_dir, one_hot(part.labels, count))
                  for part in parts)
    return Source(tuple(map(str, range(count))), "classes", train, val, dataset_inputs(options.data))


def one_hot(classes, count):
    """Return uint8 (N, count) of class numbers (N,)."""
    return (classes[:, None] == np.arange(count)).astype(np.uint8)


def _open_folders(path, options):
    """Return the Source of class folders, below train/ and val/ (or test/, validation/) where these are there."""
    names = sorted(list_images(path, DATA_SETS))
    tops = {name.split("/")[0].lower() for name in names if "/" in name}
    is_split = "train" in tops and tops & {*TEST_FOLDERS}
    if is_split:
        splits = [split_names(names, split, path) for split in ("train", "test")]
        found = [[(name, PurePosixPath(name).parts[1:-1]) for name in split] for split in splits]
    else:
        rows = held_out(len(names), options.val_share)
        found = [[(names[row], PurePosixPath(names[row]).parts[:-1]) for row in part] for part in rows]
    loose = next((name for part in found for name, folders in part if not folders), None)
    if loose is not None or not names:
        raise InputError(f"{loose} lies in no class folder" if names else "no images in it", where=path,
                         do="Put the images of each class into a folder of its own")
    check_apart(path, options.output_dir, lambda name: not is_split or is_in_a_split(name, names))
    classes = sorted({folders[0] for part in found for _, folders in part})
    if all(name.isdecimal() for name in classes):
        classes.sort(key=int)  # 10 after 9
    number = {name: place for place, name in enumerate(classes)}
    train, val = (LabelledFiles(path, [name for name, _ in part],
                                one_hot(np.array([number[folders[0]] for _, folders in part], int), len(classes)))
                  for part in found)
    return Source(tuple(classes), "classes", train, val, [options.data])
