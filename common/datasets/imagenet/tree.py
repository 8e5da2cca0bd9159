"""ImageNet as single files: a tree of class folders, on the disk or in a zip.

ROOT/{train,val}/n01440764/NAME.JPEG; image files (common/images/suffixes.py) at any depth. An image's class is the name
of its own folder: a synset, or (without ImageNet's class map) any name: whole numbers are the classes themselves, other
names are numbered 0, 1, 2, ... in sorted order. A dataset.json beside the folders, {"labels": [[NAME, class], ...]} as
EDM's and StyleGAN's dataset tools write it, takes precedence over names that are not synsets.
"""

import hashlib
import itertools
import json
import os
from pathlib import Path

from common.errors import InputError
from common.files import read_regular, system_errors, unique_pairs
from common.formats.zips import open_zip, zip_errors
from common.images.network_size import decode_image, prepare_image
from common.images.suffixes import images_among
from common.numerals import counted

LABELS = "dataset.json"
LOOKED_AT = 1000  # entries in the search for a split
LARGEST = 1_000_000  # class that a folder may name: larger numbers are dates and the like


class FolderFiles:
    """Files below a folder. top: of a zip, the folder around everything."""

    top = ""

    def __init__(self, root):
        self.root = Path(root)

    def names(self, split):
        """Return sorted names `split/...` of the images below a sub-folder (None: of all); InputError if missing."""
        from common.datasets.sets.folders import list_images

        place = self.root / (split or "")
        if not place.is_dir():
            raise InputError(f"ImageNet split directory not found: {place}", do=self._advice(split))
        return sorted(f"{split}/{name}" if split else name for name in list_images(place))

    def _advice(self, split):
        """Return where a missing split lies deeper, or what is there instead."""
        if not self.root.is_dir():
            return "Check the path"
        places = (place for depth in ("*/", "*/*/", "*/*/*/") for place in self.root.glob(f"{depth}{split}"))
        deeper = next((place for place in itertools.islice(places, LOOKED_AT) if place.is_dir()), None)
        if deeper is not None:
            return f"Pass {deeper.parent}, which has it"
        inner = sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir())[:5]
        held = f"; it holds {', '.join(inner)}" if inner else ""
        return f"Expected {self.root}/{split}/n01440764/*.JPEG and so on{held}. --split all reads all folders"

    def read(self, name):
        """Return a file's bytes."""
        path = self.root / name
        with system_errors(path):
            return read_regular(path)

    def has(self, split):
        """Return whether there is a sub-folder of this name."""
        return (self.root / split).is_dir()

    def optional(self, name):
        """Return a file's bytes, None when there is no such file."""
        return self.read(name) if (self.root / name).is_file() else None

    def size(self, name):
        """Return a file's size in bytes, None for one that cannot be reached, such as a link to nothing."""
        try:
            return os.path.getsize(self.root / name)
        except OSError:
            return None

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
        tops = {name.partition("/")[0] for name in self._archive.namelist() if "/" in name}
        self.top = f"{tops.pop()}/" if len(tops) == 1 else ""

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

    def has(self, split):
        """Return whether there is a folder of this name."""
        return any(split in name.split("/")[:-1] for name in self._archive.namelist())

    def optional(self, name):
        """Return an entry's bytes, None when there is no such entry."""
        if name not in self._archive.namelist():
            return None
        with zip_errors(f"{self.root}: {name}", "cannot be unpacked"), self._lock:
            return self._archive.read(name)

    def size(self, name):
        """Return an entry's size in bytes, unpacked."""
        return self._entries[name].file_size

    def marks(self, names):
        """Return the check sum of each entry."""
        return [f"{self._entries[name].CRC:08x}" for name in names]


class ImageTree:
    """The images of a split in sorted order of their names; an image's number is its place in that order.

    split: a sub-folder, or None for a tree without splits (ROOT/n01440764/NAME.JPEG).
    names: [`val/n01440764/a.JPEG`, ...].  classes: (N,) int64, -1 for images without a class.
    class_names: {class: name} in ascending order, None where the classes are ImageNet's.  notes: lines for the console.
    """

    def __init__(self, root, split, classes="imagenet"):
        """classes: imagenet, any (of folders or labels), or None: all images are of class 0."""
        import numpy as np

        self.files, self.notes, self.labelled = open_files(root), [], False
        labels_there = any(self.files.optional(top + LABELS) is not None for top in {"", self.files.top})
        if split is not None and not self.files.has(split) and labels_there:
            self.notes.append(f"note: {root} has a {LABELS} and no {split}/: all of it is read")
            split = None
        self.split, self.names = split, self.files.names(split)
        if not self.names:
            inner = f"{split}/n01440764/*.JPEG" if split else "class folders with images"
            raise InputError(f"No images found in {Path(root) / (split or '')}", do=f"Expected {inner} and so on")
        self.class_names, numbers = {0: "images"}, [0] * len(self.names)
        if classes is not None:
            numbers = self._number(classes == "imagenet")
        self.classes = np.array(numbers, np.int64)

    def _number(self, imagenet):
        """Return the class of each image and set class_names."""
        from common.datasets.imagenet.classes import synset_numbers

        folders, known = [self._folder(name) for name in self.names], synset_numbers()
        if imagenet and not known.keys().isdisjoint(folders):
            self.class_names = None
            return self._looked_up(folders, known, "in folders that are not synsets", folders)
        labels = self._read_labels()
        if labels is not None:
            return self._by_label(labels, imagenet)
        place = Path(self.files.root) / (self.split or "")
        if imagenet:
            what = f"no class folder is a synset (the first is '{folders[0]}')" if any(folders) else \
                "the images lie in no class folders"
            raise InputError(what, where=place, do="Sort the images into folders such as n01440764, or use "
                                                   "--class_map none")
        named = set(folders) - {""} if are_numbers(set(folders) - {""}) else set(folders)
        numbers = number_folders(named, place)
        self.class_names = {number: name for name, number in sorted(numbers.items(), key=lambda item: item[1])}
        return self._looked_up(folders, numbers, "in no class folder", self.names)

    def _folder(self, name):
        """Return the name of an image's own folder below the split, "" for none."""
        parts = name.split("/")[:-1]
        return parts[-1] if len(parts) > (self.split is not None) else ""

    def _looked_up(self, keys, numbers, what, names):
        """Return numbers[key] for each key, -1 for the others, which a warning counts, listing some of their names."""
        unknown = [name for key, name in zip(keys, names) if key not in numbers]
        if unknown:
            some = ", ".join(sorted(set(unknown))[:5])
            self.notes.append(f"warning: skipped {counted(len(unknown), 'image')} {what} ({some})")
        return [numbers.get(key, -1) for key in keys]

    def _by_label(self, labels, imagenet):
        """Return the class of each image in dataset.json and set class_names."""
        from common.datasets.imagenet.classes import COUNT

        where = f"{self.files.root}: {LABELS}"
        most = max(labels.values())
        if imagenet and most >= COUNT:
            raise InputError(f"label {most} is outside 0 .. {COUNT - 1}, ImageNet's classes", where=where,
                             do="Use --class_map none")
        self.labelled, missing = True, labels.keys() - set(self.names)
        if missing:
            self.notes.append(f"warning: missing {counted(len(missing), 'image')} of {LABELS} ({min(missing)})")
        self.class_names = None if imagenet else {n: f"class_{n}" for n in sorted(set(labels.values()))}
        return self._looked_up(self.names, labels, f"without a label in {LABELS}", self.names)

    def _read_labels(self):
        """Return {name: class} of the dataset.json beside the folders, None where there is none or it has no labels."""
        tops = {"": None, (self.files.top if self.split is not None else ""): None}  # names in a split begin with it
        places = ((inner, self.files.optional(top + inner + LABELS)) for inner in self._folders_above() for top in tops)
        inner, data = next(((inner, data) for inner, data in places if data is not None), ("", None))
        if data is None:
            return None
        where, do = f"{self.files.root}: {inner}{LABELS}", 'Expected {"labels": [["00000/img00000000.png", 0], ...]}'
        try:
            entries = json.loads(data, object_pairs_hook=unique_pairs)["labels"] or []
            entries = entries.items() if isinstance(entries, dict) else entries  # the originals' reader takes either
            entries = [(inner + str(name), int(number) if isinstance(number, float) and number.is_integer() else number)
                       for name, number in entries]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"not a list of labels ({error})", where=where, do=do) from error
        labels = dict(entries)
        if not all(type(number) is int and 0 <= number <= LARGEST for number in labels.values()):
            raise InputError(f"a label is not an integer from 0 to {LARGEST:,}", where=where, do=do)
        twice = next((name for name, number in entries if labels[name] != number), None)
        if twice is not None:
            raise InputError(f"{twice} has two labels", where=where, do="Remove one of them")
        return labels or None

    def _folders_above(self):
        """Yield the folders that hold all images, from the outermost: "", "edm/", "edm/00000/"."""
        common = os.path.commonpath([os.path.dirname(name) for name in self.names])
        for place in range(common.count("/") + 2 if common else 1):
            yield "".join(f"{part}/" for part in common.split("/")[:place])

    def __len__(self):
        return len(self.names)

    def identity(self):
        """Return {"images", "listing_sha256"}: their number, and a hash over names, sizes and marks of the contents."""
        digest = hashlib.sha256()
        for name, mark in zip(self.names, self.files.marks(self.names)):
            digest.update(f"{name}\t{self.files.size(name)}\t{mark}\n".encode(errors="surrogateescape"))
        in_order = {name: number for number, name in enumerate(sorted((self.class_names or {}).values()))}
        if self.labelled or {name: number for number, name in (self.class_names or {}).items()} != in_order:
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


def open_files(root):
    """Return the files of a folder or zip."""
    return ZipFiles(root) if Path(root).is_file() else FolderFiles(root)


def are_numbers(names):
    """Return whether there are names and all of them are whole numbers."""
    return bool(names) and all(name.isascii() and name.isdigit() for name in names)


def number_folders(names, where):
    """Return {folder: class} of class folders: the numbers that they are, if all are whole numbers, else 0, 1, 2, ...
    in the order of their names.

    Raises InputError for two folders of one number, such as 1 and 01, and for a number that no class has.
    """
    if not are_numbers(names):
        return {name: number for number, name in enumerate(sorted(names))}
    folders = {}
    for name in sorted(names):
        if len(name.lstrip("0")) > len(str(LARGEST)) or int(name) > LARGEST:
            raise InputError(f"the class folder {name} is a number over {LARGEST:,}", where=where,
                             do="Rename the folders: whole numbers are taken for the numbers of the classes")
        other = folders.setdefault(int(name), name)
        if other != name:
            raise InputError(f"the class folders {other} and {name} are the same number", where=where, do="Rename one")
    return {name: number for number, name in folders.items()}
