"""Reading activations: the published tree, the fast form and what `diffviews convert` makes of the tree, the old form
with a file per sample, and the earlier fast form of one .npy for each layer."""

import itertools
import math
import os

from common.activations.layout import Tree
from common.errors import InputError, nearest
from common.files import check_fields, read_json, read_npz, system_errors
from common.formats.npy import npy_header

SAMPLE = {"activation_path": str, "image_path": str, "sample_id": str, "batch_index": int}
PIECE = 1 << 26  # bytes of a flat file in memory


def open_activations(root, model):
    """Return the Activations of a model (`imagenet_real`, `imagenet`, ...) in a tree of 'extract' or 'generate'.

    Raises InputError when there are none, when metadata and files disagree, or a file is damaged.
    """
    tree = Tree(root, model)
    if not tree.info.exists():
        known = sorted(path.parent.name for path in (tree.root / "metadata").glob("*/dataset_info.json"))
        do = f"Available: {', '.join(known)}" if known else "Run extract_real_imagenet or generate_dataset first"
        raise InputError(f"no activations of '{model}' (no metadata/{model}/dataset_info.json)", where=root,
                         do=nearest(model, known, do))
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
        self._found, self._only = {}, None
        self.form = self._form()
        self.layers = self._layers()

    def _form(self):
        """Return npy (one file per layer), flat (all layers in one, with a json) or npz (batches, or a file per
        sample)."""
        if (self.tree.activations / "done.npy").exists():
            return "npy"
        return "flat" if any(self.tree.activations.glob("*.npy.json")) else "npz"

    def flat_place(self, number):
        """Return (path, row) of a sample in flat form: in the file that its record names, or its number in the only
        one."""
        record = self.records[number]
        name = str(record.get("activation_path") or "").removesuffix(".npz")
        for path in (self.tree.root / f"{name}.npy", self.tree.activations / f"{name.rpartition('/')[2]}.npy"):
            if name and self._is_there(path):
                return path, int(record.get("batch_index") or 0)
        if self._only is None:
            known = sorted(self.tree.activations.glob("*.npy.json"))
            self._only = known[0].with_suffix("") if len(known) == 1 else ""
        if not self._only:
            raise InputError(f"no converted file of sample {number} ({name})", where=self.tree.activations,
                             do="Run the conversion again")
        return self._only, number

    def _is_there(self, path):
        if path not in self._found:
            self._found[path] = path.exists()
        return self._found[path]

    def _layers(self):
        if self.form == "flat":
            return list(flat_columns(self.flat_place(0)[0]))
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
                                 do=nearest(layer, self.layers, f"Available: {', '.join(self.layers)}"))
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


class _FlatSource:
    """One layer of flat files, whose json lists the layers in the order of their columns."""

    def __init__(self, activations, layer):
        self.layer, self.activations, self.files = layer, activations, {}
        first = activations.flat_place(0)[0]
        columns = flat_columns(first)
        self.width = columns[layer][1] - columns[layer][0]
        self._opened(first)  # a width that no file has is refused before memory is taken for it

    def read(self, start, stop, out):
        """Fill out (n, width) with samples start .. stop - 1; consecutive rows are read together."""
        places = [self.activations.flat_place(number) for number in range(start, stop)]
        first = 0
        while first < len(places):
            last, (path, row) = first + 1, places[first]
            while last < len(places) and places[last] == (path, row + last - first):
                last += 1
            self._block(path, row, out[first:last])
            first = last

    def _block(self, path, row, out):
        import numpy as np

        stored, offset, (count, total), (left, right) = self._opened(path)
        if not 0 <= row <= row + len(out) <= count:
            raise InputError(f"a sample refers to row {row + len(out) - 1} of {count}", where=path,
                             do="Make the set again")
        # a narrow layer is read row by row, so that the others' bytes are not
        piece = max(1, min(len(out), PIECE // (total * stored.itemsize))) if 8 * (right - left) > total else 1
        low, high = (0, total) if piece > 1 else (left, right)
        with system_errors(path), open(path, "rb") as stream:
            for first in range(0, len(out), piece):
                block = np.empty((min(piece, len(out) - first), high - low), stored)
                place = offset + ((row + first) * total + low) * stored.itemsize
                if os.preadv(stream.fileno(), [memoryview(block).cast("B")], place) != block.nbytes:
                    raise InputError(f"ends before row {row + first + len(block)}", where=path, do="Make the set again")
                out[first : first + len(block)] = block[:, left - low : right - low]

    def _opened(self, path):
        """Return (dtype, offset of the first row, shape, columns of the layer) of a file."""
        if path not in self.files:
            columns = flat_columns(path)
            if self.layer not in columns:
                raise InputError(f"no activations of layer '{self.layer}'", where=path, do="Convert all batches alike")
            with system_errors(path), open(path, "rb") as stream:
                shape, stored, offset = _npy_header(stream, path)
            bounds = columns[self.layer]
            if shape[1] != max(stop for _, stop in columns.values()) or bounds[1] - bounds[0] != self.width:
                raise InputError(f"shape {shape} does not match its json, or other files", where=path,
                                 do="Convert it again")
            self.files[path] = stored, offset, shape, bounds
        return self.files[path]


def flat_columns(path):
    """Return {layer: (start, stop)}: the columns of a flat .npy, from the json beside it, in their order.

    The json has `layers` and the `shapes` of the arrays that were joined: diffviews' converter counts the batch among
    a shape's sizes, older descriptions do not; `total_features` tells.
    """
    where = path.with_name(f"{path.name}.json")
    do = "Convert it again"
    told = check_fields(read_json(where), {"layers": list, "shapes": dict, "total_features": int}, where)
    shapes, layers, total = told.get("shapes") or {}, told.get("layers") or [], told.get("total_features")
    sizes = [shapes.get(layer) if isinstance(layer, str) else None for layer in layers]
    if not sizes or len(set(map(str, layers))) < len(layers) or not all(
            isinstance(shape, list) and shape and all(type(size) is int and size > 0 for size in shape)
            for shape in sizes):
        raise InputError("not the description of layers and their shapes", where=where, do=do)
    for skipped in (1, 0):
        widths = [math.prod(shape[skipped:]) for shape in sizes]
        if total is None or sum(widths) == total:
            stops = list(itertools.accumulate(widths))
            return {layer: (stop - width, stop) for layer, width, stop in zip(layers, widths, stops)}
    raise InputError(f"the shapes do not add up to {total} features", where=where, do=do)


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


def _npy_header(stream, path):
    """Return (shape (n, d), dtype, offset of the first row) of a .npy file open for reading."""
    try:
        shape, columns_first, dtype = npy_header(stream)
    except (ValueError, EOFError) as error:
        raise InputError(f"not a .npy file ({error})", where=path, do="Run the extraction again") from error
    if columns_first or dtype.hasobject or len(shape) != 2:
        raise InputError(f"holds {dtype} {shape}, expected rows of numbers", where=path, do="Run the extraction again")
    if shape[0] and stream.tell() + shape[1] * dtype.itemsize > os.fstat(stream.fileno()).st_size:
        raise InputError(f"ends within the first row of {dtype} {shape}", where=path, do="Run the extraction again")
    return shape, dtype, stream.tell()
