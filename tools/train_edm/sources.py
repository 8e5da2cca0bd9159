"""The training images that the flags name, behind the interface of `common.datasets.imagenet.sources`."""

import re
import zipfile
from dataclasses import replace
from pathlib import Path

from common.datasets.imagenet.sources import ImageBatch, Settings, acting, open_source
from common.effects import check_effects
from common.errors import InputError
from common.formats.zips import open_zip

FLAGS = ("npz_dir", "imagenet_dir", "lmdb_path")


def open_images(options):
    """Return (options with the kind of source and the split settled, the source that the flags name); InputError for
    none, more than one, or no images.

    Classes are numbered as extract_real_imagenet numbers them under the same --class_map: both read through one module.
    """
    sources = [flag for flag in ("data", *FLAGS) if getattr(options, flag) is not None]
    if not sources:
        raise InputError("no images given", where="--data",
                         do="Pass a folder, a zip, an .npz, or a name such as digits")
    if len(sources) > 1:
        raise InputError(f"Cannot use both --{sources[0]} and --{sources[1]}", do="Choose one")
    if sources == ["data"]:
        kind = _kind(Path(options.data))
        if kind is None:
            source = SetSource(options)
            on = "folders of npz batches or images"
            acts = dict.fromkeys(acting(), (False, on)) | {"class_map": (options.class_map == "none", on)}
            check_effects(options, acts, "which are not read here")
            return options, source
        options = replace(options, **{kind: options.data}, data=None)
    if options.imagenet_dir is not None and options.split is None:
        options = replace(options, split="train" if _has_train(Path(options.imagenet_dir)) else "all")
    check_effects(options, acting(options.npz_dir, options.imagenet_dir), "which are not read here")
    names = ("npz_subset", "npz_partial", "class_map", "num_workers", "resize", "preprocess")
    settings = Settings(**{name: getattr(options, name) for name in names},
                        split=None if options.split == "all" else options.split)
    if options.imagenet_dir is not None and not options.conditional:
        settings = replace(settings, class_map="none", labelled=False)  # the folders may have any names, or be missing
    _check_apart(options)
    return options, open_source(settings, **{flag: getattr(options, flag) for flag in FLAGS})


def _check_apart(options):
    """Raise InputError where samples would be read as images of the tree by the next run."""
    from common.datasets.sets.folders import check_apart

    if options.imagenet_dir is not None and Path(options.imagenet_dir).is_dir():
        split = options.split if options.split != "all" and _has_train(Path(options.imagenet_dir)) else ""
        check_apart(options.imagenet_dir, options.output_dir, lambda name: name.startswith(split))


def source_inputs(options):
    """Return the paths of the images, None for a data set whose files are searched for."""
    from common.datasets import dataset_inputs

    places = [getattr(options, flag) for flag in FLAGS if getattr(options, flag) is not None]
    maps = [options.class_map] if options.class_map.endswith(".json") else []
    named = dataset_inputs(options.data) if options.data is not None else []
    return None if named is None else [*named, *places, *maps]


def _kind(path):
    """Return the flag that says what a path is, None for data sets by name and single files of images."""
    if path.is_file():
        return "imagenet_dir" if zipfile.is_zipfile(path) and path.suffix.lower() == ".zip" else None
    if not path.is_dir():
        return None
    if (path / "data.mdb").exists():
        return "lmdb_path"
    batches = any(re.fullmatch(r".*\.[nN][pP][zZ]|train_data_batch_\d+|val_data", entry.name)
                  for entry in path.iterdir())
    return "npz_dir" if batches else "imagenet_dir"


def _has_train(path):
    """True when a tree or zip of files has a folder called train."""
    if path.is_dir():
        return (path / "train").is_dir()
    if not zipfile.is_zipfile(path):
        return False  # the reader reports what is wrong with it
    with open_zip(path) as archive:
        return any("train" in name.split("/")[:-1] for name in archive.namelist())


class SetSource:
    """A data set of `common.datasets` by name, or a .npz of images; grey images become RGB."""

    def __init__(self, options):
        import numpy as np

        from common.datasets import is_array_file, open_dataset

        split = {None: "train", "val": "test"}.get(options.split, options.split)
        if split == "all" and not is_array_file(options.data):
            raise InputError("a named data set is read one split at a time", where="--split all", do="Use train or val")
        self.held_out_of = options.data if is_array_file(options.data) else None
        self.images = open_dataset(options.data, split, options.data_dir, options.resolution)
        self.labelled = self.images.labels is not None
        if options.conditional and not self.labelled:
            raise InputError("these images have no classes", where=f"--data {options.data}", do="Add --noconditional")
        self.classes = self.images.labels if self.labelled else np.zeros(len(self.images), np.int64)
        if self.classes.min(initial=0) < 0:
            raise InputError(f"label {self.classes.min()} is negative", where=f"--data {options.data}",
                             do="Number the classes from 0")
        self.class_index = {str(number): [str(number), str(number)]
                            for number in range(int(self.classes.max(initial=0)) + 1)}

    def check(self, side):
        """Do nothing: images are resized on reading."""

    def prepare(self, indices):
        """Do nothing: nothing has to be unpacked."""

    def notes(self):
        """Return notes for the user: of a file of one's own, that some of its images are held out."""
        taken, stored = len(self.images), self.images.stored
        if self.held_out_of is None or taken == stored:
            return []
        return [f"note: {taken:,} of the {stored:,} images of {self.held_out_of} are taken, as its {self.images.split} "
                "split; --split all takes all"]

    def title(self, number):
        """Return an image's name in messages."""
        return f"{self.images.name} {number}"

    def identity(self):
        """Return the fingerprint of the images, for the record."""
        return self.images.fingerprint()

    def map_identity(self):
        """Return {}: these images have labels of their own."""
        return {}

    def load(self, indices, side):
        """Return the ImageBatch of the given image numbers."""
        import numpy as np

        pixels = self.images.read(np.asarray(indices)).transpose(0, 3, 1, 2)
        return ImageBatch(list(range(len(pixels))), np.broadcast_to(pixels, (len(pixels), 3, side, side)))
