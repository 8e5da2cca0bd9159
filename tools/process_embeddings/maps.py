"""Finished maps, read again as tabs of a page: this tool's, and the csv and json of the original program."""

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
    if len(rows) != len(arrays["embedding"]):
        raise _foreign(path)
    added = arrays["embedding"].shape[1] + (len(description["map"]["sets"]) > 1)
    return description, [dict(zip(head[:-added], row)) for row in rows], arrays


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
