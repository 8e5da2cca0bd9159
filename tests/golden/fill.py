"""Deterministic weights for golden cases, so that no weight file is stored.

A manifest has one row per state-dict entry, in the checkpoint's own order:

    {"name": str, "shape": [int, ...], "dtype": "float32", "mean": float, "std": float}    a float entry
    {"name": str, "shape": [int, ...], "dtype": "int64", "value": int}                     an integer buffer

A float entry depends on nothing but its name, shape, mean and std: normal draws from PCG64 seeded with the CRC-32 of
the name, in float32 and C order. Two things replace the filled value: an array `state:<name>` in case.npz, and a row's
`buffer`, which names an array of case.npz.
"""

import json
import zlib

import numpy as np


def fill_array(row):
    """Return the array (shape row["shape"]) that one manifest row stands for."""
    shape = tuple(row["shape"])
    if "value" in row:
        return np.full(shape, row["value"], dtype=row["dtype"])
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(row["name"].encode())))
    draws = generator.standard_normal(shape, dtype=np.float32)
    return np.asarray(row["mean"] + row["std"] * draws).astype(row["dtype"])


def load_manifest(path):
    """Return the rows of a manifest.json."""
    return json.loads(path.read_text())


def fill_state(rows, arrays):
    """Return {name: numpy array} for manifest rows; `arrays` are those of case.npz, which may replace values."""
    state = {}
    for row in rows:
        replaced = arrays.get(f"state:{row['name']}")
        if replaced is None and "buffer" in row:
            replaced = arrays[row["buffer"]]
        if replaced is None:
            state[row["name"]] = fill_array(row)
        else:
            state[row["name"]] = np.asarray(replaced, dtype=row["dtype"]).reshape(row["shape"])
    return state
