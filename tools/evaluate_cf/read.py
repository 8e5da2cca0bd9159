"""What an evaluation reads beside the metadata: the models and images of the folder's record, tables of truth."""

import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common import console
from common.blobs.metadata import check_widths
from common.blobs.perceptual import open_perceptual
from common.datasets.prepared import open_prepared, to_network
from common.effects import check_effects
from common.errors import InputError
from common.explained.model import Explained
from common.explained.opening import open_explained, open_pictures
from common.files import file_hash
from common.formats.checkpoints import weights_hash
from common.formats.tables import read_records
from common.networks.blobgan.files import read_blobgan
from common.record import RECORD
from tools.evaluate_cf.folder import Folder, Goals
from tools.evaluate_cf.similarity import Similarity, check_features


class Oracle(NamedTuple):
    """An independent model. columns: for each objective of the explained model the oracle's own number of it."""

    model: Explained
    columns: list


class Truth(NamedTuple):
    """What is known of pictures. rows: {(image, attribute or None, number): (decisions, measures)}, attribute None for
    the image itself.  measures: names of further columns, numbers."""

    rows: dict
    measures: list


class Material:
    """folder: Folder.  gan, explained, perceptual: as in the search.  similarity: Similarity or None.
    oracles: [Oracle].  goals: Goals.  truth: Truth or None.  labels: (M, A) bool of the data, or None.
    expected: images there should be, or None."""

    def __init__(self, options, device):
        self.options, self.device, self.folder = options, device, Folder(options.folder, options.partial)
        for name in ("blobgan_weights", "decision_model_weights"):
            if self.setting(name) is None:
                raise InputError("the folder has no record that names it", where=f"--{name}", do="Pass the file")
        self.gan = open_gan(self.setting("blobgan_weights"), device, self.folder.option("live_weights", False))
        self.explained = self._explained(self.setting("decision_model_weights"))
        self._check_shapes()
        names = self.explained.names
        self.perceptual = open_perceptual(self.setting("lpips_weights"), self.setting("perceptual"), device)
        self.similarity = self._similarity()
        self.oracles = [self._oracle(path) for path in options.oracle]
        self.images = self._images()
        self.expected = self.folder.check_images(None if self.images is None else len(self.images.images))
        self.goals = Goals(self.folder, names)
        self.on_real = self.images is not None and self.folder.option("search_on") == "real"
        self.truth = None if options.truth is None else read_truth(options.truth, names)
        self.labels = None if options.labels is None else read_labels(options.labels, names)

    def setting(self, name):
        """Return a flag's value, or that of the folder's record."""
        value = getattr(self.options, name)
        return self.folder.option(name) if value is None else value

    def _explained(self, path):
        get = self.folder.option
        return open_explained(path, self.device, get("objective", ()), tuple(get("size", ())) or None,
                              get("range", "signed"), get("output"), get("class_names", ()), get("threshold", 0.5),
                              self.gan.config.transform.size)

    def _oracle(self, path):
        names, model = self.explained.names, open_explained(path, self.device)
        if set(names) <= set(model.names):
            return Oracle(model, [model.names.index(name) for name in names])
        if len(names) != len(model.names):
            raise InputError(f"it decides {len(model.names)} attributes, the explained model {len(names)}", where=path,
                             do="Give a model of the same attributes")
        console.say(f"note: {path}: its attributes have other names; they are taken in order")
        return Oracle(model, list(range(len(names))))

    def _similarity(self):
        """Return the Similarity of --similarity_model, None without one."""
        options = self.options
        if options.similarity_model is None:
            check_effects(options, {f"similarity_{name}": (False, "--similarity_model")
                                    for name in ("range", "size", "output")})
            return None
        return Similarity(open_pictures(options.similarity_model, self.device, self.gan.config.transform.size,
                                        tuple(options.similarity_size) or None, options.similarity_range,
                                        options.similarity_output, "--similarity_", check_features))

    def _check_shapes(self):
        folder = self.folder
        for found in folder.shapes:
            check_widths(found, self.gan.config, folder.path)
        for width in folder.width - {len(self.explained.names)}:
            raise InputError(f"its scores are of {width} attributes, the model has {len(self.explained.names)}",
                             where=folder.path, do="Pass the model that was explained with --decision_model_weights")
        folder.check_attributes(len(self.explained.names), self.explained.description["kind"] == "classes")

    def _images(self):
        if all(name is None for name in self.folder.names):
            return None
        images = open_images(self.setting("dataset_path"), self.gan, "--dataset_path")
        images.numbers([name for name in self.folder.names if name is not None])
        return images

    def targets(self, metadata):
        """Return the images of a batch (B, 3, H, W) in [-1, 1], None for generated ones."""
        if metadata.names is None:
            return None
        pixels, marks = self.images.pixels(metadata.names), metadata.extra.get("marks")
        if isinstance(marks, list) and len(marks) == len(metadata.names):
            note_changed(dict(zip(metadata.names, marks)), metadata.names, pixels)
        return to_network(pixels).to(self.device)

    def derived(self):
        """Return what shapes results beside the flags."""
        options = self.options
        found = {"gan": weights_hash(self.gan), "model": self.explained.description["sha256"],
                 "oracles": [oracle.model.description["sha256"] for oracle in self.oracles]}
        paths = {name: self.setting(name) for name in ("lpips_weights", "perceptual")}
        paths |= {name: getattr(options, name) for name in ("truth", "labels", "weights", "similarity_model")}
        return found | {f"contents of {name}": file_hash(path) for name, path in paths.items() if path is not None}

    def content(self):
        """Return what is measured, which may grow: the metadata and the images."""
        return {"metadata": [file_hash(path) for path in self.folder.files],
                "images": None if self.images is None else self.images.images.fingerprint()}

    def inputs(self):
        """Return the paths of all that is read; None where the folder may grow without a change of its record."""
        options, folder = self.options, self.folder
        if not folder.record or options.partial:
            return None
        paths = [self.setting(name) for name in
                 ("blobgan_weights", "decision_model_weights", "dataset_path", "lpips_weights", "perceptual")]
        paths += [options.truth, options.labels, options.weights, options.similarity_model, *options.oracle]
        return [folder.path / RECORD, *folder.files, *(Path(path) for path in paths if path is not None)]


def open_gan(path, device, live=False):
    """Return the BlobGAN of a file. live: with its live weights, not the averaged ones."""
    return read_blobgan(path, device, "raw" if live else "ema", "--live_weights")


def note_changed(marks, names, pixels):
    """Say which images are not those that were inverted. marks: {name: mark of its pixels}.  pixels: (B, H, W, 3)."""
    changed = [name for name, row in zip(names, pixels)
               if marks.get(name, own := f"{zlib.crc32(np.ascontiguousarray(row)):08x}") != own]
    if changed:
        console.say(f"note: images that have changed since they were inverted: {', '.join(changed)}")


class NamedImages:
    """Images of a folder by their names, as a BlobGAN takes them. images: PreparedImages."""

    def __init__(self, images):
        self.images, self._numbers = images, {images.title(number): number for number in range(len(images))}

    def numbers(self, names):
        """Return the images' numbers in the folder; InputError for one that is not there."""
        missing = [name for name in names if name not in self._numbers]
        if missing:
            raise InputError(f"'{missing[0]}' is not in it", where=self.images.name,
                             do="Pass the folder of these images")
        return [self._numbers[name] for name in names]

    def pixels(self, names):
        """Return uint8 images (B, H, W, 3); InputError for a missing or damaged one."""
        pixels, good = self.images.read(self.numbers(names))
        if not good.all():
            raise InputError(f"'{names[int(np.flatnonzero(~good)[0])]}' cannot be read", where=self.images.name,
                             do="Restore the image")
        return pixels


def open_images(path, gan, where):
    """Return the NamedImages of a folder, resized as the BlobGAN's pictures. where: the flag, for the message."""
    if path is None:
        raise InputError("which images were explained?", where=where, do="Pass their folder")
    return NamedImages(open_prepared(Path(path), "train", gan.config.transform, memory_gb=0))


def _records(path, names):
    """Return (column names, records) of a CSV table that has these columns."""
    columns, records = read_records(path)
    missing = [name for name in names if name not in columns]
    if missing or not records:
        raise InputError(f"no column '{missing[0]}'" if missing else "no rows", where=path,
                         do=f"Give a .csv file with a header and the columns {', '.join(names)}")
    return columns, records


def _numbers(record, names, path, row):
    try:
        return [float(record[name]) for name in names]
    except (TypeError, ValueError) as error:
        raise InputError(f"row {row + 1}: a cell of {', '.join(names)} is not a number", where=path,
                         do="Correct the table") from error


def _decisions(record, names, path, row):
    """Return the decisions (bool) in the columns `names`; InputError for a cell that is neither 0 nor 1."""
    values = _numbers(record, names, path, row)
    wrong = next((name for name, value in zip(names, values) if value not in (0, 1)), None)
    if wrong is not None:
        raise InputError(f"row {row + 1}: {wrong} is {record[wrong]}, neither 0 nor 1", where=path,
                         do="Correct the table")
    return [value == 1 for value in values]


def read_truth(path, names):
    """Return the Truth of a table: image, attribute (a name or number; empty: the image itself), number (optional: of
    several counterfactuals), a column of 0 and 1 for each name, and any further columns of numbers."""
    columns, records = _records(path, ("image", "attribute", *names))
    measures, rows = [name for name in columns if name not in ("image", "attribute", "number", *names)], {}
    for row, record in enumerate(records):
        word, attribute = (record["attribute"] or "").strip(), None
        if word:
            attribute = list(names).index(word) if word in names else int(word) if word.isdecimal() else len(names)
            if attribute >= len(names):
                raise InputError(f"row {row + 1}: no attribute '{word}'", where=path,
                                 do=f"Pass one of {', '.join(names)}, or its number")
        key = record["image"], attribute, (record.get("number") or "0").strip()
        if key in rows:
            raise InputError(f"row {row + 1}: a second row of {record['image']}" + f", attribute {word}" * bool(word),
                             where=path, do="Keep one of them")
        rows[key] = _decisions(record, names, path, row), _numbers(record, measures, path, row)
    return Truth(rows, measures)


def read_labels(path, names):
    """Return the attributes (M, A) bool of a table of the data."""
    _, records = _records(path, names)
    return np.array([_decisions(record, names, path, row) for row, record in enumerate(records)], dtype=bool)
