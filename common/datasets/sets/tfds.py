"""Data sets prepared by tensorflow-datasets, read without TensorFlow: TFRecord and array_record shards.

Layout: NAME/VERSION/NAME-SPLIT.tfrecord-xxxxx-of-yyyyy (or .array_record-), dataset_info.json with the length of each
shard; every record is a tf.train.Example with image (PNG), label and id. Images come in the order of the shards, which
tfds shuffles by hash: not the order of the original archives.
"""

import io
import re
from dataclasses import dataclass
from pathlib import Path

from common.datasets.sets.imageset import CompressedImages
from common.datasets.sets.locate import check_labels
from common.errors import InputError

NAMES = {"cifar10": "cifar10", "cifar100": "cifar100", "svhn": "svhn_cropped"}
CLASSES = {"cifar10": 10, "cifar100": 100, "svhn": 10}
ADVICE = "Prepare or copy the folder again"


@dataclass(frozen=True)
class Prepared:
    """A version folder and the shards of one split in it, in order; kind is tfrecord or array_record."""

    folder: Path
    kind: str
    shards: tuple


def find_tfds(name, split, roots):
    """Return the `Prepared` split in the newest version folder that has it, or None.

    Each root may hold NAME/VERSION, be NAME (hold VERSION), or be the version folder itself.
    Raises InputError when some of the split's shards are missing.
    """
    name = NAMES[name]
    for root in roots:
        for folder in (*_versions(root / name), *_versions(root), root):
            for kind in ("array_record", "tfrecord"):
                shards = _shards(folder, f"{name}-{split}.{kind}-")
                if shards:
                    return Prepared(folder, kind, shards)
    return None


def open_tfds(name, split, prepared, size=None):
    """Return the ImageSet of a prepared split. The records stay encoded in memory; PNGs are decoded when read.

    Raises InputError for a broken shard, a record without image and label, or a number of records that differs from
    dataset_info.json.
    """
    import numpy as np

    read = _read_array_record if prepared.kind == "array_record" else _read_tfrecord
    images, labels, titles = [], [], []
    expected = _shard_lengths(prepared.folder, split)
    for number, path in enumerate(prepared.shards):
        records = read(path)
        if expected and len(expected) == len(prepared.shards) and expected[number] != len(records):
            raise InputError(
                f"{len(records)} records, dataset_info.json has {expected[number]}", where=path, do=ADVICE
            )
        for place, record in enumerate(records):
            image, label = _image_and_label(record, f"{path}: record {place}")
            images.append(image)
            labels.append(label)
            titles.append((path, place))
    if not images:
        raise InputError("no records in the split", where=prepared.folder, do=ADVICE)
    labels = check_labels(np.array(labels, np.int64), 0, CLASSES[name] - 1, prepared.folder, "label")
    return CompressedImages(name, split, RecordStore(prepared.shards, images, titles), labels, size=size)


class RecordStore:
    """Encoded images in memory, with the shard and record of each."""

    def __init__(self, shards, images, titles):
        self._shards, self._images, self._titles = shards, images, titles

    def __len__(self):
        return len(self._images)

    def read(self, position):
        """Return an image's bytes."""
        return self._images[position]

    def open(self, position):
        """Yield an image's bytes as a stream."""
        return io.BytesIO(self._images[position])

    def title(self, position):
        """Return an image's name in messages."""
        path, place = self._titles[position]
        return f"{path}: record {place}"

    def identity(self, without=()):
        """Return what identifies these images, for run records: the shards, whatever is left out."""
        from common.files import fingerprint

        return {"files": [fingerprint(path) for path in self._shards]}


def _versions(folder):
    """Return the version folders (such as 3.0.2) in a folder, newest first."""
    if not folder.is_dir():
        return []
    versions = [path for path in folder.iterdir() if re.fullmatch(r"\d+\.\d+\.\d+", path.name) and path.is_dir()]
    return sorted(versions, key=lambda path: [int(part) for part in path.name.split(".")], reverse=True)


def _shards(folder, prefix):
    """Return the shard paths that start with `prefix` in order; InputError when one of the `-of-` total is missing."""
    shards = sorted(folder.glob(f"{prefix}[0-9]*-of-*[0-9]")) if folder.is_dir() else []
    shards = [path for path in shards if re.fullmatch(r"\d+-of-\d+", path.name.removeprefix(prefix))]
    if not shards:
        return ()
    total = int(shards[0].name.rpartition("-of-")[2])
    expected = []
    for number in range(total):  # a name may claim any number: ends at the first that is missing
        expected.append(folder / f"{prefix}{number:05d}-of-{total:05d}")
        if not expected[-1].is_file():
            raise InputError(f"no such file, but {shards[0].name} exists", where=expected[-1], do=ADVICE)
    return tuple(expected)


def _shard_lengths(folder, split):
    """Return the number of records of each shard from dataset_info.json, None when it is missing there."""
    from common.files import read_json

    path = folder / "dataset_info.json"
    if not path.is_file():
        return None
    info = read_json(path)
    splits = info.get("splits") if isinstance(info, dict) else None
    splits = splits if isinstance(splits, list) else []
    lengths = [entry.get("shardLengths", [])
               for entry in splits if isinstance(entry, dict) and entry.get("name") == split]
    try:
        return [int(length) for length in lengths[0]] if lengths else None
    except (TypeError, ValueError) as error:
        raise InputError(f"'shardLengths' of {split} is not a list of numbers", where=path, do=ADVICE) from error


def _read_tfrecord(path):
    from common.datasets.sets.tfrecord import read_records

    return read_records(path)


def _read_array_record(path):
    """Return the records of one array_record file; its reader returns 0 records, not an error, for most broken ones."""
    try:
        from array_record.python.array_record_module import ArrayRecordReader
    except ImportError as error:
        raise InputError("reading array_record needs the package array_record", where=path,
                         do="pip install array_record") from error
    try:
        reader = ArrayRecordReader(str(path))
        records = reader.read_all() if reader.ok() and reader.num_records() else []
        complete = reader.ok() and len(records) == reader.num_records() > 0
        reader.close()
    except (RuntimeError, ValueError, IndexError, OSError) as error:
        raise InputError(f"not a complete array_record file ({error})", where=path, do=ADVICE) from error
    if not complete:
        raise InputError("not a complete array_record file, or an empty one", where=path, do=ADVICE)
    return records


def _image_and_label(record, where):
    """Return (encoded image, label) of a tf.train.Example."""
    from common.datasets.sets.tfrecord import parse_example

    try:
        features = parse_example(record)
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"not a tf.train.Example ({error})", where=where, do=ADVICE) from error
    for name, kind in (("image", bytes), ("label", int)):
        values = features.get(name, [])
        if len(values) != 1 or not isinstance(values[0], kind):
            names = ", ".join(sorted(features)) or "none"
            raise InputError(f"no single {kind.__name__} feature '{name}', the record has {names}", where=where,
                             do=ADVICE)
    return features["image"][0], features["label"][0]
