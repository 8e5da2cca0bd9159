"""Images to be scored, one by one in a fixed order: folders, zips, arrays, data sets, sample folders.

A source has `what` (a description), len(), `title(i)`, `load(i)` -> (H, W, 3) uint8 or float32 in 0..255, and
`identity()` -> a digest of the images' contents in order. Images may differ in size.
"""

import hashlib
import json
import re
from pathlib import Path

from common.datasets.sets.folders import FolderStore, list_images
from common.errors import InputError, nearest
from common.features.archives import LISTS, PARQUETS, TARS, open_archive
from common.features.subset import choose_subset
from common.images.decode import decode
from common.images.suffixes import SUFFIXES
from common.numerals import counted

ARCHIVES = (*TARS, *PARQUETS, *LISTS)
ENDINGS = (*SUFFIXES, ".npy")  # as in clean-fid, which reads an array in a .npy as one image


def open_images(place, num=None, shuffle=False, split="train", data_dir=None):
    """Return the source at a place: a folder (nested too), a .zip, .tar or .parquet, an array, a list, or a data set.

    A folder may hold shards (.tar or .parquet); a list is a .txt of paths, a .npz or .npy holds an array of images.

    num, shuffle: use the first num paths in plain string order, optionally shuffled with seed 0, as in clean-fid (of
    arrays and data sets: their rows).  split, data_dir: for data set names alone.
    In a folder with samples_<round>.npz files (of qc_ncsn) these are the images; pictures beside them are grids.
    Raises InputError when the place does not exist or has no images.
    """
    path = Path(place)
    if path.is_dir():
        return _open_folder(path, num, shuffle)
    if path.is_file() and path.suffix.lower() == ".zip":
        return _open_zip(path, num, shuffle)
    if path.is_file() and path.suffix.lower() in (".npz", ".npy"):
        from common.datasets.sets.npz import open_npz

        return ArrayRows(open_npz(path, "all"), str(path), num, shuffle)
    if path.is_file() and path.suffix.lower() in ARCHIVES:
        return _open_archive([path], path, num, shuffle)
    if path.exists():
        raise InputError("neither a folder nor a .zip, .tar, .parquet, .npz, .npy or .txt file", where=place,
                         do="Pass one of these")
    return _open_known(str(place), num, shuffle, split, data_dir)


def _open_folder(path, num, shuffle):
    from common.files import system_errors

    with system_errors(path):
        names = sorted(list_images(path, (*ENDINGS, ".npz")))
    samples = _sample_files([path / name for name in names if name.endswith(".npz")])
    if samples:
        return SampleFiles(samples, str(path), num, shuffle)
    names = [name for name in names if not name.lower().endswith(".npz") and not _is_overview(path / name)]
    shards = [] if names else sorted(entry for entry in path.iterdir() if entry.suffix.lower() in (*TARS, *PARQUETS))
    if shards:
        kind = shards[0].suffix.lower()
        return _open_archive([shard for shard in shards if shard.suffix.lower() == kind], path, num, shuffle)
    if not names:
        raise InputError(f"no images here (looked for {', '.join(ENDINGS)})", where=path, do="Check the path")
    chosen = choose_subset(names, num, shuffle)
    return FileImages(FolderStore(path, chosen), f"{path} ({counted(len(chosen), 'image')})")


def _open_archive(paths, place, num, shuffle):
    store = open_archive(paths, ENDINGS)
    if not len(store):
        raise InputError(f"no images in it (looked for {', '.join(ENDINGS)})", where=place, do="Check the file")
    chosen = store.only(choose_subset(range(len(store)), num, shuffle))
    return FileImages(chosen, f"{place} ({counted(len(chosen), 'image')})")


def _is_overview(path):
    """True for the reduced whole photo that a chunked data set holds beside its tiles."""
    return path.name == "ref.jpg" and path.with_name("centers.pt").exists()


def _sample_files(files):
    """Return the samples_<round>.npz among some files, in natural order."""
    samples = [path for path in files if re.fullmatch(r"samples_\d+", path.stem)]
    return sorted(samples,
                  key=lambda path: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", str(path))])


def _open_zip(path, num, shuffle):
    from common.datasets.sets.zip import ZipStore, zip_names

    names = zip_names(path, ENDINGS)
    if not names:
        raise InputError(f"no images in it (looked for {', '.join(ENDINGS)})", where=path, do="Check the archive")
    chosen = choose_subset(sorted(names), num, shuffle)
    return FileImages(ZipStore(path, chosen), f"{path} ({counted(len(chosen), 'image')})")


def _open_known(name, num, shuffle, split, data_dir):
    from common.datasets import KNOWN, open_dataset

    if name.lower() not in KNOWN:
        raise InputError("no such folder, file or data set", where=name, do=nearest(name, KNOWN))
    return ArrayRows(open_dataset(name, split, data_dir), f"{name}, {split} split", num, shuffle)


class FileImages:
    """Image files of a folder or a zip (a `datasets` store), decoded when asked for.

    unreadable: indices of the images that could not be read when their `identity` was made.
    """

    def __init__(self, store, what):
        self._store, self.what, self.unreadable = store, what, set()

    def __len__(self):
        return len(self._store)

    def title(self, index):
        """Return an image's path."""
        return str(self._store.title(index))

    def names(self):
        """Return the images' paths within their folder or archive; None for a list or a parquet file."""
        return [self._store.name(index) for index in range(len(self))] if hasattr(self._store, "name") else None

    def classes(self):
        """Return the name of each image's class, the folder that holds it at the top; None where some lie in none."""
        parts = [name.partition("/") for name in self.names() or ()]
        return [folder for folder, *_ in parts] if parts and all(slash for _, slash, _ in parts) else None

    def load(self, index):
        """Return one image; InputError naming the file when it cannot be read."""
        title = self.title(index)
        data = self._store.read(index)
        return read_array(data, title) if title.lower().endswith(".npy") else decode(data, title)

    def identity(self):
        """Return a digest of the files' contents in order; hashes of unchanged files come from the cache."""
        return hashlib.sha256("\n".join(self._hashes()).encode()).hexdigest()

    def keys(self):
        """Return what identifies each image's contents, None for one that could not be read."""
        kinds = [self.title(index).lower().endswith(".npy") for index in range(len(self))]
        return [None if index in self.unreadable else f"file {found} {is_array}"
                for index, (found, is_array) in enumerate(zip(self._hashes(), kinds))]

    def _hashes(self):
        from common.features.content import UNREADABLE, content_hashes

        hashes = content_hashes(self._store)
        self.unreadable = {index for index, found in enumerate(hashes) if found == UNREADABLE}
        return hashes


def read_array(data, where):
    """Return the image in the bytes of a .npy file: (H, W), (H, W, 1) or (H, W, 3), uint8 or float in 0..255."""
    import io

    import numpy as np

    from common.formats.npy import read_npy

    try:
        array = read_npy(io.BytesIO(data), len(data))
    except (ValueError, EOFError) as error:
        raise InputError(f"not a readable .npy image ({error})", where=where,
                         do="Restore or remove this file") from error
    array = array[..., None] if array.ndim == 2 else array
    is_image_array = array.ndim == 3 and array.shape[2] in (1, 3) and 0 not in array.shape
    if not is_image_array or array.dtype.kind not in "uf" or array.dtype == np.uint16:
        raise InputError(f"an array {array.dtype} {array.shape}, expected uint8 or float (height, width, 1 or 3)",
                         where=where, do="Restore or remove this file")
    array = array if array.dtype == np.uint8 else _in_bytes_range(array.astype(np.float32), where)
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)))


def _in_bytes_range(array, where):
    """Return a float image; InputError for one whose values are clearly no grey levels: within -1 to 1, or far outside
    0 to 255, which a resize overshoots by half at most."""
    low, high = float(array.min()), float(array.max())
    if (low >= -1 and high <= 1 and low < high) or low < -128 or high > 383:
        raise InputError(f"its values run from {low:.4g} to {high:.4g}, expected 0 to 255", where=where,
                         do="Store grey levels from 0 to 255")
    return array


class ArrayRows:
    """The images of an ImageSet (a data set, or an array in a file), or some of them."""

    def __init__(self, images, what, num=None, shuffle=False):
        self._images = images
        self._order = choose_subset(list(range(len(images))), num, shuffle)
        self.what = f"{what} ({counted(len(self._order), 'image')})"

    def __len__(self):
        return len(self._order)

    def title(self, index):
        """Return an image's name in messages."""
        return f"{self._images.name}: image {self._order[index]}"

    def classes(self):
        """Return the name of each image's class, its label as text; None without labels."""
        labels = self._images.labels
        return None if labels is None else [str(int(labels[row])) for row in self._order]

    def load(self, index):
        """Return one image (H, W, 3)."""
        import numpy as np

        image = self._images.read([self._order[index]])[0]
        return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))

    def identity(self):
        """Return a digest of the set and the order."""
        return hashlib.sha256(f"{self._content()} {self._order}".encode()).hexdigest()

    def keys(self):
        """Return what identifies each image: the set and its row."""
        content = self._content()
        return [f"{content} {row}" for row in self._order]

    def _content(self):
        """Return a hash of the set's contents; a file may have any name."""
        content = _without_names(self._images.fingerprint())
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _without_names(content):
    """Return a set's fingerprint without the names of files, the set's own among them."""
    files = [{key: value for key, value in file.items() if key != "name"} for file in content.get("files", ())]
    return {**content, "name": None, "files": files} if files else content


class SampleFiles:
    """The `samples` (n, H, W, 1 or 3) uint8 of samples_<round>.npz files, one file in memory at a time."""

    def __init__(self, files, what, num=None, shuffle=False):
        import numpy as np

        from common.formats.npz import npz_shape

        self._files, counts = files, []
        for path in files:
            shape, dtype = npz_shape(path, "samples")
            if dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3):
                raise InputError(f"'samples' is {dtype} {shape}, expected uint8 (n, height, width, 1 or 3)", where=path,
                                 do="Draw these samples again")
            counts.append(shape[0])
        self._ends = np.cumsum(counts)
        self._order = choose_subset(list(range(int(self._ends[-1]))), num, shuffle)
        self.what = f"{what} ({counted(len(self._order), 'image')} in {counted(len(files), 'sample file')})"
        self._cached = (None, None)  # (path, its images)

    def __len__(self):
        return len(self._order)

    def _place(self, index):
        import numpy as np

        number = int(np.searchsorted(self._ends, self._order[index], side="right"))
        return self._files[number], int(self._order[index] - (self._ends[number - 1] if number else 0))

    def title(self, index):
        """Return a sample's file and row."""
        path, row = self._place(index)
        return f"{path}: sample {row}"

    def load(self, index):
        """Return one sample (H, W, 3) uint8."""
        import numpy as np

        from common.files import read_npz

        path, row = self._place(index)
        cached_path, images = self._cached
        if cached_path != path:
            images = read_npz(path, required=("samples",))["samples"]
            self._cached = (path, images)
        return np.ascontiguousarray(np.broadcast_to(images[row], (*images.shape[1:3], 3)))

    def identity(self):
        """Return a digest of the files and the order."""
        from common.files import file_hash

        hashes = [*map(file_hash, self._files), hashlib.sha256(str(self._order).encode()).hexdigest()]
        return hashlib.sha256("\n".join(hashes).encode()).hexdigest()

    def keys(self):
        """Return what identifies each image: its file's contents and its row."""
        from common.files import file_hash

        hashes = {path: file_hash(path) for path in self._files}
        places = (self._place(index) for index in range(len(self)))
        return [f"samples {hashes[path]} {row}" for path, row in places]
