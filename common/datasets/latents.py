"""Images with the latents that made them: img_00001.png beside latents_00001.npz, in flat or nested folders.

Back-projected photographs are paired in the same way: x-project_1.png with x-latents_1.npz, whose keys are
optimized_sv and optimized_w. Paths are in natural order, img_2 before img_10, and pairs go by name alone.

| key of latents_*.npz | shape | content |
|---|---|---|
| style_vectors (optimized_sv) | D numbers in any shape | the StyleSpace code |
| wplus (optimized_w) | (num_latents, style_dim) | the W+ code |
| mean_, min_, max_style_space_vector | D numbers | statistics, optional |
| style_dims | (V + 1,) | widths of the style vectors behind a 0, optional |
| seed, index, truncation, resize_factor, noise, generator | | how the picture was made, in files of generate_ffhq |
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

import torch

from common.datasets.degradations import LEVELS, corrupt
from common.datasets.sets.folders import list_images
from common.errors import InputError, Parameter
from common.files import read_npz, read_regular, system_errors
from common.formats.text import read_lines
from common.images.decode import decode
from common.images.suffixes import SUFFIXES, is_image
from common.seeding import unit_generator

CODE, WPLUS = ("style_vectors", "optimized_sv"), ("wplus", "optimized_w")
STATISTICS = ("mean", "min", "max")
RECORD = ("seed", "index", "truncation", "resize_factor", "noise", "generator")
NAMES = ((r"^img_", "latents_"), (r"-project_", "-latents_"))  # of an image -> of its latents
AGAIN = "Make or copy the file again"


@dataclass(frozen=True)
class Pair:
    """An image and its latents. name: the image's path below the folder, with slashes.  latents: None where there are
    none."""

    name: str
    image: Path
    latents: Optional[Path]


@dataclass
class Latents:
    """What a latents file holds.

    style_vectors: (D,) float32.  wplus: (num_latents, style_dim) float32 or None.  statistics: those of {"mean", "min",
    "max": (D,) float32} that are there.  style_dims: int64 (V + 1,) with a leading 0, or None.  record: those of {name
    of RECORD: number or text} that are there.
    """

    style_vectors: object
    wplus: Optional[object] = None
    statistics: dict = field(default_factory=dict)
    style_dims: Optional[object] = None
    record: dict = field(default_factory=dict)


def natural_key(path):
    """Return what sorts paths naturally: folder by folder, numbers in names by their value, equal ones by spelling."""
    parts = str(path).split("/")
    return [[int(part) if place % 2 else part for place, part in enumerate(re.split(r"(\d+)", name))]
            for name in parts], parts


def latents_name(name):
    """Return the path of an image's latents, whether or not they are there; None for a name that has no partner."""
    folder, file = os.path.split(name)
    stem = os.path.splitext(file)[0]
    for pattern, partner in NAMES:
        if re.search(pattern, stem):
            return os.path.join(folder, re.sub(pattern, partner, stem, count=1) + ".npz")
    return None


def find_pairs(folder, need_latents=False):
    """Return the Pairs of all images below a folder, in natural order.

    Raises InputError for a folder without images, for two images of one latents file and, with need_latents, naming the
    first image without latents.
    """
    folder = Path(folder)
    with system_errors(folder):
        os.scandir(folder).close()
    names = list(list_images(folder, (*SUFFIXES, ".npz", ".npy")))
    images, others = sorted(filter(is_image, names), key=natural_key), {name for name in names if not is_image(name)}
    if not images:
        raise InputError("no images here", where=folder, do="Pass a folder of images, img_*.png with latents_*.npz")
    partners = [latents_name(name) for name in images]
    pairs = [Pair(name, folder / name, folder / partner if partner in others else None)
             for name, partner in zip(images, partners)]
    _check_one_each(pairs)
    missing = [index for index, pair in enumerate(pairs) if pair.latents is None]
    if need_latents and missing:
        partner = partners[missing[0]]
        looked = f"no {os.path.basename(partner)}" if partner else "its name is neither img_* nor *-project_*"
        raise InputError(f"has no latents: {looked} (none for {len(missing):,} of {len(pairs):,} images)",
                         where=pairs[missing[0]].image, do="Restore the file, or remove the image")
    return pairs


def _check_one_each(pairs):
    first = {}
    for pair in pairs:
        if pair.latents is not None and first.setdefault(pair.latents, pair) is not pair:
            raise InputError(f"has the latents of {first[pair.latents].image}, too: {pair.latents.name}",
                             where=pair.image, do="Keep one image of each name")


def orphans(folder, pairs):
    """Return the latents files of a folder whose images are missing, in natural order."""
    known = {pair.latents for pair in pairs}
    found = [name for name in list_images(folder, (*SUFFIXES, ".npz", ".npy"))
             if re.search(r"(^|/)latents_[^/]*\.npz$|-latents_[^/]*\.npz$", name)]
    return [Path(folder) / name for name in sorted(found, key=natural_key) if Path(folder) / name not in known]


def read_latents(path, num_dims=None):
    """Return the Latents of a file; keys that nobody here knows are left alone.

    num_dims: D, if the code must have so many numbers.  Raises InputError naming the file when it is missing, damaged,
    holds Python objects, NaN or infinity, or arrays whose sizes do not agree.
    """
    vectors = [f"{name}_style_space_vector" for name in STATISTICS]
    try:
        arrays = read_npz(path, optional=(*CODE, *WPLUS, *vectors, "style_dims", *RECORD))
    except InputError as error:
        if "Python objects" not in error.what:
            raise
        raise InputError("an array of it holds Python objects", where=path,
                         do="Save numpy.concatenate(list) instead") from error
    key = next((key for key in CODE if key in arrays), None)
    if key is None:
        raise InputError(f"has no array '{CODE[0]}'", where=path,
                         do="Pass latents of generate_ffhq, or of a projection")
    code = _numbers(arrays, key, path).reshape(-1)
    if num_dims is not None and code.size != num_dims:
        raise InputError(f"'{key}' has {code.size:,} numbers, expected {num_dims:,}", where=path,
                         do="Use images of the generator that the encoder was trained for")
    statistics = {name: _numbers(arrays, vector, path, code.size).reshape(-1)
                  for name, vector in zip(STATISTICS, vectors) if vector in arrays}
    return Latents(code, _wplus(arrays, path), statistics, _style_dims(arrays, code.size, path), _record(arrays, path))


def check_generator(seen, latents, pair):
    """Raise InputError where latents come from a different generator, whose codes mean something else.

    seen: {hash of a generator: its first Pair}, filled here.
    """
    generator = latents.record.get("generator")
    if generator is None:
        return
    seen.setdefault(generator, pair)
    if len(seen) > 1:
        first = next(iter(seen.values())).latents
        raise InputError(f"comes from a different generator than {first}", where=pair.latents,
                         do="Keep the images of each generator in a separate folder")


def _numbers(arrays, key, path, size=None):
    """Return an array as float32, of `size` numbers if that is given."""
    import numpy as np

    array = arrays[key]
    if array.dtype.kind != "f" or array.size == 0 or (size is not None and array.size != size):
        expected = "floats" if size is None else f"{size:,} floats"
        raise InputError(f"'{key}' is {array.dtype} {array.shape}, expected {expected}", where=path, do=AGAIN)
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise InputError(f"'{key}' holds NaN or infinity", where=path, do=AGAIN)
    return array


def _wplus(arrays, path):
    key = next((key for key in WPLUS if key in arrays), None)
    if key is None:
        return None
    wplus = _numbers(arrays, key, path)
    if wplus.ndim < 2:
        raise InputError(f"'{key}' has shape {wplus.shape}, expected (rows, style_dim)", where=path, do=AGAIN)
    return wplus.reshape(-1, wplus.shape[-1])


def _style_dims(arrays, size, path):
    import numpy as np

    dims = arrays.get("style_dims")
    if dims is None or dims.ndim == 0:  # newer files hold D alone
        return None
    if dims.dtype.kind not in "iu" or dims.ndim != 1 or dims.min(initial=0) < 0 or int(dims.sum()) != size:
        raise InputError(f"'style_dims' {dims.dtype} {dims.shape} is not made of widths whose sum is {size:,}",
                         where=path, do=AGAIN)
    return np.int64(dims if dims[0] == 0 else [0, *dims])


def _record(arrays, path):
    """Return {name: number or text} of how the picture was made."""
    record = {}
    for name in RECORD:
        if name in arrays:
            if arrays[name].size != 1 or arrays[name].dtype.kind not in "iufU":
                raise InputError(f"'{name}' is {arrays[name].dtype} {arrays[name].shape}, expected one value",
                                 where=path, do=AGAIN)
            record[name] = arrays[name].reshape(-1)[0].item()
    factor = record.get("resize_factor", 1)
    if not isinstance(factor, int) or factor < 1:
        raise InputError(f"'resize_factor' is {factor}, expected 1 or more", where=path, do=AGAIN)
    return record


class FFHQCorruptedDataset(torch.utils.data.Dataset):
    """Images below a folder, corrupted, with their latents (the extension experiments' class, for old scripts).

    source_transform, target_transform: Pillow image -> (3, H, W) float32 in [-1, 1].  corruption_level: mild, moderate,
    severe, extreme or none.  filelist: paths, absolute or below db_path, or a text file with one in each line; None for
    all images below db_path, flat or nested, in natural order.
    An item is (corrupted, target, style_vectors (D,), wplus, path); the latents are None where there are none. A
    corruption depends on the image's path below db_path alone.
    Raises InputError for a folder without images, an unreadable image, damaged latents.
    """

    def __init__(self, db_path, source_transform, target_transform, corruption_level="mild", filelist=None):
        if corruption_level not in LEVELS:
            raise InputError(f"unknown level '{corruption_level}'", where=Parameter("corruption_level"),
                             do=f"Use {', '.join(LEVELS)}")
        self.db_path, self.corruption_level = Path(db_path), corruption_level
        self.source_transform, self.target_transform = source_transform, target_transform
        self.pairs = find_pairs(db_path) if filelist is None else [self._pair(name) for name in _lines(filelist)]

    def _pair(self, name):
        image = self.db_path / name  # an absolute name stands as it is
        partner = latents_name(str(image))
        return Pair(os.path.relpath(image, self.db_path), image,
                    Path(partner) if partner and os.path.exists(partner) else None)

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        from PIL import Image

        pair = self.pairs[index]
        with system_errors(pair.image):
            data = read_regular(pair.image)
        image = Image.fromarray(decode(data, pair.image))
        generator = unit_generator(0, "corruption", pair.name)
        corrupted = corrupt(self.source_transform(image), self.corruption_level, generator)
        latents = Latents(None) if pair.latents is None else read_latents(pair.latents)
        codes = (None if code is None else torch.from_numpy(code) for code in (latents.style_vectors, latents.wplus))
        return corrupted, self.target_transform(image), *codes, str(pair.image)


def _lines(filelist):
    """Return the paths of a list, or of a text file with one in each line."""
    if not isinstance(filelist, (str, os.PathLike)):
        return list(filelist)
    return read_lines(filelist)
