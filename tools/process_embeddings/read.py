"""Sets of activations named on the command line: records, and rows read on demand."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.activations import open_activations
from common.errors import InputError, nearest
from common.formats.rows import FirstRows


@dataclass
class ActivationSet:
    """One set: `records` as in its dataset_info.json (`info` without them), `rows` (N, D) float32 in the same order.

    root: the folder that image paths are relative to.  layers: {name: features}, in column order.
    cheap: whether rows are cheap to read repeatedly; those of .npz files may be inflated each time.
    """

    name: str
    model: str
    root: Path
    info: dict
    records: list
    rows: object
    layers: dict
    cheap: bool


def open_set(word, data_dir, layer="all", limit=None):
    """Return the ActivationSet that `[NAME=][DIR:]MODEL` names.

    layer: "all" or comma-separated names.  limit: only the first so many samples.
    Raises InputError for missing or foreign files, unknown layers and an empty set.
    """
    name, root, model = parse_word(word, data_dir)
    activations = open_activations(root, model)
    rows = activations.rows(_pick_layers(layer, activations.layers))
    records = activations.records[:limit]
    if activations.form == "npz":
        _check_files(activations, len(records))
    info = {key: value for key, value in activations.info.items() if key != "samples"}
    return ActivationSet(name, model, root, info, records, FirstRows(rows, len(records)),
                         {source.layer: source.width for source in rows.sources}, activations.form != "npz")


def parse_word(word, data_dir):
    """Return (name, root, model) of `[NAME=][DIR:]MODEL`."""
    name, equals, rest = word.rpartition("=")
    folder, colon, model = rest.rpartition(":")
    if not model or "/" in model or (equals and not name):
        raise InputError("invalid name of a set", where=word, do="Write MODEL, DIR:MODEL or NAME=DIR:MODEL")
    return name or model, Path(folder if colon else data_dir), model


def map_stem(options):
    """Return the path of a map's files without suffix."""
    base, further = ([parse_word(word, options.data_dir)[0] for word in words]
                     for words in (options.models or [options.model], options.project))
    more = ["+".join(_names_in(options.layer)), options.metric if options.metric != "euclidean" else ""]
    return Path(options.output_dir) / file_stem(base, further, options.n_neighbors, options.min_dist, more)


def _pick_layers(layer, known):
    """Return the layers asked for, None for all."""
    names = _names_in(layer)
    if not names:
        return None
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"no activations of layer '{unknown[0]}'", where="--layer", do=nearest(unknown[0], known))
    return names


def _names_in(layer):
    """Return the sorted layers of --layer, none for all of them."""
    names = {name.strip() for name in layer.split(",")} - {""}
    return [] if names == {"all"} else sorted(names)


def _check_files(activations, count):
    """Raise InputError, before any slow work, for a sample whose file is missing."""
    for path in dict.fromkeys(activations.npz_path(number)[0] for number in range(count)):
        if not path.is_file():
            raise InputError("missing activations of a sample", where=path, do="Extract them again")


class JoinedRows:
    """The rows of several sets, concatenated."""

    def __init__(self, parts, cheap=True):
        self.parts, self.cheap = list(parts), cheap
        self.shape = (sum(part.shape[0] for part in self.parts), self.parts[0].shape[1])

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, span):
        start, stop, _ = span.indices(len(self))
        pieces, first = [], 0
        for part in self.parts:
            low, high = max(start - first, 0), min(stop - first, part.shape[0])
            if low < high:
                pieces.append(part[low:high])
            first += part.shape[0]
        return pieces[0] if len(pieces) == 1 else np.concatenate([np.empty((0, self.shape[1]), np.float32), *pieces])


def check_alike(sets):
    """Raise InputError unless all sets have the same layers of the same sizes and different names."""
    first = sets[0]
    for other in sets[1:]:
        if other.layers != first.layers:
            raise InputError(f"has layers {_sizes(other)}, '{first.name}' has {_sizes(first)}", where=other.name,
                             do="Select common ones with --layer, or extract both sets alike")
    names = [item.name for item in sets]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError("two sets have this name", where=twice, do="Write NAME=DIR:MODEL to distinguish them")


def _sizes(item):
    return ", ".join(f"{name} ({size})" for name, size in item.layers.items())


def file_stem(names, projected, n_neighbors, min_dist, more=()):
    """Return the published stem of output files, such as imagenet_real_umap_n15_d0.1.

    Several names are joined by +; projected sets come first: imagenet_in_imagenet_real_umap_...
    more: layers and metric where they are not the usual ones, so that such maps lie side by side: ..._midblock_cosine.
    """
    sets = f"{'+'.join(projected)}_in_{'+'.join(names)}" if projected else "+".join(names)
    parts = [f"{sets}_umap_n{n_neighbors}_d{min_dist}", *filter(None, more)]
    return re.sub(r"[^\w.+-]", "_", "_".join(parts))
