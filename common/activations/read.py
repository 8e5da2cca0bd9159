"""Reading activations: the published tree, the fast form, the old form with a file per sample, and flat .npy sets."""

import os

from common.activations.layout import Tree
from common.errors import InputError
from common.files import check_fields, read_json, read_npz, system_errors
from common.formats.npy import npy_header

SAMPLE = {"activation_path": str, "image_path": str, "sample_id": str, "batch_index": int}


def open_activations(root, model):
    """Return the Activations of a model (`imagenet_real`, `imagenet`, ...) in a tree of 'extract' or 'generate'.

    Raises InputError when there are none, when metadata and files disagree, or a file is damaged.
    """
    tree = Tree(root, model)
    if not tree.info.exists():
        known = sorted(path.parent.name for path in (tree.root / "metadata").glob("*/dataset_info.json"))
        do = f"Available: {', '.join(known)}" if known else "Run extract_real_imagenet or generate_dataset first"
        raise InputError(f"no activations of '{model}' (no metadata/{model}/dataset_info.json)", where=root, do=do)
    info = read_json(tree.info)
    if not isinstance(info, dict) or not isinstance(info.get("samples"), list) or not info["samples"]:
        raise InputError("no samples listed", where=tree.info, do="Run the extraction again")
    check_fields(info, {"layers": list, "class_labels": dict}, tree.info)
    for number, record in enumerate(info["samples"]):
        check_fields(record, SAMPLE, f"{tree.info}: sample {number}")
    return Activations(tree, info)


class Activations:
    """A set of activations: `layers` (names as stored), `num_samples`, `records` (dicts), `info` (all metadata)."""

    def __init__(self, tree, info):
        self.tree, self.info, self.records = tree, info, info["samples"]
        self.num_samples = len(self.records)
        self._files = {}
        self.form = self._form()
        self.layers = self._layers()

    def _form(self):
        """Return npy (one file per layer), flat (one for all, with a json) or npz (batches, or a file per sample)."""
        if (self.tree.activations / "done.npy").exists():
            return "npy"
        return "flat" if self._flat() else "npz"

    def _flat(self):
        return min(self.tree.activations.glob("*.npy.json"), default=None)

    def _layers(self):
        if self.form == "flat":
            return list(_flat_shapes(self._flat()))
        if self.form == "npy":
            listed = self.info.get("layers") or []
            files = [path.stem for path in sorted(self.tree.activations.glob("*.npy")) if path.stem != "done"]
            return [layer for layer in listed if layer in files] or files
        from common.formats.npz import npz_names

        return npz_names(self.npz_path(0)[0])

    def npz_path(self, number):
        """Return (path, row) of a sample in npz form; records without batch_index belong to a file per sample."""
        record = self.records[number]
        if not record.get("activation_path"):
            raise InputError(f"sample {number} has no activation file", where=self.tree.info,
                             do="Run the extraction again")
        path = self.tree.root / record["activation_path"]
        path = path if path.suffix == ".npz" else path.with_name(f"{path.name}.npz")
        if not path.exists():  # in old metadata it is relative to the folder of the activations
            path = self.tree.activations / path.name
        return path, int(record.get("batch_index") or 0)

    def rows(self, layers=None):
        """Return rows of one layer (a name), of several, or of all: sorted by name and concatenated.

        The result has `shape` (N, D), `dtype` float32, and slices: rows[start:stop] is a new float32 array.
        Raises InputError for an unknown layer.
        """
        chosen = sorted(self.layers if layers is None else [layers] if isinstance(layers, str) else layers)
        for layer in chosen:
            if layer not in self.layers:
                raise InputError(f"no activations of layer '{layer}'", where=self.tree.activations,
                                 do=f"Available: {', '.join(self.layers)}")
        kinds = {"npy": _NpySource, "flat": _FlatSource, "npz": _NpzSource}
        return ActivationRows(self, [kinds[self.form](self, layer) for layer in chosen])


class ActivationRows:
    """Rows of samples, read when sliced: `shape`, `dtype`, `len`, and `[start:stop]`; one slice is in memory."""

    def __init__(self, activations, sources):
        import numpy as np

        self.sources, self.dtype = sources, np.dtype(np.float32)
        self.layers = [source.layer for source in sources]
        self.shape = (activations.num_samples, sum(source.width for source in sources))

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        """Return float32 (n, D) for a slice of step 1."""
        import numpy as np

        start, stop, step = rows.indices(len(self))
        assert step == 1
        out, left = np.empty((max(stop - start, 0), self.shape[1]), np.float32), 0
        for source in self.sources:
            source.read(start, stop, out[:, left : left + source.width])
            left += source.width
        return out


class _NpySource:
    """One layer of the fast form."""

    def __init__(self, activations, layer):
        import numpy as np

        self.layer, self.records = layer, activations.records
        self.path = activations.tree.activations / f"{layer}.npy"
        with system_errors(self.path):
            self.stream = open(self.path, "rb")
        (count, self.width), self.stored, self.offset = _npy_header(self.stream, self.path)
        self.numbers = np.array([int(record.get("batch_index", -1)) for record in self.records], np.int64)
        if self.numbers.min() < 0 or self.numbers.max() >= count:
            raise InputError(f"a sample refers to row {self.numbers.max()} of {count}", where=self.path,
                             do="Run the extraction again")

    def read(self, start, stop, out):
        """Fill out (n, width) with samples start .. stop - 1; consecutive rows are read together."""
        import numpy as np

        numbers, first = self.numbers[start:stop], 0
        while first < len(numbers):
            breaks = np.flatnonzero(np.diff(numbers[first:]) != 1)
            last = first + (int(breaks[0]) + 1 if len(breaks) else len(numbers) - first)
            self._block(int(numbers[first]), out[first:last])
            first = last

    def _block(self, row, out):
        import numpy as np

        block = np.empty(out.shape, self.stored)
        place = self.offset + row * self.width * self.stored.itemsize
        if os.preadv(self.stream.fileno(), [memoryview(block).cast("B")], place) != block.nbytes:
            raise InputError(f"ends before row {row + len(out)}", where=self.path, do="Run the extraction again")
        out[:] = block


class _FlatSource(_NpySource):
    """One layer of a flat .npy (N, total) float32, whose json lists layers (sorted) and shapes."""

    def __init__(self, activations, layer):
        import math

        description_path = activations._flat()
        self.layer, self.path = layer, description_path.with_suffix("")
        sizes = {name: math.prod(shape) for name, shape in sorted(_flat_shapes(description_path).items())}
        self.left, self.width = sum(size for name, size in sizes.items() if name < layer), sizes[layer]
        with system_errors(self.path):
            self.stream = open(self.path, "rb")
        (self.count, self.total), self.stored, self.offset = _npy_header(self.stream, self.path)
        if self.total != sum(sizes.values()) or self.count < activations.num_samples:
            raise InputError(f"shape {(self.count, self.total)} does not match its json", where=self.path,
                             do="Convert it again")

    def read(self, start, stop, out):
        """Fill out (n, width) with samples start .. stop - 1."""
        for row in range(start, stop):
            self._part(row, out[row - start : row - start + 1])

    def _part(self, row, out):
        import numpy as np

        block = np.empty(out.shape, self.stored)
        place = self.offset + (row * self.total + self.left) * self.stored.itemsize
        if os.preadv(self.stream.fileno(), [memoryview(block).cast("B")], place) != block.nbytes:
            raise InputError(f"ends before row {row + 1}", where=self.path, do="Convert it again")
        out[:] = block


class _NpzSource:
    """One layer of npz batches (each file is read once per pass), or of a file per sample."""

    def __init__(self, activations, layer):
        from common.formats.npz import npz_shape

        self.layer, self.activations = layer, activations
        shape, _ = npz_shape(activations.npz_path(0)[0], layer)
        self.batched = "batch_index" in activations.records[0]
        flat = 1
        for size in shape[1:] if self.batched or len(shape) > 1 else shape:
            flat *= size
        self.width = flat
        self._last = (None, None)

    def read(self, start, stop, out):
        """Fill out (n, width) with samples start .. stop - 1."""
        for number in range(start, stop):
            path, row = self.activations.npz_path(number)
            array = self._array(path)
            if row >= len(array):
                raise InputError(f"no row {row} of '{self.layer}'", where=path, do="Run the extraction again")
            out[number - start] = array[row]

    def _array(self, path):
        if self._last[0] != path:
            array = read_npz(path, required=(self.layer,))[self.layer]
            try:
                self._last = (path, array.reshape(-1, self.width))
            except ValueError as error:
                raise InputError(f"'{self.layer}' has shape {array.shape}, {self.width} values in other files",
                                 where=path, do="Run the extraction again") from error
        return self._last[1]


def _flat_shapes(path):
    """Return {layer: shape} of the json beside a flat .npy; InputError where it is none."""
    description = check_fields(read_json(path), {"layers": list, "shapes": dict}, path)
    shapes = {name: (description.get("shapes") or {}).get(name) for name in map(str, description.get("layers") or ())}
    for name, shape in shapes.items():
        if not isinstance(shape, list) or not all(type(size) is int and 0 < size < 1 << 40 for size in shape):
            raise InputError(f"the shape of '{name}' is {shape!r:.60}, expected a list of sizes", where=path,
                             do="Convert it again")
    return shapes


def _npy_header(stream, path):
    """Return (shape (n, d), dtype, offset of the first row) of a .npy file open for reading."""
    try:
        shape, columns_first, dtype = npy_header(stream)
    except (ValueError, EOFError) as error:
        raise InputError(f"not a .npy file ({error})", where=path, do="Run the extraction again") from error
    if columns_first or dtype.hasobject or len(shape) != 2:
        raise InputError(f"holds {dtype} {shape}, expected rows of numbers", where=path, do="Run the extraction again")
    return shape, dtype, stream.tell()
