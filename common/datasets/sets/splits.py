"""The train and test splits of the user's own images."""

from common.datasets.sets.embedded import fixed_permutation
from common.errors import InputError

TEST_FOLDERS = ("test", "val", "validation")
SPLIT_FOLDERS = {"train": ("train",), "val": ("val", "validate", "validation"), "test": ("test",)}


def split_names(names, split, where):
    """Return the sorted names (POSIX paths) that belong to a split.

    `all` is all of them. If train/ and one of test/, val/, validation/ are both at the top (or below one common top
    folder), these are the splits, and anything beside them is in neither. Otherwise `split_rows` decides.
    Raises InputError when a split would be empty.
    """
    names = sorted(names)
    if split == "all":
        return names
    parts = [name.split("/") for name in names]
    depth = 1 if names and all(len(part) > 2 and part[0] == parts[0][0] for part in parts) else 0
    for level in dict.fromkeys((0, depth)):
        tops = {part[level].lower() for part in parts if len(part) > level + 1}
        test = next((folder for folder in TEST_FOLDERS if folder in tops), None)
        if "train" in tops and test:
            top = "train" if split == "train" else test
            return [name for name, part in zip(names, parts) if len(part) > level + 1 and part[level].lower() == top]
    return [names[row] for row in split_rows(len(names), split, where)]


def split_names_in_three(names, split, where, hold_out=False):
    """Return the sorted names of train, val or test, as BlobGAN's folders have them: train/, val/ (or validate/,
    validation/) and test/, any of the last two may be missing and stands in for the other.

    Without a folder train/ (at the top, or below one common top folder) all images are training images; with hold_out
    those that `split_rows` calls test are held out, of train/ too where there is neither val/ nor test/.
    Raises InputError for a split without images.
    """
    names = sorted(names)
    folders = _split_folders(names)
    training = folders["train"] if folders else names
    held = folders and (folders[split] or folders["val"] or folders["test"])
    if split != "train" and held:
        return held
    if not training:
        raise InputError(f"no image found{' in train/' if folders else ''}", where=where, do="Pass a folder of images")
    if hold_out and not (folders and (folders["val"] or folders["test"])):
        return [training[row] for row in split_rows(len(training), "train" if split == "train" else "test", where)]
    if split != "train":
        raise InputError(f"no folder {split}/", where=where, do="Add one beside train/")
    return training


def is_in_a_split(name, names):
    """Return whether an image of this name, beside those of `names`, would be in a split of `split_names_in_three`."""
    folders = _split_folders([*names, name])
    return not folders or any(name in part for part in folders.values())


def _split_folders(names):
    """Return {"train", "val", "test"} -> names, or {} where no folder train/ is at the top."""
    parts = [name.split("/") for name in names]
    depth = 1 if names and all(len(part) > 2 and part[0] == parts[0][0] for part in parts) else 0
    for level in dict.fromkeys((0, depth)):
        tops = [part[level].lower() if len(part) > level + 1 else "" for part in parts]
        if "train" in tops:
            return {split: [name for name, top in zip(names, tops) if top in folders]
                    for split, folders in SPLIT_FOLDERS.items()}
    return {}


def split_rows(count, split, where):
    """Return the rows of a split, ascending: the last 10 % (rounded, at least 1) of a fixed permutation are test.

    `all`: every row. Raises InputError when there are fewer than two images to split.
    """
    import numpy as np

    if split == "all" and count:
        return np.arange(count)
    if count < 2:
        raise InputError(f"{'no image' if count == 0 else 'one image'} found, expected at least two", where=where,
                         do="Use a data set with more images")
    test = max(1, round(count / 10))
    order = fixed_permutation(count)
    return np.sort(order[:-test] if split == "train" else order[-test:])
