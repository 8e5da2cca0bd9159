"""Sets of activations on disk: their records, and their rows without holding them all.

Three layouts are read: batch files (`activations/MODEL/batch_000000.npz`, one array per layer), the old one with a file
per sample, and one flat `.npy` beside a `.npy.json` that names its layers.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import InputError, nearest
from common.files import read_json, read_npz
from common.npz_stream import npz_names, npz_shape


@dataclass
class ActivationSet:
    """One set: `records` as in its dataset_info.json (`info` without them), `rows` (N, D) float32 in the same order.

    root: the folder that image paths are relative to.  layers: {name: features}, in the order of the columns.
    """

    name: str
    model: str
    root: Path
    info: dict
    records: list
    rows: object
    layers: dict


def open_set(word, data_dir, layer="all", limit=None):
    """Return the ActivationSet that `[NAME=][DIR:]MODEL` names.

    layer: "all" or names by commas.  limit: only the first so many samples.
    Raises InputError for missing or foreign files, unknown layers and an empty set.
    """
    name, root, model = parse_word(word, data_dir)
    path = root / "metadata" / model / "dataset_info.json"
    if not path.is_file():
        known = sorted(found.parent.name for found in root.glob("metadata/*/dataset_info.json"))
        do = nearest(model, known) if known else "Name the tree with --data_dir; extract_real_imagenet and generate_dataset write it"
        raise InputError("no such set of activations", where=path, do=do)
    info = read_json(path)
    records = info.pop("samples", None) if isinstance(info, dict) else None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise InputError("holds no list 'samples' of records", where=path, do="Restore the file")
    records = records[:limit]
    if not records:
        raise InputError("has no samples", where=path, do="Extract some first, or correct --max_samples")
    rows = _open_rows(root, model, records, _chosen(layer))
    return ActivationSet(name, model, root, info, records, rows, rows.layers)


def parse_word(word, data_dir):
    """Return (name, root, model) of `[NAME=][DIR:]MODEL`."""
    name, equals, rest = word.rpartition("=")
    folder, colon, model = rest.rpartition(":")
    if not model or "/" in model or (equals and not name):
        raise InputError("no set is written so", where=word, do="Write MODEL, DIR:MODEL or NAME=DIR:MODEL")
    return name or model, Path(folder if colon else data_dir), model


def _chosen(layer):
    """Return the layers asked for, or None for all."""
    names = [name.strip() for name in layer.split(",") if name.strip()]
    return None if names in ([], ["all"]) else names


def _open_rows(root, model, records, chosen):
    folder = root / "activations" / model
    for flat in (folder.with_name(f"{model}.npy"), *sorted(folder.glob("*.npy"))):
        if flat.with_name(f"{flat.name}.json").is_file():
            return FlatRows(flat, len(records), chosen)
    return FileRows([(_activation_file(root, model, record), record.get("batch_index")) for record in records], chosen)


def _activation_file(root, model, record):
    """Return the file of one sample, whichever of the known ways its record names it."""
    named = record.get("activation_path") or f"activations/{model}/{record.get('sample_id', 'sample')}"
    return root / (named if str(named).endswith(".npz") else f"{named}.npz")


class FileRows:
    """Rows out of .npz files, one file held at a time; `rows[start:stop]` is float32 (n, D)."""

    cheap = False  # a file may have to be inflated for each row asked for

    def __init__(self, places, chosen=None):
        """places: (file, row in it) of each sample; a row None is the only one of its file."""
        self.places, self._held = places, (None, None)
        for path in dict.fromkeys(path for path, _ in places):
            if not path.is_file():
                raise InputError("the activations of a sample are missing", where=path, do="Extract them again")
        first, row = places[0]
        names = sorted(npz_names(first))
        self._names = _pick_layers(names, chosen, first)
        shapes = {name: npz_shape(first, name)[0] for name in self._names}
        self.layers = {name: int(np.prod(shape if row is None and shape[0] != 1 else shape[1:])) for name, shape in shapes.items()}
        self.shape = (len(places), sum(self.layers.values()))

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, span):
        start, stop, _ = span.indices(len(self))
        block = np.empty((max(stop - start, 0), self.shape[1]), np.float32)
        for index in range(start, stop):
            path, row = self.places[index]
            matrix = self._load(path, row is None)
            if not 0 <= (row or 0) < len(matrix):
                raise InputError(f"has {len(matrix)} rows, sample {index} is said to be row {row}", where=path, do="Extract it again")
            block[index - start] = matrix[row or 0]
        return block

    def _load(self, path, single):
        """Return the rows (n, D) of one file."""
        if self._held[0] != path:
            self._held = (None, None)  # lets the old file go before the next is read
            arrays = read_npz(path, required=self._names)
            self._held = (path, flatten(arrays, self._names, single))
        if self._held[1].shape[1] != self.shape[1]:
            raise InputError(f"holds {self._held[1].shape[1]} features a sample, the first file {self.shape[1]}", where=path,
                             do="Map only sets of one extraction")  # fmt: skip
        return self._held[1]


def flatten(arrays, names, single=False):
    """Return float32 (n, D): the arrays (n, ...) of the named layers, each sample's flattened and joined in that order.

    single: the arrays are those of one sample, with or without a first axis of length 1.
    """
    parts = [arrays[name] for name in names]
    if single:
        parts = [part if part.shape[0] == 1 else part[None] for part in parts]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1, dtype=np.float32)


def _pick_layers(names, chosen, where):
    unknown = [name for name in chosen or () if name not in names]
    if unknown:
        raise InputError(f"layer '{unknown[0]}' is not in {where}", where="--layer", do=nearest(unknown[0], names))
    return [name for name in names if chosen is None or name in chosen]


class FlatRows:
    """Rows of one .npy matrix, read in place (not mapped: a map's pages count as the process's memory)."""

    cheap = True

    def __init__(self, path, count, chosen=None):
        described = read_json(path.with_name(f"{path.name}.json"))
        with open(path, "rb") as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, columns_first, self.dtype = read(stream)
            self._start = stream.tell()
        if len(shape) != 2 or columns_first or shape[0] < count or self.dtype.kind != "f":
            raise InputError(f"is {self.dtype} {shape}, {count} samples are recorded", where=path, do="Convert it again")
        names = sorted(described.get("layers", []))
        widths = {name: int(np.prod(size)) for name, size in zip(described.get("layers", []), _shapes(described))}
        if sum(widths.values()) != shape[1]:
            raise InputError(f"has {shape[1]} columns, its layers {sum(widths.values())}", where=path, do="Convert it again")
        starts = dict(zip(names, np.cumsum([0] + [widths[name] for name in names])))
        picked = _pick_layers(names, chosen, path)
        self.layers = {name: widths[name] for name in picked}
        self._columns = [slice(starts[name], starts[name] + widths[name]) for name in picked]
        self.path, self._width = path, shape[1]
        self.shape = (count, sum(self.layers.values()))

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, span):
        start, stop, _ = span.indices(len(self))
        count = max(stop - start, 0)
        block = np.fromfile(self.path, self.dtype, count * self._width,
                            offset=self._start + start * self._width * self.dtype.itemsize)  # fmt: skip
        if block.size != count * self._width:
            raise InputError(f"ends before row {stop}", where=self.path, do="Convert it again")
        block = block.reshape(count, self._width)
        return np.concatenate([block[:, columns] for columns in self._columns], axis=1, dtype=np.float32)


def _shapes(described):
    """Return the layers' shapes in the order of `layers`; they are kept as a list or by name."""
    shapes = described.get("shapes", [])
    return [shapes[name] for name in described.get("layers", [])] if isinstance(shapes, dict) else shapes


class JoinedRows:
    """Several sets' rows, one behind the other."""

    def __init__(self, parts):
        self.parts = list(parts)
        self.cheap = all(part.cheap for part in self.parts)
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
            raise InputError(f"has layers {_told(other)}, '{first.name}' has {_told(first)}", where=other.name,
                             do="Choose common ones with --layer, or extract the sets alike")  # fmt: skip
    names = [item.name for item in sets]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError("two sets have this name", where=twice, do="Write NAME=DIR:MODEL to tell them apart")


def _told(item):
    return ", ".join(f"{name} ({size})" for name, size in item.layers.items())


def file_stem(names, projected, n_neighbors, min_dist):
    """Return the published stem of output files, such as imagenet_real_umap_n15_d0.1.

    Several names are joined by +; sets that are laid into the map stand before it: imagenet_in_imagenet_real_umap_...
    """
    sets = f"{'+'.join(projected)}_in_{'+'.join(names)}" if projected else "+".join(names)
    return re.sub(r"[^\w.+-]", "_", f"{sets}_umap_n{n_neighbors}_d{min_dist}")
