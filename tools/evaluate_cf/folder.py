"""A folder of counterfactuals: its metadata, its record, whether it is whole, and which decision each pair wants."""

from collections import Counter
from pathlib import Path

import torch

from common.blobs.metadata import metadata_files, read_metadata, widths_of
from common.errors import InputError
from common.networks.blobgan.layout import Blobs
from common.record import RECORD, read_record

AGAIN = "Run the same blobex_inv_cf command again, or pass --partial"
GIVE = "Give a folder of blobex_inv_cf"


class Folder:
    """path.  record: of the run, {} without one.  files: paths of the metadata.  counts: images of each.
    expected: number of batches there should be.  names: of all images, None of generated ones.  pairs: number of
    pairs of an image and an attribute, several counterfactuals counted each."""

    def __init__(self, path, partial=False):
        self.path, self.partial, self.record = Path(path), partial, {}
        if not self.path.is_dir():
            raise InputError("no such folder", where=self.path, do=GIVE)
        if (self.path / RECORD).exists():
            self.record = read_record(self.path / RECORD)
        numbered = metadata_files(self.path)
        if not numbered:
            raise InputError("no metadata_<i>.pt in it", where=self.path, do=GIVE)
        self.files, self.expected = [path for _, path in numbered], numbered[-1][0] + 1
        if self.expected > len(numbered) and not partial:
            raise InputError(f"{len(numbered)} of {self.expected} batches are in it", where=self.path, do=AGAIN)
        if self.record and self.record.get("status") != "done" and not partial:
            raise InputError(f"the run is not finished: {len(numbered)} batches are in it", where=self.path, do=AGAIN)
        self.counts, self.names, self.shapes, self.attributes, self.width = [], [], set(), {}, set()
        self.pairs, self.kinds = 0, {}  # {attributes of a batch: the first that has them}
        for path in self.files:
            self._take(path, read_metadata(path))
        repeated = next((name for name, count in Counter(self.names).items() if name is not None and count > 1), None)
        if repeated is not None:
            raise InputError(f"image '{repeated}' stands in it twice", where=self.path,
                             do="Give the batches of one run")
        if any(self.counts) and not self.attributes:
            raise InputError("it has inversions and no counterfactual", where=self.files[0],
                             do="Run blobex_inv_cf without --inversion_only, or evaluate_cf inversion")

    def _take(self, path, metadata):
        blobs = metadata.blobs
        self.counts.append(len(blobs.xs))
        self.names += metadata.names if metadata.names is not None else [None] * len(blobs.xs)
        if len(blobs.xs):
            self.shapes.add(widths_of(blobs))
            self.kinds.setdefault(frozenset(metadata.attributes), path)
            self.width |= {each.scores.shape[-1] for each in metadata.attributes.values()}
            for attribute, found in metadata.attributes.items():
                several = len(found.blobs.xs) if found.blobs.xs.dim() == 3 else 1
                if self.attributes.setdefault(attribute, several) != several:
                    raise InputError(f"att_{attribute} has {several} counterfactuals of an image, other batches "
                                     f"{self.attributes[attribute]}", where=path, do="Give the batches of one run")
                asked = sum(map(bool, stored_lines(metadata, attribute, labels_of(metadata))))
                self.pairs += several * (asked or len(blobs.xs))

    def check_attributes(self, count, is_classes):
        """Raise InputError for an attribute that a model of `count` has not, and for batches that lack attributes which
        others have; of classes each image has its own."""
        wrong = next((attribute for attribute in sorted(self.attributes) if attribute >= count), None)
        if wrong is not None:
            raise InputError(f"att_{wrong} is in it, the model decides {count}", where=self.path,
                             do="Pass the model that was explained with --decision_model_weights")
        for kind, path in self.kinds.items() if not is_classes and not self.partial else ():
            missing = sorted({*self.attributes} - kind)
            if missing:
                raise InputError(f"att_{missing[0]} is missing, other batches have it", where=path, do=AGAIN)

    @property
    def images(self):
        """Number of images in it."""
        return sum(self.counts)

    def option(self, name, default=None):
        """Return an option of the run, `default` without a record."""
        value = self.record.get("options", {}).get(name)
        return default if value is None else value

    def check_images(self, available):
        """Raise InputError, but for `partial`, where images lack: in a finished run by its results, else by how many
        the run was of; return how many there should be, None where nothing says so.

        available: number of images in the folder of images, None for generated ones.
        """
        results = self.record.get("results") or {}
        expected = results.get("images") if self.record.get("status") == "done" else None
        if expected is None and available is not None:
            expected = min(available, self.option("max_images", available))
        elif expected is None:
            expected = self.option("num_imgs")
        if isinstance(expected, int) and self.images < expected:
            size = self.option("bs", self.counts[0])
            self.expected = max(self.expected, -(-expected // max(size, 1)))
            if not self.partial:
                raise InputError(f"{self.images} of {expected} images are in it, {len(self.files)} of {self.expected} "
                                 "batches", where=self.path, do=AGAIN)
        return expected if isinstance(expected, int) else None

    def read(self):
        """Yield (number of the first image, path, Metadata) of each batch that has images."""
        first = 0
        for path, count in zip(self.files, self.counts):
            if count:
                yield first, path, read_metadata(path)
            first += count


def labels_of(metadata, first=0):
    """Return the names of a batch's images, of generated ones their numbers. first: number of the batch's first."""
    count, stored = len(metadata.blobs.xs), metadata.extra.get("labels")
    if metadata.names is not None:
        return metadata.names
    if isinstance(stored, list) and len(stored) == count:
        return list(map(str, stored))
    return [str(first + row) for row in range(count)]


def stored_lines(metadata, attribute, labels, number=0):
    """Return for each image of a batch the line that the search wrote of its pair, {} where there is none."""
    entries = metadata.extra.get("attributes")
    entry = entries.get(attribute) if isinstance(entries, dict) else None
    lines = entry.get("pairs") if isinstance(entry, dict) else None
    found = {}
    for line in lines if isinstance(lines, list) else ():
        if isinstance(line, dict) and line.get("number", number) == number:
            found[str(line.get("image"))] = line
        elif isinstance(line, dict) and line.get("outcome") == "already":  # one line for all that would have been
            found.setdefault(str(line.get("image")), line)
    return [found.get(label, {}) for label in labels]


def dense_version(metadata, attribute, path):
    """Return (Blobs, scores) of an attribute before blobs went back; what the file shows where nothing else is."""
    found = metadata.attributes[attribute]
    entries = metadata.extra.get("attributes")
    entry = entries.get(attribute) if isinstance(entries, dict) else None
    stored = entry.get("blob_cf") if isinstance(entry, dict) else None
    if stored is None:
        return found.blobs, found.scores
    good = isinstance(stored, dict) and all(
        isinstance(stored.get(name), torch.Tensor) and stored[name].shape == part.shape
        for name, part in found.blobs._asdict().items())
    if not good:
        raise InputError(f"genprobe.att_{attribute}.blob_cf is not of the shape of att_{attribute}.blob_cf", where=path,
                         do="Pass --sparse, or run blobex_inv_cf again")
    scores = entry.get("final_scores")
    same = isinstance(scores, torch.Tensor) and scores.shape == found.scores.shape
    return Blobs(*(stored[name].float() for name in Blobs._fields)), scores.float() if same else None


class Goals:
    """Which decisions the pairs of a run want: the opposite ones, those of --target, or all of --joint's at once."""

    def __init__(self, folder, names):
        self.names, self.joint = list(names), None
        if folder.option("joint", False):
            self.joint = dict(self._goal(str(word)) for word in folder.option("target", []))

    def _goal(self, word):
        """Return (number of the objective, 1 or -1) of a word of --target; a name may have such a sign, too."""
        name, _, value = word.rpartition("=")
        if name == "class" and "class" not in self.names:
            name, value = value, "1"
        return self.names.index(name) if name in self.names else int(name), 1 if value == "1" else -1

    def of(self, decided, attribute, lines):
        """Return goals (B, A) of 1, -1 or 0 (ignored).

        decided: (B, A) bool, of the start.  lines: of the search, {} where it left none.
        """
        goals = torch.zeros(decided.shape, dtype=torch.int64, device=decided.device)
        if self.joint is not None:
            for number, sign in self.joint.items():
                goals[:, number] = sign
            return goals
        goals[:, attribute] = 1 - 2 * decided[:, attribute].long()
        for row, line in enumerate(lines):
            if line.get("target") in (0, 1):
                goals[row, attribute] = 2 * line["target"] - 1
        return goals


def reached(decided, goals):
    """Return which rows (B,) have all decisions (B, A) bool as the goals (B, A) want them."""
    return ((decided == (goals > 0)) | (goals == 0)).all(dim=1)
