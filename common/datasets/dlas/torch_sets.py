"""Mode `torch_dataset`: the public data sets that torchvision names, read from where they lie (TorchDataset).

torchvision itself is not needed, and nothing is downloaded: `kwargs` are the ones of its classes (root, train, split),
and their files are read by the project's own readers, which run no pickled code.
"""

import os
from pathlib import Path

import torch

from common.datasets.dlas.items import IMAGENET_MEAN, IMAGENET_STD, ItemDataset
from common.datasets.dlas.option_values import SEEDS, OptionValues
from common.datasets.sets.folders import list_images
from common.datasets.sets.locate import missing_data
from common.errors import InputError, nearest
from common.images.pil_transforms import center_crop, image_tensor, open_image, random_resized_crop, resize_short_side

CROP_SCALE, CROP_RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
NO_LABEL = -1


class TorchDataset(ItemDataset):
    """Items of `options` (dataset, image_size, kwargs; random_crop False, fixed_len all, offset 0): dictionaries with

    hq and lq, the same (3, S, S) float32 tensor, normalised by ImageNet's mean and deviation; labels (int), from 0;
    coarse_labels (int), -1 where the set has none (compat: None); GT_path and LQ_path (str).
    dataset: mnist, fmnist, cifar10, cifar100, imagenet or imagefolder. Item i is image i + offset; there are
    fixed_len - offset items.
    Raises InputError for a missing or wrong option, missing data (where they are published), an unreadable image.
    """

    REQUIRED = ("dataset", "image_size", "kwargs")

    def __init__(self, options):
        super().__init__(options, "torch_dataset")
        values = self.options
        name = values.one_of("dataset", SOURCES)
        self.image_size = values.integer("image_size")
        self.random_crop = values.flag("random_crop")
        given = values.get("kwargs", {})
        kwargs = OptionValues(given, f"{values.where}: kwargs")
        for key in kwargs.block:
            if key not in KWARGS[name]:
                raise InputError(f"no keyword '{key}' for {name}", where=kwargs.where, do=nearest(key, KWARGS[name]))
        self.source = SOURCES[name](name, kwargs)
        count = values.integer("fixed_len", len(self.source), low=0, high=SEEDS)
        self.offset = values.integer("offset", 0, low=0, high=SEEDS)
        if count > len(self.source):
            raise values.wrong("fixed_len", count, f"at most {len(self.source)}, the images of {name}")
        if self.offset >= count:
            raise values.wrong("offset", self.offset, f"less than the {count} images")
        self._count = count - self.offset

    def __len__(self):
        return self._count

    def item(self, index):
        """See ItemDataset."""
        from PIL import Image

        draws = self.draws(index)
        image, label, coarse, path = self.source.get(index + self.offset)
        if self.random_crop:
            image = random_resized_crop(image, self.image_size, draws, CROP_SCALE, CROP_RATIO)
        else:
            image = center_crop(resize_short_side(image, self.image_size), self.image_size)
        if draws.span(0.0, 1.0) < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        mean, deviation = (torch.tensor(numbers)[:, None, None] for numbers in (IMAGENET_MEAN, IMAGENET_STD))
        tensor = (image_tensor(image) - mean) / deviation
        coarse = coarse if coarse is not None or self.compat else NO_LABEL
        return {"lq": tensor, "hq": tensor, "labels": label, "coarse_labels": coarse, "LQ_path": path, "GT_path": path}


class TorchArrays:
    """Images in memory: (N, H, W) or (N, H, W, 3) uint8, read by `read(i)`, with labels and maybe coarse ones."""

    def __init__(self, name, read, labels, coarse=None):
        self.name, self._read, self._labels, self._coarse = name, read, labels, coarse

    def __len__(self):
        return len(self._labels)

    def get(self, index):
        """Return (RGB Pillow image, label, coarse label or None, a name)."""
        from PIL import Image

        coarse = None if self._coarse is None else int(self._coarse[index])
        image = Image.fromarray(self._read(index)).convert("RGB")
        return image, int(self._labels[index]), coarse, f"{self.name}:{index}"


class ClassFolders:
    """Image files in one folder per class, at any depth; classes are numbered from 0 in the order of their names.

    Hidden folders, and those without an image, are not classes: they would shift the labels of all that follow.
    """

    def __init__(self, root, title):
        if not os.path.isdir(root):
            raise InputError("no such folder", where=root, do=f"{title} needs one folder per class in it")
        names = sorted((name for name in list_images(root) if "/" in name), key=os.path.split)
        self.classes = sorted({name.partition("/")[0] for name in names})
        labels = {name: label for label, name in enumerate(self.classes)}
        self._files = sorted(((os.path.join(root, name), labels[name.partition("/")[0]]) for name in names),
                             key=lambda file: file[1])
        if not self._files:
            raise InputError("no image in class folders", where=root, do=f"{title} needs {root}/CLASS/IMAGE")

    def __len__(self):
        return len(self._files)

    def get(self, index):
        """Return (RGB Pillow image, label, None, path)."""
        path, label = self._files[index]
        return open_image(path, "RGB", path), label, None, path


def open_mnist_set(name, kwargs):
    """Return mnist or fmnist; kwargs: root, train (True)."""
    from common.datasets.sets.mnist import read_mnist

    images, labels = read_mnist(name, _split(kwargs), _root(kwargs))
    return TorchArrays(name, images.__getitem__, labels)


def open_cifar_set(name, kwargs):
    """Return cifar10 or cifar100, the latter with coarse labels; kwargs: root, train (True)."""
    from common.datasets.sets import cifar

    split, root = _split(kwargs), Path(_root(kwargs))
    found = cifar.find_cifar(name, [root])
    if found is None:
        raise missing_data(name, split, cifar.looked_for(name), [root], cifar.PUBLISHED, f"put it in {root}")
    images = cifar.open_cifar(name, split, found)
    coarse = cifar.read_coarse_labels(split, found) if name == "cifar100" else None
    return TorchArrays(name, lambda index: images.read([index])[0], images.labels, coarse)


def open_imagenet_set(name, kwargs):
    """Return imagenet from root/train or root/val, one folder per class; kwargs: root, split (train)."""
    split = kwargs.one_of("split", ("train", "val"), "train")
    root = os.path.join(_root(kwargs), split)
    if not os.path.isdir(root):
        raise missing_data(name, split, [f"{split}/WORDNET_ID/*.JPEG"], [Path(_root(kwargs))], "https://image-net.org",
                           f"unpack it so that {root} holds one folder per class")
    return ClassFolders(root, name)


def open_class_folders(name, kwargs):
    """Return the images of root/CLASS/; kwargs: root."""
    return ClassFolders(_root(kwargs), name)


def _root(kwargs):
    root = kwargs.get("root")
    if root is None:
        raise kwargs.missing("root")
    if not isinstance(root, (str, os.PathLike)):
        raise kwargs.wrong("root", root, "the path of a folder")
    return os.fspath(root)


def _split(kwargs):
    return "train" if kwargs.flag("train", True) else "test"


SOURCES = {
    "mnist": open_mnist_set, "fmnist": open_mnist_set, "cifar10": open_cifar_set, "cifar100": open_cifar_set,
    "imagenet": open_imagenet_set, "imagefolder": open_class_folders,
}
# `download` is taken, as configurations carry it, and means nothing here.
_BY_TRAIN, _BY_SPLIT = ("root", "train", "download"), ("root", "split", "download")
KWARGS = {
    "mnist": _BY_TRAIN, "fmnist": _BY_TRAIN, "cifar10": _BY_TRAIN, "cifar100": _BY_TRAIN,
    "imagenet": _BY_SPLIT, "imagefolder": ("root",),
}
