"""What an evaluation reads: metadata, the models and images of the folder's record, tables of truth."""

import csv
from pathlib import Path

import numpy as np

from common.blobs.metadata import metadata_files, read_metadata
from common.blobs.perceptual import open_perceptual
from common.datasets.prepared import open_prepared
from common.errors import InputError
from common.explained.opening import open_explained
from common.files import file_hash, system_errors
from common.formats.checkpoints import weights_hash
from common.images.squash import for_network
from common.networks.blobgan.files import read_blobgan
from common.record import RECORD, read_record

FROM_RECORD = ("blobgan_weights", "decision_model_weights", "dataset_path", "lpips_weights", "perceptual")


class Folder:
    """A folder of counterfactuals. record: options of the run, {} without one.  batches: [Metadata]."""

    def __init__(self, options):
        folder = Path(options.folder)
        if not folder.is_dir():
            raise InputError("no such folder", where=folder, do="Give a folder of blobex_inv_cf")
        self.path, self.record = folder, {}
        if (folder / RECORD).exists():
            self.record = read_record(folder / RECORD)
        files = metadata_files(folder)
        self._check_whole(options, [number for number, _ in files])
        self.files = [path for _, path in files]
        self.batches = [read_metadata(path) for path in self.files]
        empty = next((path for path, each in zip(self.files, self.batches) if not each.attributes), None)
        if empty is not None and len(self.batches[0].blobs.xs):
            raise InputError("it has an inversion and no counterfactual", where=empty,
                             do="Run blobex_inv_cf without --inversion_only, or evaluate_cf inversion")

    def _check_whole(self, options, numbers):
        """Raise InputError for a set of which batches are missing, with the counts."""
        if not numbers:
            raise InputError("no metadata_<i>.pt in it", where=self.path, do="Give a folder of blobex_inv_cf")
        expected = max(numbers) + 1
        results, run = self.record.get("results", {}), self.record.get("options", {})
        if isinstance(results.get("images"), int) and isinstance(run.get("bs"), int):
            expected = max(expected, -(-results["images"] // run["bs"]))
        unfinished = self.record and self.record.get("status") != "done"
        missing = expected - len(numbers)
        if (missing or unfinished) and not options.partial:
            what = f"{missing} of {expected} batches are missing" if missing else "the run is not finished"
            raise InputError(what, where=self.path, do="Run the same blobex_inv_cf command again, or pass --partial")

    def setting(self, options, name):
        """Return a flag's value, or that of the folder's record."""
        value = getattr(options, name)
        return self.record.get("options", {}).get(name) if value is None else value


class Material:
    """folder: Folder.  gan, explained, perceptual: as in the search.  oracles: [Explained].  targets: function of a
    Metadata -> its images (B, 3, H, W), or None for generated ones.  truth, labels: tables or None."""

    def __init__(self, options, device):
        self.options, self.device, self.folder = options, device, Folder(options)
        get = self.folder.setting
        for name in ("blobgan_weights", "decision_model_weights"):
            if get(options, name) is None:
                raise InputError("the folder has no record that names it", where=f"--{name}", do="Pass the file")
        raw = self.folder.record.get("options", {}).get("live_weights")
        self.gan = read_blobgan(get(options, "blobgan_weights"), device, "raw" if raw else "ema")
        self.explained = self._explained(get(options, "decision_model_weights"))
        self.perceptual = open_perceptual(get(options, "lpips_weights"), get(options, "perceptual"), device)
        self.oracles = [self._oracle(path) for path in options.oracle]
        self.images = self._images()
        self.truth = None if options.truth is None else read_truth(options.truth, self.explained.names)
        self.labels = None if options.labels is None else read_labels(options.labels, self.explained.names)
        self._check_blobs()

    def _explained(self, path):
        run = self.folder.record.get("options", {})
        return open_explained(path, self.device, run.get("objective") or (), tuple(run.get("size") or ()) or None,
                              run.get("range", "signed"), run.get("output"), run.get("class_names") or (),
                              run.get("threshold", 0.5))

    def _oracle(self, path):
        oracle = open_explained(path, self.device)
        if len(oracle.names) != len(self.explained.names):
            raise InputError(f"it decides {len(oracle.names)} attributes, the explained model "
                             f"{len(self.explained.names)}", where=path, do="Give a model of the same attributes")
        return oracle

    def _images(self):
        if all(each.names is None for each in self.folder.batches):
            return None
        path = self.folder.setting(self.options, "dataset_path")
        if path is None:
            raise InputError("which images were explained?", where="--dataset_path", do="Pass their folder")
        config = self.gan.config
        images = open_prepared(path, "train", for_network(config.resolution, config.aspect_ratio), memory_gb=0)
        return images, {images.title(number): number for number in range(len(images))}

    def targets(self, metadata):
        """Return the images of a batch (B, 3, H, W) in [-1, 1], None for generated ones."""
        from common.datasets.prepared import to_network

        if metadata.names is None:
            return None
        images, numbers = self.images
        missing = [name for name in metadata.names if name not in numbers]
        if missing:
            raise InputError(f"'{missing[0]}' is not in it", where=images.name, do="Pass the folder of these images")
        pixels, good = images.read([numbers[name] for name in metadata.names])
        if not good.all():
            raise InputError(f"'{metadata.names[int(np.flatnonzero(~good)[0])]}' cannot be read", where=images.name,
                             do="Restore the image")
        return to_network(pixels).to(self.device)

    def _check_blobs(self):
        config, blobs = self.gan.config, self.folder.batches[0].blobs
        found = blobs.xs.shape[-1], blobs.features.shape[-1], blobs.spatial_style.shape[-1]
        if found != (config.n_features, config.feature_dim, config.dim):
            raise InputError(f"its blobs are {found[0]} of {found[1]} and {found[2]} numbers, the BlobGAN's "
                             f"{config.n_features} of {config.feature_dim} and {config.dim}", where=self.folder.path,
                             do="Pass the BlobGAN that made them with --blobgan_weights")

    def derived(self):
        """Return what shapes results beside the flags."""
        options, get = self.options, self.folder.setting
        found = {"metadata": [file_hash(path) for path in self.folder.files], "gan": weights_hash(self.gan),
                 "model": self.explained.description["sha256"],
                 "oracles": [oracle.description["sha256"] for oracle in self.oracles],
                 "images": None if self.images is None else self.images[0].fingerprint()}
        paths = {name: get(options, name) for name in ("lpips_weights", "perceptual")}
        paths |= {name: getattr(options, name) for name in ("truth", "labels", "weights")}
        return found | {f"contents of {name}": file_hash(path) for name, path in paths.items() if path is not None}


def _rows(path, names):
    """Return the rows of a CSV table with a column for each name, as dictionaries."""
    with system_errors(path), open(path, newline="", encoding="utf-8") as stream:
        try:
            rows = list(csv.DictReader(stream))
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError("not a table in UTF-8", where=path, do="Give a .csv file with a header") from error
    missing = [name for name in names if not rows or name not in rows[0]]
    if missing:
        raise InputError(f"no column '{missing[0]}'", where=path, do="Give a .csv file with a header and these columns")
    return rows


def _decisions(row, names, path):
    try:
        values = [float(row[name]) for name in names]
    except (TypeError, ValueError) as error:
        raise InputError(f"a cell of {', '.join(names)} is no 0 or 1", where=path, do="Correct the table") from error
    return [value > 0.5 for value in values]


def read_truth(path, names):
    """Return {(image, attribute or None): [decisions]} of a table of known decisions."""
    rows = _rows(path, ("image", "attribute", *names))
    return {(row["image"], int(row["attribute"]) if row["attribute"] else None): _decisions(row, names, path)
            for row in rows}


def read_labels(path, names):
    """Return the attributes (M, A) bool of a table of the data."""
    return np.array([_decisions(row, names, path) for row in _rows(path, names)], dtype=bool)
