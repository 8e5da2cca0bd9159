"""Images with their labels, in two parts: those that are trained on, and those that are held out."""

import hashlib
from dataclasses import dataclass, field
from typing import List

import numpy as np

from common.datasets.sets.folders import file_marks
from common.errors import InputError
from common.files import system_errors
from common.images.decode import decode
from common.images.photos import exif_orientation

NAMED = 3  # missing images that a note names


class Files:
    """Image files by position.

    turned: positions of those read so far whose Exif block says that they lie on their side; they are read as stored.
    """

    def __init__(self, paths):
        self.paths, self.turned = list(paths), set()

    def __len__(self):
        return len(self.paths)

    def title(self, position):
        """Return an image's name in messages."""
        return self.paths[position]

    def read(self, position):
        """Return uint8 (H, W, 3); InputError naming an image that cannot be read."""
        path = self.paths[position]
        with system_errors(path):
            data = path.read_bytes()
        if exif_orientation(data) != 1:
            self.turned.add(position)
        return decode(data, path)

    def identity(self):
        """Return the SHA-256 over the marks of the files' contents."""
        return hashlib.sha256("\n".join(map(str, file_marks(self.paths))).encode()).hexdigest()


class SetImages:
    """Images of a data set by position."""

    def __init__(self, images):
        self.images, self.turned = images, set()

    def __len__(self):
        return len(self.images)

    def title(self, position):
        """Return an image's name in messages."""
        return f"image {position} of {self.images.name}"

    def read(self, position):
        """Return uint8 (H, W, 3)."""
        return self.images.read([position])[0].repeat(3 // self.images.image_shape[2], axis=2)

    def identity(self):
        """Return what identifies the data set's images."""
        return self.images.fingerprint()


@dataclass
class Labelled:
    """images: Files or SetImages.  targets: uint8 (N, A + R): of each attribute and reason, or class, 0 or 1."""

    images: object
    targets: np.ndarray

    def __len__(self):
        return len(self.images)

    def chosen(self, rows):
        """Return the Labelled of some rows; for Files alone."""
        return Labelled(Files([self.images.paths[row] for row in rows]), self.targets[rows])


@dataclass
class Source:
    """names: of attributes or classes.  kind: "attributes" or "classes".  train, val: Labelled.

    notes: lines for the user.  missing: labelled images that are not there.  inputs: paths that are read, None where
    they cannot be named.  reasons: their names.
    """

    names: tuple
    kind: str
    train: Labelled
    val: Labelled
    inputs: List[str]
    notes: List[str] = field(default_factory=list)
    missing: int = 0
    reasons: tuple = ()

    def identity(self):
        """Return what tells these images and labels from others."""
        digest = hashlib.sha256()
        for part in (self.train, self.val):
            digest.update(np.ascontiguousarray(part.targets))
        return {"names": list(self.names), "kind": self.kind, "labels": digest.hexdigest(),
                "train": self.train.images.identity(), "val": self.val.images.identity()}

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


def present(paths, targets):
    """Return (Labelled of the files that are there, paths of the others)."""
    rows = [row for row, path in enumerate(paths) if path.is_file()]
    there = set(rows)
    absent = [path for row, path in enumerate(paths) if row not in there]
    return Labelled(Files([paths[row] for row in rows]), targets[rows]), absent


def note_missing(absent, labelled):
    """Return [] or the line that counts and names labelled images that are not there."""
    if not absent:
        return []
    names = ", ".join(map(str, absent[:NAMED])) + (", ..." if len(absent) > NAMED else "")
    return [f"note: {len(absent):,} of {labelled:,} labelled images are not there and are left out: {names}"]


def held_out(count, share):
    """Return (rows to train on, rows held out), ascending, by a permutation that is the same for every seed: models
    of several seeds are measured on the same images, none of which any of them was trained on."""
    from common.seeding import unit_numpy

    order = unit_numpy(0, "held out").permutation(count)
    number = min(max(1, round(share * count)), count - 1) if count > 1 else 0
    return np.sort(order[number:]), np.sort(order[:number])
