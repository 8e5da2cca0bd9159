"""Reading the `options` dictionary of a data set block: a missing key reads as None, and None as the default."""

import math
from collections.abc import Mapping
from numbers import Integral, Real

from common.errors import InputError, nearest

REQUIRED = object()
LARGEST = 1 << 16  # pixels of a side, images of a batch, repeats of a folder: more would never be done
LARGEST_BLUR = 1000.0  # times the usual width: kernels have thousands of pixels a side
SEEDS = 1 << 63  # what seeds stay below, and numbers that are compared with something else


class OptionValues:
    """One block's options; each reading method takes a key and a default, and raises an InputError naming the key.

    where: the block's name in messages (its mode).  Unused keys are ignored, as configurations have many (name,
    batch_size, n_workers, ...); for a missing required key the most similar of them is suggested.
    """

    def __init__(self, options, where):
        if not isinstance(options, Mapping):
            raise InputError(f"options are of type {type(options).__name__}, expected a dictionary", where=where,
                             do="Pass the data set block")
        self.block, self.where = options, where

    def get(self, key, default=None):
        """Return a value of any type, the default when it is missing or None; InputError if that is REQUIRED."""
        value = self.block.get(key) if key in self.block else None
        if value is not None:
            return value
        if default is REQUIRED:
            raise self.missing(key)
        return default

    def missing(self, key):
        """Return the InputError for a missing required key, suggesting the most similar key of the block."""
        from difflib import get_close_matches

        others = [str(name) for name, value in self.block.items() if value is not None]
        close = get_close_matches(key, others, n=1, cutoff=0.7)
        do = f"Is '{close[0]}' a typo?" if close else f"Add '{key}' to the options"
        return InputError(f"the key '{key}' is missing", where=self.where, do=do)

    def wrong(self, key, value, expected):
        """Return the InputError for a value of another type or range."""
        return InputError(f"'{key}' is {value!r}, expected {expected}", where=self.where,
                          do=f"Change '{key}' in the options")

    def integer(self, key, default=REQUIRED, low=1, high=LARGEST):
        """Return an integer from `low` to `high` (or the default, unchecked)."""
        value = self.get(key, default)
        if value is default:
            return value
        if not _is_number(value) or not math.isfinite(value) or value != int(value) or value < low:
            raise self.wrong(key, value, f"an integer of at least {low}")
        if value > high:
            raise self.wrong(key, value, f"an integer of at most {high:,}")
        return int(value)

    def number(self, key, default=REQUIRED, low=0.0, high=math.inf):
        """Return a number from `low` to `high`, not infinite, as float (or the default, unchecked)."""
        value = self.get(key, default)
        if value is default:
            return value
        if not _is_number(value) or not low <= value < math.inf:
            raise self.wrong(key, value, f"a number of at least {low:g}")
        if value > high:
            raise self.wrong(key, value, f"a number of at most {high:,g}")
        return float(value)

    def flag(self, key, default=False):
        """Return a bool. Integers convert as in Python, strings are an error."""
        value = self.get(key, default)
        if not isinstance(value, Integral):  # bool is one
            raise self.wrong(key, value, "true or false")
        return bool(value)

    def one_of(self, key, known, default=REQUIRED):
        """Return one of the `known` words (or the default, unchecked)."""
        value = self.get(key, default)
        if value is not default and value not in tuple(known):
            raise InputError(f"'{key}' is {value!r}", where=self.where, do=nearest(value, known))
        return value

    def names(self, key):
        """Return a list of strings, [] by default."""
        value = self.get(key, [])
        if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
            raise self.wrong(key, value, "a list of names")
        return list(value)

    def folders(self, key, weights_key=None):
        """Return [(folder, repeats)] of a path or a list of paths, with integer weights (default 1)."""
        value = self.get(key, REQUIRED)
        paths = list(value) if isinstance(value, (list, tuple)) else [value]
        if not paths or not all((isinstance(path, str) and path) or hasattr(path, "__fspath__") for path in paths):
            raise self.wrong(key, value, "a path, or a list of paths")
        weights = self.get(weights_key) if weights_key and isinstance(value, (list, tuple)) else None
        if weights is None:
            weights = [1] * len(paths)
        integers = isinstance(weights, (list, tuple)) and all(type(weight) is int and 0 <= weight <= LARGEST
                                                              for weight in weights)
        if not integers or len(weights) != len(paths) or not any(weights):
            raise self.wrong(weights_key, weights, f"{len(paths)} integers, one for each of '{key}', from 0 to "
                             f"{LARGEST:,} and not all 0")
        return list(zip(paths, weights))


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool)
