"""Finished maps, read again as tabs of a page: this tool's, and the csv and json of the original program."""

import re

import numpy as np

from common.errors import InputError
from common.files import read_json, read_npz
from common.formats.tables import read_table
from tools.process_embeddings.explorer import NEIGHBOURS
from tools.process_embeddings.neighbours import nearest_neighbours
from tools.process_embeddings.write import AXES


def read_map(path):
    """Return (description, records, arrays) of a finished map from its .json, .csv and, if this tool made it, .npz.

    Raises InputError when one of them is missing or does not match the others.
    """
    description = read_json(path)
    table = path.with_suffix(".csv")
    head, *rows = read_table(table) or [[]]
    if not isinstance(description, dict) or "n_neighbors" not in description or not rows:
        raise _foreign(path)
    if "map" not in description:
        return _original(path, description, head, rows)
    arrays = read_npz(path.with_suffix(".npz"), required=("embedding", "neighbours", "distances", "set"))
    if not _fits(description["map"], arrays, len(rows)):
        raise _foreign(path)
    added = arrays["embedding"].shape[1] + (len(description["map"]["sets"]) > 1)
    return description, [dict(zip(head[:-added], row)) for row in rows], arrays


def _fits(about, arrays, count):
    """Return whether a map of `count` rows has the entries and arrays that its tab is made of."""
    kinds = {"title": str, "class_names": dict, "sets": list, "results": dict}
    if not isinstance(about, dict) or not all(isinstance(about.get(name), kind) for name, kind in kinds.items()):
        return False
    sets = [isinstance(item, dict) and isinstance(item.get("name"), str) and isinstance(item.get("root"), str)
            for item in about["sets"]]
    points, near, distances, numbers = (arrays[name] for name in ("embedding", "neighbours", "distances", "set"))
    kinds = "".join(array.dtype.kind for array in (points, distances, near, numbers))
    shapes = points.ndim == near.ndim == 2 and near.shape == distances.shape and numbers.shape == (count,)
    if not (re.fullmatch("ff[iu][iu]", kinds) and shapes and len(points) == len(near) == count > 0):
        return False
    inside = near.size == 0 or 0 <= near.min() <= near.max() < count
    inside = inside and 0 <= numbers.min() <= numbers.max() < len(sets)
    return bool(sets and all(sets) and inside) and _measured(about["results"])


def _measured(results):
    """Return whether the measures of a map can be shown."""
    try:
        numbers_of(results)
        return all(isinstance(note, str) for note in results["notes"])
    except (KeyError, TypeError, ValueError):
        return False


def numbers_of(results):
    """Return [(measure, value as text)] of a map."""
    shown = [(name, f"{results[key]:,}") for name, key in (("samples", "num_samples"), ("features", "features"))
             if results[key] is not None]
    if results["variance_kept"] is not None:
        shown.append((f"variance in {results['components']} components", f"{results['variance_kept']:.1%}"))
    for name, what in (("trustworthiness", "trustworthiness"), ("class_purity", "map neighbours of the same class")):
        if results[name] is not None:
            shown.append((what, f"{results[name]:.3f}"))
    for pair in results["pairs"]:
        head = f"{pair['a']} / {pair['b']}"
        if "auc" not in pair:
            shown.append((head, "too few points to compare"))
            continue
        for name, what in (("auc", "classifier AUC"), ("own_neighbours", "nearest is of own set"),
                           ("own_neighbours_map", "the same in the map")):
            shown.append((f"{head}: {what}",
                          f"{pair[name]:.3f} ({pair[name + '_low']:.3f} to {pair[name + '_high']:.3f})"))
        shown.append((f"{head}: coverage of {pair['a']}", f"{pair['coverage_of_a_by_b']:.3f}"))
        shown.append((f"{head}: coverage of {pair['b']}", f"{pair['coverage_of_b_by_a']:.3f}"))
    return shown


def _foreign(path):
    return InputError("not the description of a map that matches its table", where=path,
                      do="Pass a .json that process_embeddings wrote, with its .csv beside it")


def _original(path, description, head, rows):
    """Return what read_map does of an original's map, which has no features: the neighbours are those on the map."""
    axes = [name for name in AXES if name in head]
    columns = [head.index(name) for name in axes]
    try:
        embedding = np.array([[row[column] for column in columns] for row in rows], np.float32)
    except (IndexError, ValueError) as error:
        raise _foreign(path) from error
    if len(axes) < 2 or len(rows) < 2 or not np.isfinite(embedding).all():
        raise _foreign(path)
    records = [{name: cell for name, cell in zip(head, row) if name not in axes} for row in rows]
    index, distance = nearest_neighbours(embedding, NEIGHBOURS)
    name = str(description.get("model") or path.stem)
    about = {
        "title": path.stem, "sets": [{"name": name, "root": _root_of(path.parent, records)}], "class_names": {},
        "near": "on the map",
        "results": {"num_samples": len(rows), "features": None, "variance_kept": None, "trustworthiness": None,
                    "class_purity": None, "pairs": [], "notes": []},
    }
    arrays = {"embedding": embedding, "neighbours": index, "distances": distance, "set": np.zeros(len(rows), np.int32)}
    return description | {"map": about}, records, arrays


def _root_of(folder, records):
    """Return where the images are, relative to the folder of a map: beside it or above, as in data/embeddings."""
    names = [record["image_path"] for record in records if record.get("image_path")][:1]
    return next((place for place in ("..", ".", "../..") for name in names if (folder / place / name).is_file()), "..")
