"""Which coordinates of a StyleSpace code are selected."""

import re
from pathlib import Path

from common.errors import InputError


def find_dims(word, num_dims):
    """Return (indices, names) of the coordinates that --dims names, for files of num_dims coordinates."""
    from common.style_space import NAMED_DIMS

    if word in NAMED_DIMS:
        dims = [dim.flat for dim in NAMED_DIMS[word]]
        if max(dims) >= num_dims:
            raise InputError(f"is for another generator: dim {max(dims)} of {num_dims}", where=f"--dims {word}",
                             do="Pass --dims all, numbers, or a file of numbers")
        return dims, [dim.name for dim in NAMED_DIMS[word]]
    if word == "all":
        dims = list(range(num_dims))
    else:
        text = word if re.fullmatch(r"[0-9,\s]+", word) else _read_dims(word)
        if not re.fullmatch(r"[0-9,\s]*", text) or not re.search("[0-9]", text):
            raise InputError("expected whole numbers", where=f"--dims {word}", do="Separate them by commas or lines")
        dims = [int(item) for item in re.split(r"[,\s]+", text.strip().strip(",")) if item]
    if len({*dims}) < len(dims):
        raise InputError("a dim is named twice", where=f"--dims {word}", do="Name each dim once")
    if max(dims) >= num_dims:
        raise InputError(f"dim {max(dims)} is not among the {num_dims} coordinates", where=f"--dims {word}",
                         do=f"Dims are 0 to {num_dims - 1}")
    return dims, [f"dim_{dim}" for dim in dims]


def _read_dims(word):
    from common.formats.text import read_text

    if not Path(word).exists():
        raise InputError("neither a known set, numbers, nor a file", where=f"--dims {word}",
                         do="Pass ffhq33, clevr28, all, numbers separated by commas, or a file of numbers")
    return read_text(word)
