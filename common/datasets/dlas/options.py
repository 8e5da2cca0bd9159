"""Data sets from the `options` dictionaries and configuration files that users of DL-Art-School have.

    blocks = load_options("train.yml")                     # {"train": {...}, "val": {...}}
    dataset = create_dataset(blocks["train"])              # by its "mode"
    loader = create_dataloader(dataset, blocks["train"])   # common.datasets.dlas.loader
"""

import importlib
import importlib.util

from common.datasets.dlas.loader import collate_items, create_dataloader
from common.datasets.dlas.option_values import OptionValues
from common.errors import InputError, nearest
from common.formats.settings import read_settings

__all__ = ["Options", "create_dataloader", "create_dataset", "known_modes", "load_options", "register_dataset"]

# Modules with MODES, {mode name: "module:Class"}.
REGISTRIES = ("common.datasets.dlas.chunked", "common.datasets.dlas.modes")
PHASES = ("train", "val")
_REGISTERED = {}  # mode -> class, of the user's own


class Options(dict):
    """A dictionary in which a missing key reads as None, as configurations were wrapped for the original."""

    def __missing__(self, key):
        return None


def known_modes():
    """Return {mode name: "module:Class", or the class of a registered one}; the classes' own names are modes, too."""
    modes = {}
    for name in REGISTRIES:
        if importlib.util.find_spec(name) is not None:
            modes |= importlib.import_module(name).MODES
    named = {place.partition(":")[2]: place for place in modes.values()}
    return {**named, **modes, **_REGISTERED}


def register_dataset(mode):
    """Return a class decorator that makes a class the data set of a mode, for `create_dataset`.

    The class is called with the block (Options, where a missing key reads as None). It may have REQUIRED, keys that
    must be there, and collate, the collate function of its loader. Raises InputError for a mode that is taken.
    """
    if not isinstance(mode, str) or not mode:
        raise InputError(f"{mode!r} is not a valid name of a mode", where="register_dataset", do="Pass a text")

    def register(kind):
        taken = known_modes().get(mode)
        # the same class of a module that is loaded again, as notebooks do, takes its own place
        if taken is not None and getattr(taken, "__qualname__", "") != kind.__qualname__:
            raise InputError(f"the mode '{mode}' is taken by {getattr(taken, '__qualname__', taken)}",
                             where="register_dataset", do="Choose another name")
        _REGISTERED[mode] = kind
        return kind

    return register


def create_dataset(options, return_collate=False):
    """Return the data set of a block's `mode`, built from the block; with return_collate, (data set, collate function).

    options: dictionary; a missing key and None read as the default.
    Raises InputError for a missing or unknown mode (with the nearest name), and for invalid keys of its class: all that
    are missing in one message.
    """
    if not isinstance(options, dict):
        raise InputError(f"options are of type {type(options).__name__}, expected a dictionary", where="options",
                         do="Pass the block of one data set")
    modes, mode = known_modes(), options.get("mode")
    if mode is None:
        raise InputError("the key 'mode' is missing", where="options",
                         do=f"Known: {', '.join(sorted(modes))}")
    if mode not in modes:
        raise InputError(f"unknown data set mode '{mode}'", where="mode", do=nearest(mode, modes))
    kind = modes[mode]
    if isinstance(kind, str):
        module, _, name = kind.partition(":")
        kind = getattr(importlib.import_module(module), name)
    check_required(options, getattr(kind, "REQUIRED", ()), mode)
    dataset = kind(wrap(options))
    return (dataset, getattr(dataset, "collate", collate_items)) if return_collate else dataset


def check_required(options, keys, mode):
    """Raise one InputError that lists every key of `keys` that is missing or None.

    A key may be a pair (key, unless): it is not required if the key `unless` is set.
    """
    missing = []
    for key in keys:
        key, unless = key if isinstance(key, tuple) else (key, None)
        if options.get(key) is None and not (unless and options.get(unless)):
            missing.append(key)
    if not missing:
        return
    if len(missing) == 1:
        raise OptionValues(options, mode).missing(missing[0])
    raise InputError(f"the keys {', '.join(repr(key) for key in missing)} are missing", where=mode,
                     do="Add them to the options")


def wrap(value, seen=None):
    """Return a copy of a value in which every dictionary, at any depth, reads missing keys as None.

    Values shared by YAML anchors stay shared (recursive anchors too), so that the copy is no larger than the value.
    """
    seen = {} if seen is None else seen
    if id(value) in seen:
        return seen[id(value)]
    if isinstance(value, dict):
        copy = seen[id(value)] = Options()
        copy.update((key, wrap(item, seen)) for key, item in value.items())
        return copy
    if isinstance(value, list):
        copy = seen[id(value)] = []
        copy += [wrap(item, seen) for item in value]
        return copy
    return value


def load_options(path):
    """Return {block name: Options} of the data set blocks of a .yml, .yaml or .json configuration.

    The blocks are those of the file's `datasets`; a file that is itself one block (it has a `mode`) is named train.
    Each gets `phase` (its name before the first "_"), `data_type` "img", and the file's `scale` if it has none, as in
    the original's loader, which takes the last value of a repeated key, too. Raises InputError for a file that is
    missing, damaged, or has no block.
    """
    value = read_settings(path, repeated_keys=True)
    if not isinstance(value, dict):
        raise InputError(f"is of type {type(value).__name__}, expected a mapping", where=path,
                         do="Use a configuration with 'datasets'")
    blocks = {"train": value} if "mode" in value and "datasets" not in value else value.get("datasets")
    if not isinstance(blocks, dict) or not blocks:
        raise InputError("no data set block: neither 'datasets' nor 'mode'", where=path,
                         do="Use a configuration with 'datasets'")
    wrapped = {}
    for name, block in blocks.items():
        if not isinstance(block, dict):
            raise InputError(f"the block '{name}' is of type {type(block).__name__}, expected a mapping", where=path,
                             do="Add its keys")
        options = wrap(block)
        options["phase"] = options["phase"] or str(name).split("_")[0]
        options["data_type"] = options["data_type"] or "img"
        if options["scale"] is None and value.get("scale") is not None:
            options["scale"] = value["scale"]
        wrapped[str(name)] = options
    return wrapped
