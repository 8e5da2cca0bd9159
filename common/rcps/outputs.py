"""outputs.npz: what an encoder says of N images, D style coordinates each, read by columns and written by rows.

| key | shape | content |
|---|---|---|
| all_sv | (N, D) | truth, not centred; rows of NaN where it is missing (old files: zeros) |
| all_sv_hat, all_sv_hat_lq, all_sv_hat_uq | (N, D) | point, lower and upper value, relative to the mean vector |
| mean_, min_, max_style_space_vector | (D,) or (1, D) | statistics; a newer script writes none |
| style_dims | (V + 1,) or a number | widths of the style vectors behind a 0; a lone number is D |
| image_names, has_truth, resize_factor, encoder, statistics | | ours alone |

Old files hold (N, 1, D), or lists of (1, D), which numpy stores as that.
"""

from pathlib import Path

import numpy as np

from common.errors import InputError
from common.files import read_npz
from common.formats.npz import NpzRows, npz_names, npz_shape, write_npz_rows
from common.numerals import counted

TRUTH, POINT, LOWER, UPPER = KEYS = ("all_sv", "all_sv_hat", "all_sv_hat_lq", "all_sv_hat_uq")
STATISTICS = ("mean", "min", "max")
SMALL = ("style_dims", "image_names", "has_truth", "resize_factor", "encoder", "statistics")
BLOCK = 64  # rows read at a time: 2.3 MB of 9,088 floats


class Outputs:
    """An outputs.npz, of which the headers and the small arrays are read at once.

    count: N.  num_dims: D.  small: {key: array} of what is not (N, D).
    Raises InputError for a missing or damaged file, a missing key, and shapes that do not agree.
    """

    def __init__(self, path):
        self.path = Path(path)
        names = npz_names(path)
        missing = [key for key in KEYS if key not in names]
        if missing:
            raise InputError(f"has no array '{missing[0]}'", where=path,
                             do="Pass an outputs.npz of generate_outputs_npz")
        shapes = {key: self._shape(key) for key in KEYS}
        self.count, self.num_dims = shapes[POINT]
        for key, shape in shapes.items():
            if shape != shapes[POINT]:
                raise InputError(f"'{key}' is for {shape[0]} images and {shape[1]} coordinates, '{POINT}' for "
                                 f"{self.count} and {self.num_dims}", where=path, do="Write the file again")
        vectors = [f"{name}_style_space_vector" for name in STATISTICS]
        small = [key for key in (*vectors, *SMALL) if key in names]
        self.small = self._read_small(small)
        for key in vectors:
            if key in self.small:
                self.small[key] = self._vector(key)
        self._check_small()

    def _read_small(self, keys):
        for key in keys:
            try:
                npz_shape(self.path, key)
            except InputError as error:
                if "Python objects" in error.what:
                    raise InputError(f"'{key}' holds Python objects", where=self.path,
                                     do="Save numpy.array(list) of numbers or texts instead") from error
        return read_npz(self.path, required=keys) if keys else {}

    def _check_small(self):
        """Raise InputError for a small array of another kind or shape than its key has."""
        rows, one = (self.count,), ()
        for key, kinds, shape in (("image_names", "USiu", rows), ("has_truth", "biuf", rows), ("encoder", "U", one),
                                  ("statistics", "U", one), ("resize_factor", "iu", one)):
            array = self.small.get(key)
            if array is not None and (array.dtype.kind not in kinds or array.shape != shape):
                raise InputError(f"'{key}' is {array.dtype} with shape {array.shape}, expected "
                                 f"{f'({self.count},)' if shape else 'one value'}", where=self.path,
                                 do="Write the file again")
        if "image_names" in self.small and self.small["image_names"].dtype.kind != "U":
            self.small["image_names"] = self.small["image_names"].astype(str)  # of files by others: bytes or numbers

    def _shape(self, key):
        """Return (N, D) of an array of the form (N, D) or (N, 1, D)."""
        try:
            shape, dtype = npz_shape(self.path, key)
        except InputError as error:
            if "Python objects" not in error.what:
                raise
            raise InputError(f"'{key}' holds Python objects", where=self.path,
                             do="Save numpy.stack(list) instead") from error
        if dtype.kind != "f" or 0 in shape or not (len(shape) == 2 or (len(shape) == 3 and shape[1] == 1)):
            raise InputError(f"'{key}' is {dtype} {tuple(shape)}, expected floats (images, coordinates)",
                             where=self.path, do="Save it as numpy.float32" if dtype.kind != "f" else
                             "Save an array with a row of coordinates for each image")
        return shape[0], shape[-1]

    def _vector(self, key):
        vector = self.small[key]
        if vector.dtype.kind in "iu":  # such as a mean of zeros
            vector = vector.astype(np.float32)
        if vector.size != self.num_dims or vector.dtype.kind != "f" or not np.isfinite(vector).all():
            raise InputError(f"'{key}' is not {self.num_dims} finite numbers", where=self.path,
                             do="Write the file again")
        return vector.reshape(-1)

    @property
    def names(self):
        """The image names (N,), None in files that have none."""
        return self.small.get("image_names")

    @property
    def encoder(self):
        """The SHA-256 of the encoder that made the file, "" in files that do not say."""
        return str(self.small.get("encoder", ""))

    def vector(self, name, dims):
        """Return the statistics "mean", "min" or "max" of some dims. Raises InputError when the file lacks them."""
        key = f"{name}_style_space_vector"
        if key not in self.small:
            instead = ", or pass --norm_scheme none where the values are not centred" if name == "mean" else ""
            raise InputError(f"has no '{key}'", where=self.path,
                             do=f"Write it again with generate_outputs_npz{instead}")
        return self.small[key][dims]

    def columns(self, dims, keys=KEYS):
        """Return {key: (N, K)} of some dims, as stored (half floats as float32), with memory for N x K alone.

        Raises InputError naming key and row for NaN or infinity elsewhere than in rows without truth.
        """
        dims = np.asarray(dims)
        self._check_dims(dims)
        return {key: self._columns(key, dims) for key in keys}

    def _columns(self, key, dims):
        with NpzRows(self.path, key) as rows:
            found = rows.columns(dims)
        found = found.astype(np.float64 if found.dtype.itemsize > 4 else np.float32, copy=False)
        bad = ~np.isfinite(found).all(axis=1)
        if key == TRUTH and bad.any():
            bad &= self.has_truth()
        if bad.any():
            rows = counted(int(bad.sum()), "row")
            raise InputError(f"row {int(bad.argmax())} of '{key}' holds NaN or infinity (in {rows})",
                             where=self.path, do="Look at those images, or write the file again")
        return found

    def row(self, key, index):
        """Return one image's numbers (D,)."""
        with NpzRows(self.path, key) as rows:
            return rows[index : index + 1].reshape(-1)

    def has_truth(self):
        """Return bools (N,): rows of all_sv that hold a truth. Where the file does not say, zeros and NaN are none."""
        if "has_truth" not in self.small:
            found = np.empty(self.count, bool)
            with NpzRows(self.path, TRUTH) as rows:
                for start in range(0, self.count, BLOCK):
                    block = rows[start : start + BLOCK].reshape(-1, self.num_dims)
                    found[start : start + len(block)] = block.any(axis=1) & ~np.isnan(block).all(axis=1)
            self.small["has_truth"] = found
        return self.small["has_truth"].astype(bool)

    def _check_dims(self, dims):
        if len(dims) == 0 or dims.min() < 0 or dims.max() >= self.num_dims:
            raise InputError(f"dim {int(dims.max(initial=0))} is not among the file's {self.num_dims} coordinates",
                             where=self.path, do="Pass --dims all, a list, or a file of dims")


def write_outputs(path, blocks, count, num_dims, *, statistics=None, style_dims=None, image_names=None, has_truth=None,
                  resize_factor=None, encoder="", source="encoder"):
    """Write an outputs.npz, atomically, with memory for one block of rows of each array.

    blocks: {key of KEYS: iterator of (n, D) float32 blocks}, count rows in all; the four are read one after another.
    statistics: {"mean", "min", "max": (D,)} of the truth or of training, which point, lower and upper are relative to.
    source: "encoder" where the statistics are stored with it, else "file".  has_truth: (count,) bools, default all.
    """
    vectors = {f"{name}_style_space_vector": np.float32(vector) for name, vector in (statistics or {}).items()}
    small = {"style_dims": np.array([0, num_dims]) if style_dims is None else np.asarray(style_dims, np.int64),
             "has_truth": np.ones(count, bool) if has_truth is None else np.asarray(has_truth, bool),
             "encoder": np.array(encoder), "statistics": np.array(source), **vectors}
    if image_names is not None:
        small["image_names"] = np.array(image_names, str)
    if resize_factor is not None:
        small["resize_factor"] = np.array(resize_factor, np.int64)
    shape, (first, *others) = (count, num_dims), KEYS
    write_npz_rows(path, first, shape, np.float32, blocks[first],
                   more=[(key, shape, np.float32, blocks[key]) for key in others], **small)


def save_outputs(path, truth, point, lower, upper, centre=0.0, **more):
    """Write an outputs.npz from arrays, for predictions of one's own: the file that generate_outputs_npz writes.

    truth, point, lower, upper: (N, D) floats, (N, 1, D), or lists of such rows; truth may have rows of NaN, or be None.
    centre: (D,) or one number that point, lower and upper are relative to; 0 for values in the truth's own units.
    more: image_names, style_dims, resize_factor, encoder, as in write_outputs. Minimum and maximum are the truth's, of
    point where there is none.  Raises InputError for shapes that do not agree, NaN and infinity.
    """
    given = {TRUTH: truth, POINT: point, LOWER: lower, UPPER: upper}
    arrays = {key: _rows(rows, key) for key, rows in given.items() if rows is not None}
    count, num_dims = arrays[POINT].shape
    arrays.setdefault(TRUTH, np.full((count, num_dims), np.nan, np.float32))
    has_truth = ~np.isnan(arrays[TRUTH]).all(axis=1)
    for key, array in arrays.items():
        if array.shape != (count, num_dims):
            raise InputError(f"{array.shape} where '{POINT}' has {(count, num_dims)}", where=key)
        bad = ~np.isfinite(array).all(axis=1) & (has_truth | (key != TRUTH))
        if bad.any():
            raise InputError(f"row {int(bad.argmax())} holds NaN or infinity", where=key)
    known = arrays[TRUTH][has_truth] if has_truth.any() else arrays[POINT] + centre
    statistics = {"mean": np.broadcast_to(np.float32(centre), num_dims), "min": known.min(axis=0),
                  "max": known.max(axis=0)}
    write_outputs(path, {key: [array] for key, array in arrays.items()}, count, num_dims, statistics=statistics,
                  has_truth=has_truth, source="file", **more)


def _rows(rows, key):
    """Return rows (N, D) of an array or a list, as float32."""
    try:
        array = np.asarray(rows, np.float32)
    except ValueError as error:
        raise InputError("rows of several lengths", where=key) from error
    array = array[:, 0] if array.ndim == 3 and array.shape[1] == 1 else array
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"shape {array.shape}, expected (images, coordinates)", where=key)
    return array
