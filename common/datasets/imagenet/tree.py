"""ImageNet as single files: a tree of class folders, on the disk or in a zip.

ROOT/{train,val}/n01440764/NAME.JPEG; image files (common/images/suffixes.py) at any depth. An image's class is the name
of its own folder: a synset, or (without ImageNet's class map) any name, the sorted names being 0, 1, 2, ... A
dataset.json beside the folders, {"labels": [[NAME, class], ...]} as EDM's and StyleGAN's dataset tools write it, takes
precedence over the names.
"""

import hashlib
import json
import os
from collections import Counter
from pathlib import Path

from common.errors import InputError
from common.files import system_errors
from common.formats.zips import open_zip, zip_errors
from common.images.network_size import decode_image, prepare_image
from common.images.suffixes import images_among

LABELS = "dataset.json"


class FolderFiles:
    """Files below a folder."""

    def __init__(self, root):
        self.root = Path(root)

    def names(self, split):
        """Return sorted names `split/...` of the images below a sub-folder (None: of all); InputError if missing."""
        from common.datasets.sets.folders import list_images

        place = self.root / (split or "")
        if not place.is_dir():
            raise InputError(f"ImageNet split directory not found: {place}",
                             do=f"Expected {self.root}/{split}/n01440764/*.JPEG and so on")
        return sorted(f"{split}/{name}" if split else name for name in list_images(place))

    def read(self, name):
        """Return a file's bytes."""
        path = self.root / name
        with system_errors(path):
            return path.read_bytes()

    def optional(self, name):
        """Return a file's bytes, None when there is no such file."""
        return self.read(name) if (self.root / name).is_file() else None

    def size(self, name):
        """Return a file's size in bytes."""
        return os.path.getsize(self.root / name)

    def marks(self, names):
        """Return what identifies the contents of each file."""
        from common.datasets.sets.folders import file_marks

        return file_marks([self.root / name for name in names])


class ZipFiles:
    """Files in a zip; a top folder around everything is ignored."""

    def __init__(self, path):
        import threading

        self.root, self._lock = Path(path), threading.Lock()
        self._archive, self._entries = open_zip(path), {}

    def names(self, split):
        """Return sorted names `split/...` of the images in the folder `split` (None: of all, with full names)."""
        from common.datasets.sets.zip import visible_names

        files = [name for name in visible_names(self._archive) if split is None or split in name.split("/")[:-1]]
        for name in images_among(files, self.root):
            parts = name.split("/")
            inner = name if split is None else "/".join(parts[parts.index(split) :])
            self._entries[inner] = self._archive.getinfo(name)
        if not self._entries and split is not None:
            raise InputError(f"ImageNet split directory not found: no images below {split}/", where=self.root,
                             do=f"Expected {split}/n01440764/*.JPEG and so on in it")
        return sorted(self._entries)

    def read(self, name):
        """Return an entry's bytes, its check sum compared."""
        with zip_errors(f"{self.root}: {name}", "cannot be unpacked"), self._lock:
            return self._archive.read(self._entries[name])

    def optional(self, name):
        """Return an entry's bytes, None when there is no such entry."""
        if name not in self._archive.namelist():
            return None
        self._entries[name] = self._archive.getinfo(name)
        return self.read(name)

    def size(self, name):
        """Return an entry's size in bytes, unpacked."""
        return self._entries[name].file_size

    def marks(self, names):
        """Return the check sum of each entry."""
        return [f"{self._entries[name].CRC:08x}" for name in names]


class ImageTree:
    """The images of a split in sorted order of their names; an image's number is its place in that order.

    split: a sub-folder, or None for a tree without splits (ROOT/n01440764/NAME.JPEG).
    names: [`val/n01440764/a.JPEG`, ...].  classes: (N,) int64, -1 where the folder is not a known synset.
    """

    def __init__(self, root, split, synsets=True):
        """synsets: folders are ImageNet's; else any names, numbered in sorted order."""
        import numpy as np

        from common.datasets.imagenet.classes import synset_numbers

        self.files = ZipFiles(root) if Path(root).is_file() else FolderFiles(root)
        self.names = self.files.names(split)
        if not self.names:
            inner = f"{split}/n01440764/*.JPEG" if split else "class folders with images"
            raise InputError(f"No images found in {Path(root) / (split or '')}", do=f"Expected {inner} and so on")
        self.labels = labels = None if synsets else self._read_labels()
        if labels is not None:
            self.classes, self.unknown = np.array([labels.get(name, -1) for name in self.names], np.int64), Counter()
            self.folder_classes = {f"class_{number}": number for number in sorted(set(labels.values()))}
            return
        folders = [f"/{name}".split("/")[-2] for name in self.names]
        numbers = synset_numbers() if synsets else {name: number for number, name in enumerate(sorted(set(folders)))}
        self.folder_classes = numbers
        self.classes = np.array([numbers.get(folder, -1) for folder in folders], np.int64)
        self.unknown = Counter(folder for folder in folders if folder not in numbers)
        if synsets and (self.classes < 0).all():
            raise InputError(f"no class folder is a synset (the first is '{folders[0]}')",
                             where=Path(root) / (split or ""),
                             do="Sort the images into folders such as n01440764, or use --class_map none")

    def _read_labels(self):
        """Return {name: class} of dataset.json, None where there is none or it has no labels."""
        data = self.files.optional(LABELS)
        if data is None:
            return None
        where, do = f"{self.files.root}: {LABELS}", 'Expected {"labels": [["00000/img00000000.png", 0], ...]}'
        try:
            labels = {str(name): number for name, number in json.loads(data)["labels"] or []}
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"not a list of labels ({error})", where=where, do=do) from error
        if not all(type(number) is int and number >= 0 for number in labels.values()):
            raise InputError("a label is not a non-negative integer", where=where, do=do)
        return labels or None

    def __len__(self):
        return len(self.names)

    def identity(self):
        """Return {"images", "listing_sha256"}: their number, and a hash over names, sizes and marks of the contents."""
        digest = hashlib.sha256()
        for name, mark in zip(self.names, self.files.marks(self.names)):
            digest.update(f"{name}\t{self.files.size(name)}\t{mark}\n".encode(errors="surrogateescape"))
        if self.labels:
            digest.update(self.classes.tobytes())
        return {"images": len(self), "listing_sha256": digest.hexdigest()}

    def load(self, number):
        """Return the decoded image (Pillow, RGB); InputError naming the file when it is damaged."""
        name = self.names[number]
        return decode_image(self.files.read(name), name)

    def prepared(self, number, side, how):
        """Return (uint8 (3, side, side), Pillow image) of one image, see prepare_image."""
        image = self.load(number)
        return prepare_image(image, side, how), image
