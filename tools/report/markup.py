"""Pieces of the page as HTML. Texts that come in are HTML already."""

import os
import re
from html import unescape
from urllib.parse import quote

MANY = 12  # columns of a table that is too wide for a page
SMALL = re.compile("<small>.*?</small>")  # a note below a value, which stays a number
FEW = 6  # rows of such a table that become columns


def table(columns, rows, label, caption="", heads=True, cut=True):
    """Return a table in a frame of its own that scrolls.

    columns: names.  rows: cells.  label: what it is, for who does not see it.  heads: the first cell of a row names it.
    cut: long texts may break into lines. A few long rows become columns.
    """
    if len(columns) > MANY and len(rows) <= FEW and heads and all(len(row) == len(columns) for row in rows):
        first, *names = columns
        across = [list(row) for row in zip(names, *(row[1:] for row in rows))]
        columns, rows = [first, *(row[0] for row in rows)], across
    numeric = [is_numeric([row[index] for row in rows if index < len(row)]) for index in range(len(columns))]
    kinds = [' class="number"' if number else "" for number in numeric]
    head = "".join(f'<th scope="col"{kind}>{name}</th>' for name, kind in zip(columns, kinds))
    lines = []
    for row in rows:
        cells = [*row, *[""] * (len(columns) - len(row))][: len(columns)]
        wide = [' class="long"' if cut and len(_bare(SMALL.sub("", cell))) > 40 else kind
                for cell, kind in zip(cells, kinds)]
        if heads:
            lines.append(f'<th scope="row">{cells[0]}</th>'
                         + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(cells[1:], wide[1:])))
        else:
            lines.append("".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(cells, wide)))
    title = f"<caption>{caption}</caption>" if caption else ""
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    many = ' class="many"' if len(columns) > MANY else ""
    top = f"<thead><tr>{head}</tr></thead>" if any(columns) else ""
    return (f'<div class="wide" role="region" tabindex="0" aria-label="{_attribute(label)}">'
            f"<table{many}>{title}{top}<tbody>{body}</tbody></table></div>")


def is_numeric(cells):
    """True when every non-empty cell starts like a number (`3.2 ± 0.1` is one)."""
    filled = [bare for bare in map(_bare, cells) if bare.strip() not in ("", "-", "—")]
    return bool(filled) and all(re.match(r"[-+−<>~(]*\s*[\d.]", bare) for bare in filled)


def _bare(cell):
    return unescape(re.sub(r"<[^>]*>", "", cell))


def _attribute(text):
    return _bare(text).replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


def figure(picture, caption, link=""):
    """Return a picture with its caption, which leads to the file beside the page."""
    kind = ' class="tiny"' if picture.tiny else ""
    image = (f'<img{kind} src="{picture.uri}" width="{picture.width}" height="{picture.height}" '
             f'alt="{_attribute(caption)}">')
    image = f'<a href="{link}">{image}</a>' if link else image
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def folded(title, body, kind=""):
    """Return a body that is folded away behind its title."""
    kind = f' class="{kind}"' if kind else ""
    return f"<details{kind}><summary>{title}</summary>{body}</details>" if body else ""


def link_to(path, place):
    """Return the address of a file as seen from the page's folder."""
    return _attribute(quote(os.path.relpath(path, place), errors="surrogateescape"))


def anchor(kind, name):
    """Return an id made of a name."""
    return f"{kind}-" + (re.sub(r"\W+", "-", name).strip("-") or "none")
