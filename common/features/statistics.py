"""Mean and covariance of a set's features, and every file in which tools keep them.

| file | arrays | written by |
| --- | --- | --- |
| .npz | mu, sigma | clean-fid (mu float32), pytorch-fid, EDM; ours adds mu_float64 and meta, which clean-fid ignores |
| .npz | mu, sigma, mu_s, sigma_s, maybe arr_0 | guided-diffusion: of the last pool and of spatial features (sFID) |
| .npz | feats | clean-fid, for the KID (..._kid.npz) |
| .npz | pool_3, maybe logit or logits | QC-NCSN, Score-SDE |
| .npz | m, s, or mean, cov | other programs |
| .npy | features, one row per image | |
| .pkl, .pt, .npy of a dict | see common/features/foreign.py | EDM2, StyleGAN, torch-fidelity, ... |

`mean` and `covariance` in code are `mu` and `sigma` in files. No file can run code.
"""

import json
from pathlib import Path

import numpy as np

from common.errors import InputError
from common.features.foreign import read_container, statistics_names
from common.files import plain, read_npz, system_errors, write_npz
from common.formats.npy import npy_header
from common.formats.npz import npz_names, write_npz_rows
from common.formats.rows import FileRows, blocks, native
from common.metrics.frechet import FeatureStatistics, Gaussian, frechet_distance_between

SPATIAL = {"mu": "mu_s", "sigma": "sigma_s"}
ROWS = ("feats", "pool_3")  # names of arrays of features
LOGITS = ("logit", "logits")
TEXTS = ("meta", "features")  # names of arrays of text: ours, and the feature space of qc_ncsn's encoded images
ASYMMETRY = 1e-5  # of a covariance, relative to its largest value
AGAIN = "Make or copy the file again"


class Statistics:
    """Mean and covariance of features, known or taken from rows when first asked for.

    mean: (D,) float64.  covariance: (D, D) float64.  count: number of images, or None where a file does not tell.
    features: rows (count, D), an array or anything with shape and row slices, or None where only moments are known.
    logits: rows (count, C) or None.  meta: dict of what is known of their making (extractor, resize, weights, ...),
    without count and width, which are attributes.  path: where they come from, for messages.  owner: what
    holds the rows' files as long as this lives.
    """

    def __init__(self, mean=None, covariance=None, count=None, features=None, logits=None, meta=None, path=None,
                 owner=None):
        assert (mean is None) == (covariance is None)
        assert mean is not None or features is not None
        self._mean, self._covariance = mean, covariance
        self.features, self.logits, self.path = features, logits, path
        self._gaussian, self._owner = None, owner
        self.meta = {key: value for key, value in (meta or {}).items() if key not in ("count", "width")}
        self.count = count if features is None else features.shape[0]

    @property
    def width(self):
        """Number of features, D."""
        return len(self._mean) if self.features is None else self.features.shape[1]

    @property
    def is_short(self):
        """True where there are rows, at most D of them: their own form of the distance is faster and needs no D x D."""
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
            taken = statistics_of_rows(blocks(self.features), self.width)
            self._mean, self._covariance = taken.mean, taken.covariance

    def mean_of_rows(self):
        """Return the mean (D,), of a side of few rows without its covariance."""
        return self.gaussian().mean

    def gaussian(self):
        """Return the `Gaussian` for distances: by rows where there are at most D, else by mean and covariance."""
        if self._gaussian is None:
            rows = self.features[: self.count] if self.is_short else None
            self._gaussian = Gaussian(self.mean, self.covariance) if rows is None else Gaussian.of_few(rows)
        return self._gaussian

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


def read_statistics(path, metric="fid", width=None, like=None):
    """Return the Statistics in a file of any kind in the table above.

    metric: which entry of an EDM2 pickle, fid or fd_dinov2; where only the other one is `like` wide, that one; sfid:
    of a .npz, mu_s and sigma_s.
    width: the number of features expected, None for any.
    Rows stay in the file (closed by `close`) but are read once to check them.
    Raises InputError for a missing, damaged or foreign file, wrong shapes, NaN, and a sigma that is not a covariance.
    """
    path = Path(path)
    with system_errors(path), open(path, "rb") as stream:
        start = stream.read(6)
    if metric == "sfid":
        statistics = _read_spatial(path)
    elif start[:2] == b"PK":
        statistics = _read_container(path, metric, width or like) if path.suffix.lower() == ".pt" else _read_npz(path)
    elif start == b"\x93NUMPY" and not _holds_objects(path):
        statistics = _of_file_rows(path, None)
    elif start[:1] == b"\x80" or start == b"\x93NUMPY" or path.suffix in (".pkl", ".pickle"):
        statistics = _read_container(path, metric, width or like)
    else:
        raise InputError("this is not a file of statistics", where=path, do="Give a .npz, .npy, .pkl or .pt file")
    if width is not None and statistics.width != width:
        raise InputError(f"{statistics.width} features, expected {width}", where=path,
                         do="Use features of the same network")
    return statistics


def _read_npz(path):
    names = npz_names(path)
    for name in ROWS:
        if name in names and "mu" not in names:
            return _of_file_rows(path, name, next((key for key in LOGITS if key in names), None), _read_meta(path))
    aliases = statistics_names(names, path)
    if not aliases:
        held = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
        raise InputError(f"neither mu and sigma nor feats nor pool_3 are in the file, which has {held or 'nothing'}",
                         where=path, do="Give a file of statistics or features")
    keys = [aliases.get(name, name) for name in ("mu", "sigma")]
    found = read_npz(path, required=keys, optional=("mu_float64",))
    found |= {name: found[alias] for name, alias in aliases.items()}
    meta = _read_meta(path)
    mean = _check_mean(found["mu"], path)
    if "mu_float64" in found:
        mean = _check_mean(found["mu_float64"], path, "mu_float64", len(mean))
    return Statistics(mean, _check_covariance(found["sigma"], path, len(mean)), _read_count(meta, "count", path),
                      meta=meta, path=path)


def _read_spatial(path):
    names = npz_names(path) if path.suffix.lower() == ".npz" else ()
    missing = [name for name in SPATIAL.values() if name not in names]
    if missing:
        raise InputError(f"no {' and '.join(missing)} in it, which sfid needs", where=path,
                         do="Pass the images as --reference, or make the statistics with setup_fid --sfid")
    found, meta = read_npz(path, required=tuple(SPATIAL.values())), _read_meta(path)
    if meta.get("extractor") == "inception":
        meta = {**meta, "extractor": "inception-spatial"}
    mean = _check_mean(found["mu_s"], path, "mu_s")
    return Statistics(mean, _check_covariance(found["sigma_s"], path, len(mean), "sigma_s"),
                      _read_count(meta, "count", path), meta=meta, path=path)


def _holds_objects(path):
    """True for a .npy file of Python objects, which may be a dict of statistics."""
    with open(path, "rb") as stream:
        try:
            return npy_header(stream)[2].hasobject
        except (ValueError, EOFError):
            return False


def _read_container(path, metric, width):
    found = {"count": None, "meta": {}, **read_container(path, metric, width)}
    if "features" in found:
        rows = found["features"]
        if rows.dtype.kind != "f" or 0 in rows.shape or not np.isfinite(rows).all():
            raise InputError(f"its features are {rows.dtype} {rows.shape}, expected finite floats (images, features)",
                             where=path, do=AGAIN)
        return Statistics(features=rows.astype(native(rows.dtype), copy=False), meta=found["meta"], path=path)
    mean = _check_mean(found["mu"], path)
    covariance = _check_covariance(found["sigma"], path, len(mean))
    return Statistics(mean, covariance, _read_count(found, "count", path), meta=found["meta"], path=path)


def _of_file_rows(path, name, logit=None, meta=None):
    """Return the Statistics of rows in a file, checked."""
    features = FileRows(path, name)
    features.check()
    logits = None
    if logit is not None:
        logits = FileRows(path, logit)
        if len(logits) != len(features):
            raise InputError(f"{features.label} has {len(features)} rows, {logits.label} {len(logits)}", where=path,
                             do=AGAIN)
        logits.check()
    return Statistics(features=features, logits=logits, meta=meta, path=path)


def _read_meta(path):
    """Return the dict that `meta` holds as JSON, or what the name `features` of qc_ncsn's files means, or {}."""
    found = {name: array for name, array in read_npz(path, optional=TEXTS).items() if array.dtype.kind == "U"}
    if "meta" not in found:
        named = found.get("features", np.empty(0)).reshape(-1)
        if not named.size:
            return {}
        extractor, inception, resize = str(named[0]).partition("inception-")
        space = {"extractor": "inception", "resize": resize} if inception else {"extractor": extractor}
        return {**space, "resolution": [0]}
    try:
        meta = json.loads(str(found["meta"].reshape(-1)[0]))
        if not isinstance(meta, dict):
            raise ValueError("not an object")
    except (ValueError, IndexError) as error:
        raise InputError(f"'meta' is not a JSON object ({error})", where=path, do=AGAIN) from error
    return meta


def _read_count(entries, key, path):
    count = entries.get(key)
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 2):
        raise InputError(f"'{key}' is {count!r}, expected a number of images", where=path, do=AGAIN)
    return count


def _check_mean(array, path, name="mu", width=None):
    expected = "(features,)" if width is None else f"({width},)"
    if array.ndim != 1 or array.dtype.kind != "f" or array.size == 0 or width not in (None, array.size):
        raise InputError(f"'{name}' is {array.dtype} {array.shape}, expected floats {expected}", where=path, do=AGAIN)
    if not np.isfinite(array).all():
        raise InputError(f"'{name}' holds NaN or infinity", where=path, do=AGAIN)
    return array.astype(np.float64)


def _check_covariance(array, path, width, name="sigma"):
    if array.shape != (width, width) or array.dtype.kind != "f":
        raise InputError(f"'{name}' is {array.dtype} {array.shape}, expected floats ({width}, {width})", where=path,
                         do=AGAIN)
    if not np.isfinite(array).all():
        raise InputError(f"'{name}' holds NaN or infinity", where=path, do=AGAIN)
    covariance = array.astype(np.float64)
    limit = ASYMMETRY * np.abs(covariance).max()
    if np.abs(covariance - covariance.T).max() > limit or np.diag(covariance).min() < -limit:
        raise InputError(f"'{name}' is not symmetric with non-negative variances", where=path, do=AGAIN)
    deviations = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    if (np.abs(covariance) > np.outer(deviations, deviations) * (1.0 + ASYMMETRY) + limit).any():
        raise InputError(f"'{name}' is not a covariance: entries are larger than their variances allow", where=path,
                         do=AGAIN)
    return covariance if np.array_equal(covariance, covariance.T) else (covariance + covariance.T) / 2.0


def write_statistics(path, statistics, meta=None, spatial=None):
    """Write mean and covariance as clean-fid's .npz: mu float32, sigma float64; uncompressed, atomic.

    mu_float64 and meta (JSON text: that of the statistics, then `meta`, then count and width) are added for our reader.
    spatial: Statistics of the spatial features, written as guided-diffusion's mu_s and sigma_s.
    """
    more = {"mu_s": spatial.mean, "sigma_s": spatial.covariance} if spatial else {}
    told = {**statistics.meta, **(meta or {}), "count": statistics.count, "width": statistics.width}
    write_npz(path, compressed=False, mu=statistics.mean.astype(np.float32), sigma=statistics.covariance,
              mu_float64=statistics.mean, meta=_as_text(told), **more)


def write_features(path, rows, meta=None):
    """Write features (n, D) as clean-fid's ..._kid.npz: feats float32, and meta (JSON text); uncompressed, atomic.

    rows: an array, or anything with shape and row slices.
    """
    extra = {} if meta is None else {"meta": _as_text(meta)}
    write_npz_rows(path, "feats", tuple(rows.shape), np.float32, blocks(rows), **extra)


def _as_text(meta):
    return np.array(json.dumps(plain(meta), sort_keys=True))
