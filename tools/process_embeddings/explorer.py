"""The explorer: one self-contained HTML file with points, records, neighbours and thumbnails of one or more maps.

Markup, style and scripts are in page/ and assembled here. The data are gzipped JSON in base64; arrays in it are base64
of their little-endian bytes, columns of records are numbers, words with an index, or one constant. Where no script may
run the page is a text and the figure.
"""

import base64
import gzip
import hashlib
import json
import re
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

import numpy as np

from common.console import shown
from tools.process_embeddings.atlas import make_atlas
from tools.process_embeddings.classes import find_classes
from tools.process_embeddings.columns import encode_column, pack

SCRIPTS = ("data.js", "colours.js", "draw.js", "labels.js", "select.js", "ranges.js", "panel.js", "table.js",
           "address.js", "pointer.js", "main.js")
NEIGHBOURS = 12  # shown on a click
MANY = 20_000  # points above which the page drops the BULKY columns
OWN = ("set", "class", "umap_x", "umap_y", "umap_z")  # the map's own columns; a record's of that name is record_...
BULKY = ("reconstructed_path", "activation_path", "batch_index")


@dataclass
class Tab:
    """One map on the page.

    records: dictionaries.  embedding (N, 2 or 3).  group (N,) number of the set in `names`.  roots: of the sets'
    images. neighbours, distances (N, k) in feature space.  scores: {name: (N,)} computed besides the records' own
    columns.
    numbers: [(measure, value as text)].  notes: sentences.  class_names: {label: name} for records without one.
    near: what the neighbours are near in.
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
    near: str = "in feature space"


def build_page(tabs, heading, atlas_bytes, figure=None, advance=lambda n: None):
    """Return (HTML text, {"thumbnails", "thumbnail_pixels", "unreadable"}) of some Tabs.

    figure: Path of a PNG beside the page, shown where no script may run.
    """
    wanted = [_image_paths(tab) for tab in tabs]
    distinct = list(dict.fromkeys(path for paths in wanted for path in paths if path is not None))
    atlas = make_atlas(distinct, atlas_bytes, advance)
    content = {
        "heading": heading,
        "atlas": {"cell": atlas.cell, "columns": atlas.columns, "perSheet": atlas.per_sheet, "sheets": atlas.sheets},
        "tabs": [_tab(tab, [atlas.place.get(path, -1) for path in paths]) for tab, paths in zip(tabs, wanted)],
    }
    for tab, same in zip(content["tabs"], _same_samples(tabs)) if len(tabs) > 1 else ():
        tab["same"] = pack(same, "<u4")
    counts = {"thumbnails": len(atlas.place), "thumbnail_pixels": atlas.cell, "unreadable": atlas.unreadable}
    return _assemble(heading, content, figure), counts


def _assemble(heading, content, figure):
    page = files(__package__) / "page"
    text = {name: (page / name).read_text(encoding="utf-8") for name in ("explorer.html", "explorer.css", *SCRIPTS)}
    plain = json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
    parts = {"TITLE": escape(shown(heading)), "CSS": text["explorer.css"], "PICTURE": _figure(figure) if figure else "",
             "DATA": base64.b64encode(gzip.compress(plain, 6, mtime=0)).decode(),
             "SCRIPT": '"use strict";\n' + "\n".join(text[name] for name in SCRIPTS)}
    parts["POLICY"] = _policy(parts["CSS"], f"\n{parts['SCRIPT']}\n")
    return re.sub(r"%(TITLE|CSS|DATA|SCRIPT|PICTURE|POLICY)%", lambda match: parts[match.group(1)],
                  text["explorer.html"])


def _policy(css, script):
    """Return the page's Content-Security-Policy: its own style, script and pictures, and nothing from elsewhere.

    The picture beside the page, of the same origin, is for a site whose own policy forbids the one in the page.
    """
    style, code = (base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (css, script))
    return f"default-src 'none'; script-src 'sha256-{code}'; style-src 'sha256-{style}'; img-src data: blob: 'self'; " \
           "object-src data:; base-uri 'none'; form-action 'none'"


def _figure(path):
    """Return the element of a PNG: from the page itself or, where a policy forbids that, the file beside it."""
    data = base64.b64encode(path.read_bytes()).decode()
    return (f'<object type="image/png" data="data:image/png;base64,{data}" aria-label="The map">'
            f'<img src="{escape(quote(path.name, errors="surrogateescape"))}" loading="lazy" '
            f'alt="The map, if {escape(shown(path.name))} is beside this page"></object>')


def _same_samples(tabs):
    """Return for each tab a number (N,) for each sample: equal numbers are one sample on several maps.

    One is the same by its set's folder and `sample_id`, or by the set's name and the `original_path` of the image.
    """
    numbers, lists, count = {}, [], 0
    for tab in tabs:
        used, found = set(), []
        roots = [str(Path(root).resolve()) for root in tab.roots]
        for index, (record, number) in enumerate(zip(tab.records, tab.group)):
            folder = str(record.get("activation_path") or record.get("image_path") or "").rpartition("/")[0]
            keys = [(roots[number], folder, str(record.get("sample_id") or index))]
            if record.get("original_path"):
                keys.append((tab.names[number], str(record["original_path"])))
            same = next((numbers[key] for key in keys if key in numbers and numbers[key] not in used), count)
            count += same == count
            for key in keys:
                numbers.setdefault(key, same)
            used.add(same)
            found.append(same)
        lists.append(found)
    return lists


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
    columns = [{"name": f"record_{name}" if name in (*OWN, *tab.scores) else name,
                **encode_column([record.get(name) for record in tab.records])} for name in fields]
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
        "near": tab.near,
    }
