"""ImageNet and sets like it (npz batches, trees or zips of files, LMDB): numbered images with classes, titles, pixels.

One reader for extraction and training: the same flags on the same source give the same class numbers.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from common.datasets.imagenet import classes as imagenet_classes
from common.datasets.imagenet.class_maps import read_class_map
from common.errors import InputError, Parameter


@dataclass
class ImageBatch:
    """Some images: rows (places of readable ones), uint8 pixels (n, 3, R, R), originals to store unchanged."""

    rows: list
    pixels: object
    originals: list = field(default_factory=list)  # uint8 (S, S, 3), or the bytes of a JPEG
    left_out: dict = field(default_factory=dict)  # {place: reason}


@dataclass(frozen=True)
class Settings:
    """How a source is read.

    class_map: see `read_class_map`.  labelled: False for images in any folders, all of class 0.
    npz_subset, npz_partial: files of a folder, see npz_names.  split: sub-folder of a tree, None for all of it.
    preprocess, resize: how files and arrays are resized to the network's input.
    keep_originals: also return the original pictures.  unpack_all: unpack compressed files completely, not only the
    requested rows.  num_workers: threads that decode.
    """

    class_map: str = "imagenet"
    labelled: bool = True
    npz_subset: str = "auto"
    npz_partial: bool = False
    split: str = None
    preprocess: str = "squash"
    resize: str = "box"
    keep_originals: bool = False
    unpack_all: bool = True
    num_workers: int = 1


def open_source(settings, npz_dir=None, imagenet_dir=None, lmdb_path=None):
    """Return the source at the one path that is set; InputError for none or more than one."""
    places = {"imagenet_dir": imagenet_dir, "npz_dir": npz_dir, "lmdb_path": lmdb_path}
    named = [name for name, place in places.items() if place is not None]
    if not named:
        raise InputError("Either `imagenet_dir` or `npz_dir` must be provided", do="Or `lmdb_path`")
    if len(named) > 1:
        raise InputError(f"Cannot use both `{named[0]}` and `{named[1]}`", do="Choose one")
    kinds = {"imagenet_dir": TreeSource, "npz_dir": NpzSource, "lmdb_path": LmdbSource}
    return kinds[named[0]](places[named[0]], settings)


def acting(npz_dir=None, imagenet_dir=None):
    """Return when options of Settings act, see common.effects; where neither path is set, on arrays."""
    batches = npz_dir is not None, "folders of npz batches"
    return {"npz_subset": batches, "npz_partial": batches, "preprocess": (imagenet_dir is not None, "image files"),
            "resize": (imagenet_dir is None, "arrays")}


def planes_to_picture(pixels):
    """Return (S, S, 3) of (3, S, S)."""
    return pixels.transpose(1, 2, 0)


class Source:
    """The base of all sources; settings: its Settings.  split: train or val where the files' names say so."""

    split = None

    def map_identity(self):
        """Return {"map of classes": SHA-256 of the --class_map file}, for records; {} without one."""
        from common.files import file_hash

        name = self.settings.class_map
        return {"map of classes": file_hash(name)} if name.endswith(".json") else {}


class ArraySource(Source):
    """The base of sources of arrays of one size: a `reader` with `read`, `side` and `identity`."""

    suffix = "png"

    def __init__(self, settings, reader):
        self.settings, self.reader = settings, reader

    def __len__(self):
        return len(self.classes)

    def check(self, side):
        """Raise InputError when the arrays cannot be resized to the network's input."""
        import numpy as np

        from common.images.network_size import resize_planes

        resize_planes(np.zeros((1, 3, self.reader.side, self.reader.side), np.uint8), side, self.settings.resize)

    def load(self, indices, side):
        """Return the ImageBatch of these numbers."""
        from common.images.network_size import resize_planes

        pixels = self.reader.read(indices)
        originals = [planes_to_picture(image) for image in pixels]
        return ImageBatch(list(range(len(indices))), resize_planes(pixels, side, self.settings.resize), originals)

    def identity(self):
        """Return what determines the pixels and classes, for records."""
        return {**self.reader.identity(), "class_map": self.settings.class_map}

    def prepare(self, indices):
        """Prepare to load these images."""

    def notes(self):
        """Return notes about the source, for the console."""
        return []


class NpzSource(ArraySource):
    """npz batches."""

    kind = "imagenet_real_npz"

    def __init__(self, path, settings):
        from common.datasets.imagenet.npz_batches import open_npz_batches

        super().__init__(settings, open_npz_batches(path, settings.npz_subset, settings.npz_partial))
        first = self.reader.batches[0].path.name.lower()
        self.split = next((split for split in ("train", "val") if first.startswith(split)), None)
        self.classes, self.class_index = read_class_map(settings.class_map, self.reader.labels, path)

    def notes(self):
        """Return notes about the source, for the console."""
        return self.reader.notes

    def title(self, number):
        """Return an image's name in records."""
        return f"npz_sample_{number}"

    def prepare(self, indices):
        """Unpack compressed files: the rows of these images, or all of them."""
        self.reader.unpack(None if self.settings.unpack_all else indices)

    def load(self, indices, side):
        """Return the ImageBatch of these numbers."""
        self.reader.announce(indices)  # so that the disk fetches a whole batch at once
        return super().load(indices, side)


class LmdbSource(ArraySource):
    """An LMDB, whose labels are already in network order."""

    kind = "imagenet_real_lmdb"

    def __init__(self, path, settings):
        from common.datasets.imagenet.lmdb import LmdbImages

        super().__init__(settings, LmdbImages(path))
        labels = self.reader.classes
        if settings.class_map != "imagenet":
            self.classes, self.class_index = read_class_map(settings.class_map, labels + 1, path)
            return
        self.classes, self.class_index = labels, imagenet_classes.class_index()
        if labels.max() >= imagenet_classes.COUNT:
            raise InputError(f"label {labels.max()} is outside 0 .. 999", where=path, do="Use `class_map` none")

    def title(self, number):
        """Return an image's name in records."""
        return f"lmdb_idx_{number}"


class TreeSource(Source):
    """A tree or zip of image files."""

    kind, suffix = "imagenet_real", "JPEG"

    def __init__(self, path, settings):
        from common.datasets.imagenet.tree import ImageTree

        self.settings, own = settings, settings.class_map not in ("imagenet", "none")
        if own and not settings.class_map.endswith(".json"):
            raise InputError("must be imagenet, none or a .json", where=Parameter("class_map", settings.class_map),
                             do="See the docs")
        classes = "imagenet" if settings.class_map == "imagenet" else "any"
        self.tree = ImageTree(path, settings.split, classes if settings.labelled else None)
        self.classes = self.tree.classes
        if own and not self.tree.labelled:
            raise InputError("a label map needs labels: npz files, an LMDB, or a dataset.json beside the folders",
                             where=Parameter("class_map"), do="Use imagenet or none")
        if own:
            self.classes, self.class_index = self._mapped(path)
        elif self.tree.class_names is None:
            self.class_index = imagenet_classes.class_index()
        else:
            self.class_index = {str(number): [name, name] for number, name in self.tree.class_names.items()}
        self._pool = ThreadPoolExecutor(max(1, settings.num_workers))

    def _mapped(self, path):
        """Return (classes, class index) of the labels of a dataset.json under a class map; -1 stays -1."""
        import numpy as np

        labels = self.tree.classes
        classes, index = read_class_map(self.settings.class_map, labels + 1, path)
        return np.where(labels < 0, -1, classes), index

    def __len__(self):
        return len(self.tree)

    def title(self, number):
        """Return an image's name in records."""
        return self.tree.names[number]

    def check(self, side):
        """Accept any size: files are resized one by one."""

    def prepare(self, indices):
        """Do nothing: files need no preparation."""

    def identity(self):
        """Return what determines the pixels and classes, for records."""
        return {**self.tree.identity(), "class_map": self.settings.class_map}

    def notes(self):
        """Return notes about the source, for the console."""
        return self.tree.notes

    def load(self, indices, side):
        """Return the ImageBatch of these numbers; damaged images are skipped."""
        import numpy as np

        def one(number):
            try:
                pixels, image = self.tree.prepared(int(number), side, self.settings.preprocess)
            except InputError as error:
                return error
            return pixels, jpeg_bytes(image) if self.settings.keep_originals else None

        items = list(self._pool.map(one, indices))
        rows = [place for place, item in enumerate(items) if not isinstance(item, InputError)]
        pixels = np.stack([items[place][0] for place in rows]) if rows else np.empty((0, 3, side, side), np.uint8)
        left_out = {place: item.what for place, item in enumerate(items) if isinstance(item, InputError)}
        return ImageBatch(rows, pixels, [items[place][1] for place in rows], left_out)


def jpeg_bytes(image):
    """Return a Pillow image as JPEG of quality 75, at full size, as the original stores them."""
    import io

    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=75)
    return stream.getvalue()
