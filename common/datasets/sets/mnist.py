"""MNIST and Fashion-MNIST from the original idx files, plain or gzipped (LeCun et al. 1998; Xiao et al. 2017).

idx: two zero bytes, 8 for uint8, the number of axes, each length as a big-endian 32-bit number, then the values.
"""

from pathlib import Path

from common.datasets.sets.imageset import ArrayImages
from common.datasets.sets.locate import check_labels, missing_data
from common.errors import InputError
from common.formats.tars import open_gzip, tar_errors
from common.numerals import counted

PUBLISHED = {"mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
             "fmnist": "https://github.com/zalandoresearch/fashion-mnist"}
FOLDERS = {"mnist": "MNIST", "fmnist": "FashionMNIST"}
STEMS = {"train": "train", "test": "t10k"}
KINDS = ("images-idx3-ubyte", "labels-idx1-ubyte")


def read_mnist(name, split, root):
    """Return (images (N, 28, 28) uint8, labels (N,) int64 0..9) of one split below a folder.

    name: mnist or fmnist.  split: train or test.  root: as torchvision's (files in root/MNIST/raw), or the files'
    folder. Raises InputError when the files are missing (nothing is downloaded), broken or of another layout.
    """
    return _read(name, split, [root])


def open_mnist(name, split, roots, size=None):
    """Return the ImageSet of one split from the first of the folders `roots` that has it; as read_mnist."""
    images, labels = _read(name, split, roots)
    return ArrayImages(name, split, [images[..., None]], labels, size=size)


def idx_name(folder):
    """Return fmnist or mnist, by a folder's path, when it holds idx files of images, else None."""
    folder = Path(folder)
    names = ("FashionMNIST", "fmnist", "fashion")
    known = "fmnist" if any(name.lower() in part.lower() for name in names for part in folder.parts[-3:]) else "mnist"
    return known if _lookup(known, f"{STEMS['train']}-{KINDS[0]}", [folder]) else None


def _read(name, split, roots):
    paths = [_find(name, f"{STEMS[split]}-{kind}", roots, split) for kind in KINDS]
    images, labels = (_read_idx(path, axes) for path, axes in zip(paths, (3, 1)))
    labels = check_labels(labels, 0, 9, paths[1], do=f"Download it again from {PUBLISHED[name]}")
    if len(images) != len(labels) or not len(images):
        raise InputError(f"{counted(len(images), 'image')} and {len(labels)} labels", where=paths[0],
                         do=f"Download both files again from {PUBLISHED[name]}")
    return images, labels


def _find(name, stem, roots, split):
    """Return the path of one file, gzipped or not, in the usual folders below the roots."""
    found = _lookup(name, stem, roots)
    if found is None:
        raise missing_data(name, split, [f"{stem}[.gz]"], [Path(root) for root in roots], PUBLISHED[name],
                           f"put it in {Path(roots[-1]) / FOLDERS[name] / 'raw'}")
    return found


def _lookup(name, stem, roots):
    for root in map(Path, roots):
        for folder in (root / FOLDERS[name] / "raw", root / "raw", root):
            for file in (stem, stem.replace("-idx", ".idx"), f"{stem}.gz"):  # .idx: in some mirrors
                if (folder / file).is_file():
                    return folder / file
    return None


def _read_idx(path, axes):
    import numpy as np

    do = "Download the file again"
    with (tar_errors(path, "not a complete .gz", do),
          open_gzip(path) if path.suffix == ".gz" else open(path, "rb") as stream):
        data = stream.read()
    head = 4 + 4 * axes
    shape = [int.from_bytes(data[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(axes)]
    if data[:4] != bytes([0, 0, 8, axes]) or len(data) != head + int(np.prod(shape, dtype=object)):
        raise InputError(f"not an idx file of uint8 with {axes} axes", where=path, do=do)
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)
