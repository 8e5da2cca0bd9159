"""CIFAR-10 and CIFAR-100 from the original archives (Krizhevsky 2009), as folders or as the .tar.gz itself.

python form: pickled dicts with data uint8 (n, 3072), rows of 1024 R, 1024 G, 1024 B, each 32 x 32 row-major, and labels
(CIFAR-100: fine_labels). binary form: records of 1 label byte (CIFAR-100: coarse, then fine) and the same 3072 bytes.
A .tar.gz is read in memory, nothing is unpacked on disk.
"""

import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from common.datasets.sets.imageset import ArrayImages
from common.datasets.sets.locate import check_labels, check_planes, plain_key
from common.errors import InputError
from common.formats.tars import open_gzip, tar_errors, tar_members

PUBLISHED = "https://www.cs.toronto.edu/~kriz/cifar.html"
CLASSES = {"cifar10": 10, "cifar100": 100}
COARSE_CLASSES = 20
LARGEST = 1 << 28  # bytes of a member; CIFAR-100's train has 155 MB
FORMS = {
    "cifar10": ("cifar-10-batches-py", "cifar-10-batches-bin"),
    "cifar100": ("cifar-100-python", "cifar-100-binary"),
}
ARCHIVES = {
    "cifar-10-batches-py": "cifar-10-python.tar.gz",
    "cifar-10-batches-bin": "cifar-10-binary.tar.gz",
    "cifar-100-python": "cifar-100-python.tar.gz",
    "cifar-100-binary": "cifar-100-binary.tar.gz",
}
BATCHES = {
    "cifar-10-batches-py": {"train": [f"data_batch_{n}" for n in range(1, 6)], "test": ["test_batch"]},
    "cifar-10-batches-bin": {"train": [f"data_batch_{n}.bin" for n in range(1, 6)], "test": ["test_batch.bin"]},
    "cifar-100-python": {"train": ["train"], "test": ["test"]},
    "cifar-100-binary": {"train": ["train.bin"], "test": ["test.bin"]},
}


@dataclass(frozen=True)
class CifarFiles:
    """One published form of a data set: a folder or an archive."""

    form: str
    path: Path


def looked_for(name):
    """Return the names of the folders and archives that `find_cifar` looks for."""
    return [*FORMS[name], *dict.fromkeys(ARCHIVES[form] for form in FORMS[name])]


def find_cifar(name, roots):
    """Return the first `CifarFiles` of a data set in the folders `roots` (a root may be the folder or archive itself).
    """
    for root in roots:
        for form in FORMS[name]:
            if (root / form).is_dir():
                return CifarFiles(form, root / form)
            if any((root / file).is_file() for files in BATCHES[form].values() for file in files):
                return CifarFiles(form, root)
        for form in FORMS[name]:
            if (root / ARCHIVES[form]).is_file():
                return CifarFiles(form, root / ARCHIVES[form])
            if root.is_file() and root.name == ARCHIVES[form]:
                return CifarFiles(form, root)
    return None


def open_cifar(name, split, source, size=None):
    """Return the ImageSet of one split, labels 0..9 or 0..99 (the fine ones).

    Raises InputError naming a missing, broken or unexpected file.
    """
    names = BATCHES[source.form][split]
    files = _from_archive(source, names) if source.path.is_file() else _from_folder(source, names)
    read = _read_pickled if source.form.endswith(("py", "python")) else _read_binary
    parts = [read(name, data, where) for data, where in files]
    return _joined(name, split, parts, size)


def read_coarse_labels(split, source):
    """Return the (N,) int64 coarse labels, 0..19, of one split of CIFAR-100, in the order of its images.

    Raises InputError naming a missing, broken or unexpected file.
    """
    import numpy as np

    from common.formats.pickles import loads_plain

    names, labels = BATCHES[source.form][split], []
    for data, where in _from_archive(source, names) if source.path.is_file() else _from_folder(source, names):
        if source.form.endswith("binary"):
            part = _records("cifar100", data, where)[:, 0]
        else:
            part = plain_key(loads_plain(data, where), "coarse_labels", where)
        labels.append(check_labels(part, 0, COARSE_CLASSES - 1, where, "coarse_labels"))
    return np.concatenate(labels)


def _joined(name, split, parts, size):
    import numpy as np

    images, labels = zip(*parts)
    return ArrayImages(name, split, images, np.concatenate(labels), channels_first=True, size=size)


def _from_folder(source, names):
    """Yield (bytes, path) of each file, in order."""
    from common.files import system_errors

    for name in names:
        path = source.path / name
        with system_errors(path):
            if not path.is_file():
                raise InputError("no such file", where=path, do=f"Unpack {ARCHIVES[source.form]} from {PUBLISHED}")
            yield path.read_bytes(), path


def _from_archive(source, names):
    """Return [(bytes, 'archive: member')] of each file, in the order of `names`; one pass over the .tar.gz."""
    wanted, data = set(names), {}
    with (tar_errors(source.path, "not a complete .tar.gz", f"Download it again from {PUBLISHED}"),
          open_gzip(source.path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive):
        for member in tar_members(archive, LARGEST):
            path = PurePosixPath(member.name)
            if path.name in wanted and path.parent.name == source.form:
                data[path.name] = archive.extractfile(member).read()
                if len(data) == len(wanted):
                    break
    missing = [name for name in names if name not in data]
    if missing:
        raise InputError(
            f"no {source.form}/{missing[0]} in the archive", where=source.path, do=f"Download it again from {PUBLISHED}"
        )
    return [(data[name], f"{source.path}: {source.form}/{name}") for name in names]


def _read_pickled(name, data, where):
    """Return (n, 3, 32, 32) uint8 images and (n,) int64 labels of one pickled batch."""
    from common.formats.pickles import loads_plain

    entries = loads_plain(data, where)
    key = "labels" if name == "cifar10" else "fine_labels"
    labels = check_labels(plain_key(entries, key, where), 0, CLASSES[name] - 1, where, key)
    return check_planes(plain_key(entries, "data", where), labels, where), labels


def _read_binary(name, data, where):
    """Return (n, 3, 32, 32) uint8 images and (n,) int64 labels of one binary batch."""
    rows = _records(name, data, where)
    labels = check_labels(rows[:, -3073], 0, CLASSES[name] - 1, where)  # the byte before the pixels: the fine label
    return rows[:, -3072:].reshape(-1, 3, 32, 32), labels


def _records(name, data, where):
    """Return the records of a binary batch as rows of bytes: 1 label (CIFAR-100: coarse, fine), 3072 pixels."""
    import numpy as np

    record = (1 if name == "cifar10" else 2) + 3072
    if len(data) == 0 or len(data) % record:
        raise InputError(
            f"{len(data)} bytes, expected a multiple of {record}", where=where,
            do=f"Download the archive again from {PUBLISHED}"
        )
    return np.frombuffer(data, np.uint8).reshape(-1, record)
