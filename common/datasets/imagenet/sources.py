"""ImageNet and sets like it (npz batches, trees or zips of files, LMDB): numbered images with classes, titles, pixels.

One reader for extraction and training: the same flags on the same source give the same class numbers.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from common.datasets.imagenet import classes as imagenet_classes
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

    class_map: see `read_class_map`.  npz_subset: files of a folder, see npz_batches.  split: sub-folder of a tree, None
    for all of it.  preprocess, resize: how files and arrays are resized to the network's input.
    keep_originals: also return the original pictures.  unpack_all: unpack compressed files completely, not only the
    requested rows.  num_workers: threads that decode.
    """

    class_map: str = "imagenet"
    npz_subset: str = "auto"
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


def read_class_map(name, labels, where):
    """Return (classes (N,) int64, {"0": [synset, name], ...}) of npz labels 1.. under a class map.

    imagenet: the permutation from the development kit's order to the network's.  none: label - 1.  A .json: a list of
    classes (entry label - 1), or a class index {"0": [synset, name]} in the order of the labels.
    Raises InputError for a file of another kind, repeated or negative classes, and labels out of range.
    """
    import numpy as np

    from common.files import read_json

    labels = np.asarray(labels, np.int64)
    if name == "imagenet":
        return imagenet_classes.label_to_class(labels, where), imagenet_classes.class_index()
    if name == "none":
        return labels - 1, {str(number): [str(number), f"class_{number}"]
                            for number in range(int(labels.max(initial=1)))}
    if not name.endswith(".json"):
        raise InputError("must be imagenet, none or a .json", where=Parameter("class_map", name), do="See the docs")
    value = read_json(name)
    do = "Use a list of classes (entry label - 1), or a class index {\"0\": [synset, name], ...} in the labels' order"
    if isinstance(value, dict):
        value = _from_index(value, name, do)
    numbers = isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)
    if not numbers or len(set(value)) != len(value):
        raise InputError("not a class map: its entries must be distinct non-negative integers", where=name, do=do)
    if labels.size and labels.max() > len(value):
        raise InputError(f"a map of {len(value)} labels, but the data have label {labels.max()}", where=name, do=do)
    index = imagenet_classes.class_index()
    known = {str(number): index.get(str(number), [str(number), f"class_{number}"]) for number in sorted(value)}
    return np.array(value, np.int64)[labels - 1], known


def _from_index(value, name, do):
    """Return the list of network classes of a class index in the labels' order."""
    numbers = imagenet_classes.synset_numbers()
    try:
        return [numbers[value[str(place)][0]] for place in range(len(value))]
    except (KeyError, IndexError, TypeError) as error:
        raise InputError(f"not a class index: no known synset at {error}", where=name, do=do) from error


def planes_to_picture(pixels):
    """Return (S, S, 3) of (3, S, S)."""
    return pixels.transpose(1, 2, 0)


class ArraySource:
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

        super().__init__(settings, open_npz_batches(path, settings.npz_subset))
        self.classes, self.class_index = read_class_map(settings.class_map, self.reader.labels, path)

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
        self.classes, self.class_index = self.reader.classes, imagenet_classes.class_index()
        if settings.class_map != "imagenet":
            self.class_index = {str(number): [str(number), f"class_{number}"]
                                for number in range(int(self.classes.max()) + 1)}
        elif self.classes.max() >= imagenet_classes.COUNT:
            raise InputError(f"label {self.classes.max()} is outside 0 .. 999", where=path,
                             do="Use `class_map` none")

    def title(self, number):
        """Return an image's name in records."""
        return f"lmdb_idx_{number}"


class TreeSource:
    """A tree or zip of image files."""

    kind, suffix = "imagenet_real", "JPEG"

    def __init__(self, path, settings):
        from common.datasets.imagenet.tree import ImageTree

        if settings.class_map not in ("imagenet", "none"):
            raise InputError("a label map needs npz files", where=Parameter("class_map"),
                             do="Use imagenet or none")
        self.settings = settings
        self.tree = ImageTree(path, settings.split, settings.class_map == "imagenet")
        self.classes, self.class_index = self.tree.classes, imagenet_classes.class_index()
        if settings.class_map == "none":
            self.class_index = {str(number): [name, name] for name, number in self.tree.folder_classes.items()}
        self._pool = ThreadPoolExecutor(max(1, settings.num_workers))

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
        if not self.tree.unknown:
            return []
        names = ", ".join(sorted(self.tree.unknown)[:5])
        return [f"warning: skipped {sum(self.tree.unknown.values()):,} images in folders that are no synsets ({names})"]

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
