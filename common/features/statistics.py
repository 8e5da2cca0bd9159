"""Mean and covariance of a set's features, and the file formats that tools store them in.

| file | arrays | written by |
| --- | --- | --- |
| .npz | mu, sigma | clean-fid (mu float32), pytorch-fid, EDM; ours adds mu_float64 and meta, which clean-fid ignores |
| .npz | feats | clean-fid, for the KID (..._kid.npz) |
| .npz | pool_3, maybe logit | QC-NCSN, Score-SDE |
| .pkl | num_images and, for each metric, mu and sigma | EDM2 |
| .npy | features, one row per image | |

`mean` and `covariance` in code are `mu` and `sigma` in files. No file can run code.
"""

import json
from pathlib import Path

import numpy as np

from common.errors import InputError
from common.files import plain, read_npz, system_errors, write_npz
from common.formats.npz import npz_names, write_npz_rows
from common.formats.pickles import read_pickle
from common.formats.rows import FileRows, blocks
from common.metrics.frechet import FeatureStatistics, Gaussian, frechet_distance_between

ROWS = ("feats", "pool_3")  # names of arrays of features
TEXTS = ("meta", "features")  # names of arrays of text: ours, and the feature space of qc_ncsn's encoded images
ASYMMETRY = 1e-5  # tolerated in a covariance, relative to its largest value
REPAIR = "Recreate the file or copy it again"


class Statistics:
    """Mean and covariance of features, given or computed from rows on first use.

    mean: (D,) float64.  covariance: (D, D) float64.  count: number of images, None where a file does not say.
    features: rows (count, D), an array or anything with shape and row slices, or None where only moments are known.
    logits: rows (count, C) or None.  meta: dict of how they were computed, as far as known (extractor, resize, weights,
    ...), without count and width, which are attributes.  path: where they come from, for messages.
    """

    def __init__(self, mean=None, covariance=None, count=None, features=None, logits=None, meta=None, path=None):
        assert (mean is None) == (covariance is None)
        assert mean is not None or features is not None
        self._mean, self._covariance = mean, covariance
        self.features, self.logits, self.path = features, logits, path
        self.meta = {key: value for key, value in (meta or {}).items() if key not in ("count", "width")}
        self.count = count if features is None else features.shape[0]

    @property
    def width(self):
        """Number of features, D."""
        return len(self._mean) if self.features is None else self.features.shape[1]

    @property
    def is_short(self):
        """True for rows, at most D of them: their own form of the distance is faster and needs no D x D matrix."""
        return self.features is not None and self.count <= self.width

    @property
    def mean(self):
        """Mean (D,) float64."""
        self._take_moments()
        return self._mean

    @property
    def covariance(self):
        """Unbiased covariance (D, D) float64. Raises InputError below two rows."""
        self._take_moments()
        return self._covariance

    def _take_moments(self):
        if self._mean is None:
            computed = statistics_of_rows(blocks(self.features), self.width)
            self._mean, self._covariance = computed.mean, computed.covariance

    def moments(self):
        """Return these as FeatureStatistics. Raises InputError when the number of rows is unknown."""
        if self.count is None:
            raise InputError("the number of images is unknown", where=self.path,
                             do="Recompute the statistics from images")
        result = FeatureStatistics(0)
        result.count, result.mean = self.count, self.mean
        result.scatter = self.covariance * (self.count - 1)
        return result

    def gaussian(self):
        """Return the `Gaussian` for distances: from rows if there are at most D, else from mean and covariance."""
        return Gaussian.of_few(self.features[: self.count]) if self.is_short else Gaussian(self.mean, self.covariance)

    def close(self):
        """Close the files that rows come from."""
        for rows in (self.features, self.logits):
            if hasattr(rows, "close"):
                rows.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def frechet(statistics1, statistics2):
    """Return the squared Frechet distance between two Statistics, in the form that suits their rows.

    Raises InputError when the widths differ or a value is not finite.
    """
    return frechet_distance_between(statistics1.gaussian(), statistics2.gaussian())


def statistics_of_rows(rows_iterable, width, meta=None):
    """Return the Statistics of blocks of rows (n, width), read once, in constant memory.

    Raises InputError for NaN, another width, and fewer than two rows.
    """
    total = FeatureStatistics(width)
    for block in rows_iterable:
        total.add(block)
    return Statistics(total.mean, total.covariance(), total.count, meta=meta)


def read_statistics(path, metric="fid", width=None):
    """Return the Statistics in a file of any kind in the table above.

    metric: the entry of an EDM2 pickle, fid or fd_dinov2.  width: the expected number of features, None for any.
    Rows stay in the file (closed by `close`) but are read once to check them.
    Raises InputError for a missing, damaged or foreign file, wrong shapes, NaN, and a sigma that is not a covariance.
    """
    path = Path(path)
    with system_errors(path), open(path, "rb") as stream:
        start = stream.read(6)
    if start[:2] == b"PK":
        statistics = _read_npz(path)
    elif start == b"\x93NUMPY":
        statistics = _of_file_rows(path, None)
    elif start[:1] == b"\x80" or path.suffix in (".pkl", ".pickle"):
        statistics = _read_edm2(path, metric)
    else:
        raise InputError("not a statistics file", where=path, do="Pass a .npz, .npy or EDM2 .pkl file")
    if width is not None and statistics.width != width:
        raise InputError(f"{statistics.width} features, expected {width}", where=path,
                         do="Use features of the same network")
    return statistics


def _read_npz(path):
    names = npz_names(path)
    for name in ROWS:
        if name in names and "mu" not in names:
            return _of_file_rows(path, name, "logit" if "logit" in names else None, _read_meta(path))
    if not {"mu", "sigma"} & set(names):
        listed = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
        raise InputError(f"neither mu and sigma nor feats nor pool_3 are in the file, which has {listed or 'nothing'}",
                         where=path, do="Pass a file of statistics or features")
    arrays = read_npz(path, required=("mu", "sigma"), optional=("mu_float64",))
    meta = _read_meta(path)
    mean = _check_mean(arrays["mu"], path)
    if "mu_float64" in arrays:
        mean = _check_mean(arrays["mu_float64"], path, "mu_float64", len(mean))
    return Statistics(mean, _check_covariance(arrays["sigma"], path, len(mean)), _read_count(meta, "count", path),
                      meta=meta, path=path)


def _read_edm2(path, metric):
    entries = read_pickle(path)
    entries = _text_keys(entries) if isinstance(entries, dict) else {}
    metrics = {key: _text_keys(value) for key, value in entries.items() if isinstance(value, dict)}
    if metric not in metrics:
        raise InputError(f"no entry '{metric}' in the file, which has {', '.join(metrics) or 'no metric at all'}",
                         where=path, do="Pass an EDM2 statistics file, or another metric")
    entry = metrics[metric]
    for key in ("mu", "sigma"):
        if not isinstance(entry.get(key), np.ndarray):
            raise InputError(f"entry '{metric}' has no array '{key}'", where=path, do=REPAIR)
    mean = _check_mean(entry["mu"], path)
    covariance = _check_covariance(entry["sigma"], path, len(mean))
    return Statistics(mean, covariance, _read_count(entries, "num_images", path), meta={"metric": metric}, path=path)


def _text_keys(entries):
    """Return a dict whose keys are text; Python 2 wrote bytes."""
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in entries.items()}


def _of_file_rows(path, name, logit=None, meta=None):
    """Return the Statistics of rows in a file, checked."""
    features = FileRows(path, name)
    features.check()
    logits = None
    if logit is not None:
        logits = FileRows(path, logit)
        if len(logits) != len(features):
            raise InputError(f"{features.label} has {len(features)} rows, {logits.label} {len(logits)}", where=path,
                             do=REPAIR)
        logits.check()
    return Statistics(features=features, logits=logits, meta=meta, path=path)


def _read_meta(path):
    """Return the dict that `meta` holds as JSON, or {"extractor": ...} of qc_ncsn's `features`, or {}."""
    texts = {name: array for name, array in read_npz(path, optional=TEXTS).items() if array.dtype.kind == "U"}
    if "meta" not in texts:
        named = texts.get("features", np.empty(0)).reshape(-1)
        return {"extractor": str(named[0])} if named.size else {}
    try:
        meta = json.loads(str(texts["meta"].reshape(-1)[0]))
        if not isinstance(meta, dict):
            raise ValueError("not an object")
    except (ValueError, IndexError) as error:
        raise InputError(f"'meta' is not a JSON object ({error})", where=path, do=REPAIR) from error
    return meta


def _read_count(entries, key, path):
    count = entries.get(key)
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 2):
        raise InputError(f"'{key}' is {count!r}, expected a number of images", where=path, do=REPAIR)
    return count


def _check_mean(array, path, name="mu", width=None):
    expected = "(features,)" if width is None else f"({width},)"
    if array.ndim != 1 or array.dtype.kind != "f" or array.size == 0 or width not in (None, array.size):
        raise InputError(f"'{name}' is {array.dtype} {array.shape}, expected floats {expected}", where=path, do=REPAIR)
    if not np.isfinite(array).all():
        raise InputError(f"'{name}' holds NaN or infinity", where=path, do=REPAIR)
    return array.astype(np.float64)


def _check_covariance(array, path, width):
    if array.shape != (width, width) or array.dtype.kind != "f":
        raise InputError(f"'sigma' is {array.dtype} {array.shape}, expected floats ({width}, {width})", where=path,
                         do=REPAIR)
    if not np.isfinite(array).all():
        raise InputError("'sigma' holds NaN or infinity", where=path, do=REPAIR)
    covariance = array.astype(np.float64)
    limit = ASYMMETRY * np.abs(covariance).max()
    if np.abs(covariance - covariance.T).max() > limit or np.diag(covariance).min() < -limit:
        raise InputError("'sigma' is not symmetric with non-negative variances", where=path,
                         do=REPAIR)
    return covariance if np.array_equal(covariance, covariance.T) else (covariance + covariance.T) / 2.0


def write_statistics(path, statistics, meta=None):
    """Write mean and covariance as clean-fid's .npz: mu float32, sigma float64; uncompressed, atomic.

    mu_float64 and meta (JSON text: that of the statistics, then `meta`, then count and width) are added for our reader.
    """
    metadata = {**statistics.meta, **(meta or {}), "count": statistics.count, "width": statistics.width}
    write_npz(path, compressed=False, mu=statistics.mean.astype(np.float32), sigma=statistics.covariance,
              mu_float64=statistics.mean, meta=_as_text(metadata))


def write_features(path, rows, meta=None):
    """Write features (n, D) as clean-fid's ..._kid.npz: feats float32, and meta (JSON text); uncompressed, atomic.

    rows: an array, or anything with shape and row slices.
    """
    extra = {} if meta is None else {"meta": _as_text(meta)}
    write_npz_rows(path, "feats", tuple(rows.shape), np.float32, blocks(rows), **extra)


def _as_text(meta):
    return np.array(json.dumps(plain(meta), sort_keys=True))


def check_comparable(statistics1, statistics2, allow=()):
    """Return notes on differences that are unknown or may matter when two Statistics are compared.

    Raises InputError naming both when widths, or extractor or resize in their metas, differ.  allow: those of the two
    entries whose difference is only noted.  Different weights, antialias or metric entries are noted.
    """
    names = [_name(side) for side in (statistics1, statistics2)]
    if statistics1.width != statistics2.width:
        raise InputError(f"{names[0]} has {statistics1.width} features, {names[1]} {statistics2.width}",
                         do="Compare features of the same network")
    notes = []
    for key in ("extractor", "resize", "metric", "weights", "antialias"):
        values = [side.meta.get(key) for side in (statistics1, statistics2)]
        difference = f"{names[0]} has {key} {values[0]}, {names[1]} {values[1]}"
        if None in values:
            unknown = " and ".join(name for name, value in zip(names, values) if value is None)
            notes += [f"{key} of {unknown} is unknown: assumed equal"] if key in ("extractor", "resize") else []
        elif values[0] != values[1]:
            if key in ("extractor", "resize") and key not in allow:
                raise InputError(difference, do=f"Compute both with the same {key}")
            notes.append(f"{difference}: the distance includes this difference")
    return notes


def _name(statistics):
    return "these features" if statistics.path is None else str(statistics.path)
