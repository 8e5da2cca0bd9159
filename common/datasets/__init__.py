"""Image data sets by name or path, as uint8 arrays: `open_dataset(name, split)`. Nothing is ever downloaded.

- embedded: digits, photos32, photos64 (they come with scikit-learn);
- cifar10, cifar100, svhn: the original archives, or a folder prepared by tensorflow-datasets; imagenet32 (or imagenet);
  mnist, fmnist: the original idx files; these names in any case, and those of ALIASES;
- a path: a folder of images or of idx files, a .zip of images, a .npz (or .npy) array. Write ./digits for a folder in
  the current directory that has the name of a data set.
"""

from pathlib import Path

from common.errors import InputError, nearest

EMBEDDED = ("digits", "photos32", "photos64")
ARCHIVES = ("cifar10", "cifar100", "svhn")
IMAGENET = ("imagenet", "imagenet32")
MNIST = ("mnist", "fmnist")
ARRAYS = (".npz", ".npy")
KNOWN = (*EMBEDDED, *ARCHIVES, *IMAGENET, *MNIST)
ALIASES = {"svhn_cropped": "svhn", "cifar-10": "cifar10", "cifar-100": "cifar100", "fashion_mnist": "fmnist",
           "fashionmnist": "fmnist"}
SPLITS = {"train": "train", "test": "test", "validation": "test", "val": "test", "eval": "test"}


def canonical_name(name):
    """Return the one spelling of a known data set's name; a path stays as it is."""
    known = ALIASES.get(str(name).lower(), str(name).lower())
    return known if known in KNOWN else name


def canonical_split(split):
    """Return train or test; InputError for a split of another name."""
    if str(split).lower() not in SPLITS:
        raise InputError(f"no split '{split}'", where="split", do=nearest(split, SPLITS))
    return SPLITS[str(split).lower()]


def open_dataset(name, split, data_dir=None, size=None, absent=None):
    """Return the `imageset.ImageSet` of one split of a data set.

    name: a known name or a path (see the module).  split: train or test (also validation, val, eval), or of a file of
    arrays all of it.
    data_dir: the folder with cifar, svhn or imagenet, or a folder above it; default: TFDS_DATA_DIR,
    ~/tensorflow_datasets and ./data, for imagenet ./imagenet. The other data sets ignore it.
    size: resize all images to cover this height and width (one number or (H, W)), then center-crop; or a rule of its
    own such as squash.SquashOrCrop.
    absent: names of files that a folder or zip had once, which keep their places in it; with a list, an empty one too,
    images that cannot be read are found when they are read, not here.
    A path's split: its folders train/ and test/ (or val/, validation/) when both exist, else the last 10 % of a fixed
    permutation is test.
    Raises InputError for an unknown name or split, for missing data (naming the files, where they are published and
    where to put them) or broken data.
    """
    split, size = split if split == "all" and is_array_file(name) else canonical_split(split), _checked_size(size)
    known = canonical_name(name)
    if known in EMBEDDED:
        from common.datasets.sets.embedded import open_embedded

        return open_embedded(known, split, size)
    if known in ARCHIVES:
        return _open_archive(known, split, data_dir, size)
    if known in IMAGENET:
        from common.datasets.imagenet.image_set import imagenet_roots, open_imagenet32

        return open_imagenet32(split, imagenet_roots(data_dir), size)
    if known in MNIST and not Path(name).exists():
        from common.datasets.sets.locate import search_roots
        from common.datasets.sets.mnist import open_mnist

        return open_mnist(known, split, search_roots(data_dir, nested=(known,)), size)
    return _open_path(Path(name), split, size, absent)


def dataset_inputs(name):
    """Return the paths that a data set's images depend on: [] for an embedded one, None where there are many."""
    known = canonical_name(name)
    if known in EMBEDDED:
        return []
    return None if known in KNOWN else [name]


def is_array_file(name):
    """Return whether a data set's name is the path of a .npz or .npy file."""
    return Path(name).suffix.lower() in ARRAYS and Path(name).is_file()


def _checked_size(size):
    """Return (H, W), a rule of its own, or None."""
    if size is None or callable(size):
        return size
    pair = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
        raise InputError(f"{size} is not a size", where="size",
                         do="Pass one integer in pixels, or height and width")
    return pair


def _open_archive(name, split, data_dir, size):
    """Return cifar10, cifar100 or svhn from the first folder that has it, in each the original files before tfds."""
    from common.datasets.sets import cifar, svhn, tfds
    from common.datasets.sets.locate import missing_data, search_roots

    roots = search_roots(data_dir, nested=(name, name.upper()))
    for root in roots:
        if name != "svhn" and (files := cifar.find_cifar(name, [root])):
            return cifar.open_cifar(name, split, files, size)
        if name == "svhn" and (path := svhn.find_svhn(split, [root])):
            return svhn.open_svhn(split, path, size)
        if shards := tfds.find_tfds(name, split, [root]):
            return tfds.open_tfds(name, split, shards, size)
    files = [svhn.file_name(split)] if name == "svhn" else cifar.looked_for(name)
    published = svhn.PUBLISHED if name == "svhn" else cifar.PUBLISHED
    prepared = f"{tfds.NAMES[name]}/VERSION/{tfds.NAMES[name]}-{split}.tfrecord-* (or .array_record-*)"
    do = "put it in ./data, or pass its folder with --data_dir"
    raise missing_data(name, split, [*files, prepared], roots, published, do)


def _open_path(path, split, size, absent=None):
    from common.datasets.sets.mnist import idx_name, open_mnist

    if path.is_dir() and (name := idx_name(path)):
        return open_mnist(name, split, [path], size)
    if path.is_dir():
        from common.datasets.sets.folders import open_folder

        return open_folder(path, split, size, absent)
    if path.suffix.lower() == ".zip" and path.is_file():
        from common.datasets.sets.zip import open_zip_set

        return open_zip_set(path, split, size, absent)
    if path.is_file() and "-idx" in path.name and (name := idx_name(path.parent)):
        return open_mnist(name, split, [path.parent], size)
    if is_array_file(path):
        from common.datasets.sets.npz import open_npz

        return open_npz(path, split, size)
    if path.exists():
        raise InputError("neither a folder nor a .zip, .npz or .npy file", where=path,
                         do="Pass one of these, or a known name")
    raise InputError("no such data set or path", where=path, do=nearest(path, KNOWN))
