"""Images with their labels, in two parts: those that are trained on, and those that are held out."""

import contextlib
import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import List

import numpy as np

from common.datasets import open_dataset
from common.datasets.prepared import PreparedImages
from common.datasets.sets.folders import FolderStore
from common.datasets.sets.imageset import CompressedImages
from common.errors import InputError
from common.images.decode import read_header
from common.images.squash import SquashOrCrop
from common.numerals import counted

NAMED = 3  # missing images that a note names
TALLEST = 256  # px, of pictures whose size nobody gave


@dataclass
class LabelledFiles:
    """Image files below a folder, by name.  targets: uint8 (N, A + R): of each attribute and reason, or class."""

    folder: Path
    names: List[str]
    targets: np.ndarray

    def __len__(self):
        return len(self.names)

    def paths(self):
        """Return the absolute paths."""
        folder = os.path.abspath(self.folder)
        return [os.path.normpath(os.path.join(folder, name)) for name in self.names]

    def chosen(self, rows):
        """Return the LabelledFiles of some rows."""
        return LabelledFiles(self.folder, [self.names[row] for row in rows], self.targets[rows])

    def size(self):
        """Return the (H, W) of the first image that can be read."""
        store = FolderStore(self.folder, self.names)
        for position in range(len(self)):
            with contextlib.suppress(InputError), store.open(position) as stream:
                return read_header(stream, store.title(position))[:2]
        raise InputError("no image can be read", where=store.title(0), do="Restore the images")

    def open(self, rule, memory_gb):
        """Return the PreparedImages at the size of a squash.SquashOrCrop."""
        images = CompressedImages(self.folder.resolve().name, "all", FolderStore(self.folder, self.names), size=rule,
                                  tolerant=True)
        return PreparedImages(images, rule, memory_gb)


@dataclass
class LabelledSet:
    """A split of a data set by name.  targets: see LabelledFiles."""

    name: str
    split: str
    data_dir: str
    targets: np.ndarray

    def __len__(self):
        return len(self.targets)

    def size(self):
        """Return the (H, W) of its images."""
        return open_dataset(self.name, self.split, self.data_dir).image_shape[:2]

    def open(self, rule, memory_gb):
        """Return the PreparedImages at the size of a squash.SquashOrCrop."""
        images = open_dataset(self.name, self.split, self.data_dir, rule)
        images.set_channels(3)
        return PreparedImages(images, rule, memory_gb)


@dataclass
class Source:
    """names: of attributes or classes.  kind: "attributes" or "classes".  train, val: LabelledFiles or LabelledSet.

    notes: lines for the user.  missing: labelled images that are not there.  inputs: paths that are read, None where
    they cannot be named.  reasons: their names.
    """

    names: tuple
    kind: str
    train: object
    val: object
    inputs: List[str]
    notes: List[str] = field(default_factory=list)
    missing: int = 0
    reasons: tuple = ()

    def identity(self):
        """Return what tells these labels from others."""
        digest = hashlib.sha256()
        for part in (self.train, self.val):
            digest.update(np.ascontiguousarray(part.targets))
        return {"names": list(self.names), "kind": self.kind, "labels": digest.hexdigest()}

    def check(self):
        """Raise InputError for a part without images, and for an attribute or class that has one value only."""
        for part, name in ((self.train, "to train on"), (self.val, "held out")):
            if not len(part):
                raise InputError(f"no image {name}", where=(self.inputs or ["--data"])[0],
                                 do="Check the names in the labels, and the folder of the images")
        if len(self.names) < 2 and self.kind == "classes":
            raise InputError(f"all images are of class '{self.names[0]}'", where=(self.inputs or ["--data"])[0],
                             do="Give images of at least two classes, each in a folder of its own")
        means = self.train.targets[:, : len(self.names)].mean(axis=0)
        for name, mean in zip(self.names, means):
            if mean in (0, 1):
                raise InputError(f"attribute '{name}' is {int(mean)} in all {len(self.train):,} images to train on",
                                 where=(self.inputs or ["--data"])[0],
                                 do="Leave it out (--attributes of a table), or give images of both kinds")


def present(folder, names, targets):
    """Return (LabelledFiles of those that are there, paths of the others)."""
    there = [(folder / name).is_file() for name in names]
    absent = [folder / name for name, found in zip(names, there) if not found]
    return LabelledFiles(folder, names, targets).chosen(np.flatnonzero(there)), absent


def note_missing(absent, labelled):
    """Return [] or the line that counts and names labelled images that are not there."""
    if not absent:
        return []
    names = ", ".join(map(str, absent[:NAMED])) + (", ..." if len(absent) > NAMED else "")
    return [f"note: {len(absent):,} of {labelled:,} labelled images are not there and are left out: {names}"]


def note_repeated(train, val):
    """Return the lines that count and name images that are held out and trained on, and that are there several times.

    train, val: LabelledFiles.
    """
    own, others = train.paths(), val.paths()
    known, notes = {*own}, []
    for found, noun, what in (
            ([path for path in others if path in known], "held-out image", "also among the images to train on"),
            ([path for paths in (own, others) for path, count in Counter(paths).items() if count > 1],
             "image", "more than once in the labels")):
        if found:
            names = ", ".join(found[:NAMED]) + (", ..." if len(found) > NAMED else "")
            notes.append(f"note: {counted(len(found), noun)} {what}: {names}")
    return notes


def held_out(count, share):
    """Return (rows to train on, rows held out), ascending, by a permutation that is the same for every seed: models
    of several seeds are measured on the same images, none of which any of them was trained on."""
    from common.seeding import unit_numpy

    order = unit_numpy(0, "held out").permutation(count)
    number = min(max(1, round(share * count)), count - 1) if count > 1 else 0
    return np.sort(order[number:]), np.sort(order[:number])


def find_rule(options, labelled):
    """Return the SquashOrCrop of --size and --fit; without --size that of the first image's own size, at most TALLEST
    high."""
    if options.size is None:
        height, width = labelled.size()
        sides = (height, width) if height <= TALLEST else (TALLEST, max(1, round(width * TALLEST / height)))
    else:
        words = options.size.lower().split("x")
        sides = [int(word) for word in words if word.isdecimal() and 0 < int(word) <= 1 << 14]
        if len(sides) != len(words) or len(sides) > 2:
            raise InputError("is not a height and width", where=f"--size {options.size}", do="Pass for example 256x512")
    return SquashOrCrop(sides[0], sides[-1], options.fit, "bicubic")
