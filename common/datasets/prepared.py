"""Images of a data set at a network's size, for training: any size, mode and kind of file; what cannot be read is
counted and another image takes its place.

What BlobGAN, its encoder and the decision model read: folders (train/, val/ or validate/, test/, or flat), zips, .npz
and .npy arrays, data sets by name. Exif orientation is not applied, as in every reader of data sets here (T13, T14).
"""

from pathlib import Path

import numpy as np

from common import console
from common.datasets.sets.folders import check_apart
from common.errors import InputError
from common.seeding import unit_numpy
from common.training.batches import Epochs
from common.training.pixels import ImageCache

ATTEMPTS = 100  # redraws for a row whose image cannot be read
CHECKED = 1000  # sets up to here are read before the first step, so that all that is damaged is known
AT_ONCE = 50  # images read between two lines of progress
SHOWN = 5  # damaged images that are named


def open_prepared(place, split, transform, data_dir=None, memory_gb=4.0, hold_out=False, limit=None):
    """Return the PreparedImages of a split (train, val or test) of a data set by name or path.

    transform: a squash.SquashOrCrop.  data_dir: as in open_dataset.  memory_gb: see PreparedImages.
    hold_out: leave a tenth out of a set without splits, for val and test; without it all its images are for training.
    limit: take so many of the first images alone.
    Raises InputError where there is no such set, or no image in the split.
    """
    images = _open_set(place, split, transform, data_dir, hold_out)
    images.set_channels(3)
    return PreparedImages(images, transform, memory_gb, limit)


def _open_set(place, split, transform, data_dir, hold_out):
    """Return the ImageSet of a split."""
    from common.datasets import KNOWN, canonical_name, open_dataset
    from common.datasets.sets.imageset import CompressedImages
    from common.datasets.sets.mnist import idx_name
    from common.datasets.sets.splits import is_in_a_split, split_names_in_three
    from common.images.suffixes import DATA_SETS

    path = Path(place)
    is_named = canonical_name(place) in KNOWN
    if path.is_file() and path.suffix.lower() == ".zip" and not is_named:
        from common.datasets.sets.zip import ZipStore, zip_names

        names, store = [*zip_names(path, DATA_SETS)], ZipStore
    elif path.is_dir() and not is_named and not idx_name(path):
        from common.datasets.sets.folders import FolderStore, list_images

        names, store = [*list_images(path, DATA_SETS)], FolderStore
    elif path.is_file() and path.suffix.lower() in (".npz", ".npy") and split == "train" and not hold_out:
        return _open_whole(path, transform)
    else:
        return open_dataset(place, split, data_dir, transform)
    chosen = split_names_in_three(names, split, path, hold_out)
    images = CompressedImages(path.resolve().name, split, store(path, chosen), size=transform, tolerant=True)
    if path.is_dir():
        images.would_read = path, lambda name: is_in_a_split(name, names)
    return images


def _open_whole(path, transform):
    """Return all images of a .npz or .npy file, of one with a split of its own those for training."""
    from common.datasets.sets.npz import SPLIT_KEYS, open_npz
    from common.formats.zips import open_zip

    split = "all"
    if path.suffix.lower() == ".npz":
        with open_zip(path, "not a complete .npz file") as archive:
            members = {name.removesuffix(".npy") for name in archive.namelist()}
        split = "train" if SPLIT_KEYS["train"][0] in members else "all"
    return open_npz(path, split, transform)


class PreparedImages:
    """The images of an ImageSet, uint8 (H, W, 3), read by number from several threads.

    transform: the squash.SquashOrCrop that the ImageSet applies.  memory_gb: they stay in memory where all of them fit.
    limit: take so many of the first images alone.
    damaged: numbers of those that turned out to be unreadable so far.  instead: what becomes of one, for a note.
    """

    def __init__(self, images, transform, memory_gb=4.0, limit=None):
        self.images, self.transform, self.name, self.labels = images, transform, images.name, images.labels
        self.count = min(len(images), limit or len(images))
        self.instead = "another image is drawn in its place"
        self.damaged, self.shape, self._pack = set(), tuple(images.image_shape), None
        self._cache = ImageCache(self._load, self.count, self.shape, memory_gb)

    def __len__(self):
        return self.count

    def read(self, numbers):
        """Return (uint8 (n, H, W, 3), good (n,) bool): an image that cannot be read is black, and not good."""
        return self._cache.read(numbers) if self._pack is None else self._pack.read(numbers)

    def pack(self, path, num_workers=1):
        """Read the images from a pack.Pack, made first where it is not there: they are decoded once for all runs."""
        pack = self.open_pack(path)
        pack.make(self._load, num_workers)
        self._pack, self.damaged = pack, set(pack.unreadable)

    def open_pack(self, path):
        """Return the pack.Pack of these images in a file, which need not be there; InputError for one of others."""
        from common.datasets.pack import Pack

        return Pack(path, self.fingerprint(), (self.count, *self.shape))

    def check(self):
        """Read a set of up to CHECKED images, so that the damaged ones are known; InputError where all are damaged."""
        if len(self) > CHECKED or self._pack is not None:
            return
        with console.progress("reading images", len(self), unit="images", after=5) as advance:
            for start in range(0, len(self), AT_ONCE):
                numbers = np.arange(start, min(start + AT_ONCE, len(self)))
                self.read(numbers)
                advance(len(numbers))
        if len(self.damaged) == len(self):
            raise InputError("none of the images can be read", where=self.name, do="Restore them, or pass others")

    def check_apart(self, output, where="--output_dir"):
        """Raise InputError where pictures in a folder of outputs would be read as images of this set."""
        folder, read = getattr(self.images, "would_read", (None, None))
        if folder is not None:
            check_apart(folder, output, read, where)

    def title(self, number):
        """Return an image's name in its folder or archive, or its number."""
        names = getattr(self.images, "names", None)
        return names([number])[0] if names else f"{self.name} {number}"

    def fingerprint(self):
        """Return plain values that identify the images and what is done to them."""
        return {**self.images.fingerprint(), "count": self.count, "transform": self.transform.describe()}

    def note_changes(self):
        """Say in one line how the images differ from their files, if they do."""
        changes, looked = self.images.changes()
        if changes:
            counts = ", ".join(f"{number:,} {what}" for what, number in changes.items())
            part = f"of the first {looked:,}" if looked < len(self) - len(self.damaged) else f"of {looked:,}"
            console.say(f"note: images of {self.name}: {part} {counts}")

    def _load(self, numbers):
        try:
            return slice(None), self.images.read(numbers)
        except InputError:  # one of them: find out which
            pass
        places, pixels = [], np.empty((len(numbers), *self.shape), np.uint8)
        for place, number in enumerate(numbers):
            try:
                pixels[place] = self.images.read([number])[0]
                places.append(place)
            except InputError as error:
                self._note_damaged(int(number), error)
        return places, pixels[places]

    def _note_damaged(self, number, error):
        if number not in self.damaged and len(self.damaged) < SHOWN:
            console.say(f"note: {error.where}: {error.what}; {self.instead}")
        self.damaged.add(number)


class Rows:
    """The images of training batches, each drawn from (seed, step, row) alone.

    images: a PreparedImages; they go through seeded permutations, in which a batch may end one and begin the next, so
    that a set of any length makes full batches (T10).  flip: mirror each with a chance of one half.
    """

    def __init__(self, images, seed, batch, flip=False):
        self.images, self.seed, self.flip = images, seed, flip
        self.epochs = Epochs(len(images), seed, batch)

    def numbers(self, step, first, last):
        """Return the numbers (n,) int64 of the images of rows [first, last) of a step, step 1, 2, ..., as they would be
        were all readable."""
        return np.array([self.epochs(step - 1, row) for row in range(first, last)], np.int64)

    def pixels(self, step, first, last):
        """Return (uint8 (n, H, W, 3), numbers (n,)) of rows [first, last) of a step, flipped.

        In place of an image that cannot be read another is drawn. Raises InputError where none can be found.
        """
        numbers = self.numbers(step, first, last)
        pixels, good = self.images.read(numbers)
        for place in np.flatnonzero(~good):
            numbers[place], pixels[place] = self._another(step, first + int(place))
        for place in range(len(pixels)) if self.flip else ():
            if unit_numpy(self.seed, "flip", step, first + place).random() < 0.5:
                pixels[place] = pixels[place, :, ::-1].copy()
        return pixels, numbers

    def __call__(self, step, first, last):
        """Return the images of rows [first, last) of a step as a float32 tensor (n, 3, H, W) in [-1, 1]."""
        return to_network(self.pixels(step, first, last)[0])

    def _another(self, step, row):
        generator = unit_numpy(self.seed, "another", step, row)
        for _ in range(ATTEMPTS):
            number = int(generator.integers(len(self.images)))
            pixels, good = self.images.read([number])
            if good[0]:
                return number, pixels[0]
        raise InputError(f"{ATTEMPTS} images in a row cannot be read", where=self.images.name, do="Restore the images")


def to_network(pixels):
    """Return uint8 images (n, H, W, 3) as a float32 tensor (n, 3, H, W) in [-1, 1]."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).float() / 127.5 - 1
