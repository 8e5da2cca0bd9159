"""The explorer: one self-contained HTML file with points, records, neighbours and thumbnails of one or more maps.

Markup, style and scripts are in page/ and assembled here. Arrays are base64 of their little-endian bytes, columns of
records are numbers, words with an index, or one constant.
"""

import json
import re
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np

from tools.process_embeddings.atlas import make_atlas
from tools.process_embeddings.classes import find_classes
from tools.process_embeddings.columns import encode_column, pack

SCRIPTS = ("data.js", "draw.js", "select.js", "panel.js", "main.js")
NEIGHBOURS = 12  # shown on a click
MANY = 20_000  # points above which the page drops the BULKY columns
BULKY = ("reconstructed_path", "activation_path", "batch_index")


@dataclass
class Tab:
    """One map on the page.

    records: dictionaries.  embedding (N, 2 or 3).  group (N,) number of the set in `names`.  roots: of the sets'
    images. neighbours, distances (N, k) in feature space.  scores: {name: (N,)} computed besides the records' own
    columns.
    numbers: [(measure, value as text)].  notes: sentences.  class_names: {label: name} for records without one.
    """

    title: str
    records: list
    embedding: np.ndarray
    group: np.ndarray
    names: list
    roots: list
    neighbours: np.ndarray
    distances: np.ndarray
    scores: dict = field(default_factory=dict)
    numbers: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    class_names: dict = field(default_factory=dict)


def build_page(tabs, heading, atlas_bytes, advance=lambda n: None):
    """Return (HTML text, {"thumbnails", "thumbnail_pixels", "unreadable"}) of some Tabs."""
    wanted = [_image_paths(tab) for tab in tabs]
    distinct = list(dict.fromkeys(path for paths in wanted for path in paths if path is not None))
    atlas = make_atlas(distinct, atlas_bytes, advance)
    content = {
        "heading": heading,
        "atlas": {"cell": atlas.cell, "columns": atlas.columns, "perSheet": atlas.per_sheet, "sheets": atlas.sheets},
        "tabs": [_tab(tab, [atlas.place.get(path, -1) for path in paths]) for tab, paths in zip(tabs, wanted)],
    }
    counts = {"thumbnails": len(atlas.place), "thumbnail_pixels": atlas.cell, "unreadable": atlas.unreadable}
    return _assemble(heading, content), counts


def _assemble(heading, content):
    page = files(__package__) / "page"
    text = {name: (page / name).read_text(encoding="utf-8") for name in ("explorer.html", "explorer.css", *SCRIPTS)}
    # "<" is escaped, so that no user text can close the script element
    data = json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = {"TITLE": escape(heading), "CSS": text["explorer.css"], "DATA": data,
             "SCRIPT": '"use strict";\n' + "\n".join(text[name] for name in SCRIPTS)}
    return re.sub(r"%(TITLE|CSS|DATA|SCRIPT)%", lambda match: parts[match.group(1)], text["explorer.html"])


def _image_paths(tab):
    """Return the image file of each record, None where there is none."""
    paths = []
    for record, number in zip(tab.records, tab.group):
        path = Path(tab.roots[number]) / str(record["image_path"]) if record.get("image_path") else None
        paths.append(path if path is not None and path.is_file() else None)
    return paths


def _tab(tab, cells):
    count, k = len(tab.records), min(NEIGHBOURS, tab.neighbours.shape[1])
    fields = list(dict.fromkeys(name for record in tab.records for name in record))
    if count > MANY:
        k, fields = min(k, 8), [name for name in fields if name not in BULKY]
    columns = [{"name": name, **encode_column([record.get(name) for record in tab.records])} for name in fields]
    for name, values in tab.scores.items():
        values = [str(value) for value in np.asarray(values, np.float32)]
        columns.append({"name": name, **encode_column(values), "computed": True})
    classes = find_classes(tab.records, tab.class_names)
    return {
        "title": tab.title, "count": count, "dimensions": tab.embedding.shape[1], "sets": list(tab.names),
        "points": pack(tab.embedding, "<f4"), "set": pack(tab.group, "<u2"), "cell": pack(cells, "<i4"),
        "classes": classes.names, "class": pack(classes.of, "<u4"),
        "k": k, "neighbours": pack(tab.neighbours[:, :k], "<u4"), "distances": pack(tab.distances[:, :k], "<f4"),
        "columns": columns, "numbers": [list(map(str, pair)) for pair in tab.numbers], "notes": list(tab.notes),
    }
