"""Statistics and features in the containers of other programs, as plain arrays; no file can run code.

| file | what is in it | written by |
| --- | --- | --- |
| .pkl | num_images and, for each metric, a dict of mu and sigma | EDM2 |
| .pkl | raw_mean and raw_cov (sums over num_items images), or all_features | StyleGAN2-ADA, StyleGAN3 |
| .pkl | (mu, sigma) | StyleGAN, StyleGAN2 |
| .npy | a dict of mu and sigma | scripts around pytorch-fid |
| .pt | a dict of mu and sigma, or features (n, D) | torch-fidelity's cache |
| .pkl, .npy, .pt | a dict with features (n, D) under feats, pool_3 or features | |
"""

import re

import numpy as np

from common.errors import InputError
from common.files import system_errors
from common.formats.npy import npy_header
from common.formats.pickles import loads_objects, read_pickle

AGAIN = "Make or copy the file again"
NAMES = {"m": "mu", "s": "sigma", "mean": "mu", "cov": "sigma"}  # of TTUR's forks and others, beside mu and sigma
EDM2 = ("fid", "fd_dinov2")


def read_container(path, metric="fid", width=None):
    """Return a dict of what a pickle, a .npy of a dict or a file of torch.save has: mu and sigma, or features (n, D).

    Where they are known also count, and meta.  metric: the entry of an EDM2 pickle; where that one is not `width` wide
    and another one is, the other.  Raises InputError for a file of another kind.
    """
    with system_errors(path), open(path, "rb") as stream:
        start = stream.read(6)
        stream.seek(0)
        if start == b"\x93NUMPY":
            try:
                npy_header(stream)
            except (ValueError, EOFError) as error:
                raise InputError(f"cannot be read as a .npy array ({error})", where=path, do=AGAIN) from error
            found = loads_objects(stream.read(), path)
            found = found[0] if isinstance(found, list) and len(found) == 1 else found
        elif start[:2] == b"PK" or path.suffix == ".pt":
            from common.formats.checkpoints import load_torch

            found = _as_arrays(load_torch(path))
            return _of_value(found, path) | {"meta": _fidelity_meta(path.name)}
        else:
            found = read_pickle(path)
    return _of_edm2(found, path, metric, width) or _of_value(found, path)


def is_container(path):
    """True for a .pt of torch.save that holds statistics or features, and no network."""
    from common.formats.checkpoints import load_torch

    if path.suffix.lower() != ".pt" or path.stat().st_size < 64:
        return False
    try:
        _of_value(_as_arrays(load_torch(path)), path)
    except InputError:
        return False
    return True


def _as_arrays(value):
    """Return a value of torch.save with arrays for tensors."""
    if isinstance(value, dict):
        return {key: _as_arrays(item) for key, item in value.items()}
    if not hasattr(value, "numpy"):
        return value
    known = value.dtype.itemsize >= 4 or str(value.dtype) == "torch.float16" or not value.is_floating_point()
    return (value if known else value.float()).detach().numpy()  # numpy has no bfloat16


def _of_value(found, path):
    if isinstance(found, np.ndarray) and found.ndim == 2:
        return {"features": found}
    if isinstance(found, (tuple, list)) and len(found) == 2 and all(isinstance(part, np.ndarray) for part in found):
        return {"mu": found[0], "sigma": found[1]}
    entries = text_keys(found) if isinstance(found, dict) else {}
    if "raw_mean" in entries or "all_features" in entries:
        return _of_stylegan(entries, path)
    rows = next((entries[name] for name in ("feats", "pool_3", "features") if name in entries), None)
    if isinstance(rows, np.ndarray) and rows.ndim == 2:
        return {"features": rows}
    named = {ours: entries[name] for ours, name in statistics_names(entries, path).items()}
    if not all(isinstance(named.get(name), np.ndarray) for name in ("mu", "sigma")):
        held = ", ".join(map(str, list(entries)[:5])) or type(found).__name__
        raise InputError(f"no statistics or features in it, it has {held}", where=path,
                         do="Give a file of statistics or features")
    return {"mu": named["mu"], "sigma": named["sigma"]}


def statistics_names(names, path):
    """Return {"mu" or "sigma": the name it has among these}; InputError for one that has two of its names."""
    known = {}
    for name in names:
        ours = NAMES.get(name, name)
        if ours not in NAMES.values():
            continue
        if ours in known:
            raise InputError(f"'{known[ours]}' and '{name}' are two names of the same statistics", where=path,
                             do="Keep one of them")
        known[ours] = name
    return known


def _of_stylegan(entries, path):
    """Return the parts of a saved FeatureStats: rows where all were kept, else the moments of its sums.

    As StyleGAN takes them the covariance divides by n.
    """
    rows, count = entries.get("all_features"), entries.get("num_items")
    if isinstance(rows, list) and rows:
        if not all(isinstance(part, np.ndarray) and part.ndim == 2 and part.shape[1:] == rows[0].shape[1:]
                   for part in rows):
            raise InputError("its all_features are not rows of equal length", where=path, do=AGAIN)
        return {"features": np.concatenate(rows)}
    mean, products = entries.get("raw_mean"), entries.get("raw_cov")
    known = isinstance(mean, np.ndarray) and isinstance(products, np.ndarray) and mean.ndim == 1
    if not known or not isinstance(count, int) or count < 2 or products.shape != (len(mean), len(mean)):
        raise InputError("its raw_mean, raw_cov and num_items do not go together", where=path, do=AGAIN)
    mean = mean.astype(np.float64) / count
    return {"mu": mean, "sigma": products.astype(np.float64) / count - np.outer(mean, mean), "count": count}


def _of_edm2(found, path, metric, width):
    """Return the parts of one entry of an EDM2 pickle, None for a pickle of another kind."""
    entries = text_keys(found) if isinstance(found, dict) else {}
    metrics = {key: text_keys(value) for key, value in entries.items() if isinstance(value, dict)}
    if not metrics:
        return None
    fitting = [name for name, entry in metrics.items() if width and getattr(entry.get("mu"), "shape", None) == (width,)]
    metric = fitting[0] if len(fitting) == 1 else metric
    if metric not in metrics:
        raise InputError(f"no entry '{metric}' in the file, which has {', '.join(metrics)}", where=path,
                         do="Give an EDM2 file of statistics, or another metric")
    for key in ("mu", "sigma"):
        if not isinstance(metrics[metric].get(key), np.ndarray):
            raise InputError(f"entry '{metric}' has no array '{key}'", where=path, do=AGAIN)
    return {"mu": metrics[metric]["mu"], "sigma": metrics[metric]["sigma"], "count": entries.get("num_images"),
            "meta": {"metric": metric}}


def text_keys(entries):
    """Return a dict whose keys are text; Python 2 wrote bytes."""
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in entries.items()}


def _fidelity_meta(name):
    """Return what the name of a file in torch-fidelity's cache says: its Inception resizes as TensorFlow did."""
    known = re.search(r"-inception-v3-compat-(features|stat-fid)-\d+\.pt$", name)
    return {"extractor": "inception", "resize": "legacy_tensorflow"} if known else {}
