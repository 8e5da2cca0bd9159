"""Texts of a page: made safe, and with places on the machine that the runs were made on taken out."""

import os
import re
from html import escape

from common.console import shown
from common.numerals import LARGEST, number

PATH = re.compile(r"(?<![\w.\-/:<…)\]])~?/[^\s'\"<>|,;()\[\]{}=:]+/[^\s'\"<>|,;()\[\]{}=:]*"
                  r"|(?<![\w.\-/:<…)\]])~/[^\s'\"<>|,;()\[\]{}=:]+"
                  r"|\b[A-Za-z]:\\[^\s'\"<>|,;]+")
LONG_NUMBER = re.compile(r"[-+]?\d*\.\d{5,}([eE][-+]?\d+)?|[-+]?\d+(\.\d*)?[eE][-+]?\d+", re.ASCII)
ITEMS = 12  # of a list that are shown


class Words:
    """Turns values into texts of the page. roots: {folder on the machine: what it is called on the page}."""

    def __init__(self, roots):
        self.roots = sorted(roots.items(), key=lambda pair: -len(pair[0]))

    def plain(self, value):
        """Return a text with control characters escaped and without any folder of the machine."""
        text = str(value)
        if "/" not in text and "\\" not in text:
            return shown(text)
        text = text.replace("file:///", "/")
        for root, name in self.roots:
            if text == root:
                return shown(name or ".")
            text = text.replace(root + "/", f"{name}/" if name else "")
        if text.startswith("/") and "\n" not in text:  # one path, which may hold spaces
            return shown("…/" + text.rstrip("/").rpartition("/")[2])
        return shown(PATH.sub(_shorten, text))

    def html(self, value):
        """Return a text as HTML."""
        return escape(self.plain(value))

    def value(self, value):
        """Return a value of a record as HTML."""
        return self.html(show(value))

    def cell(self, text):
        """Return the cell of a table as HTML: a number of many digits has fewer."""
        if LONG_NUMBER.fullmatch(text.strip()):
            return escape(number(float(text)))
        return self.html(text)


def _shorten(match):
    return "…/" + re.split(r"[/\\]", match[0].rstrip("/\\"))[-1]


def roots_of(folder, runs):
    """Return {folder on the machine: what it is called on the page} of a folder of runs, also of where they were made.

    A run knows where its files were when it wrote them, and where they lie from its own folder: it may have been moved
    since.
    """
    roots = {os.path.abspath(folder): "", os.path.realpath(folder): ""}
    for run in runs:
        outputs, files = run.record.get("outputs") or (), run.record.get("files") or ()
        for output, file in zip(outputs, files):
            if not (isinstance(output, str) and isinstance(file, str) and output.endswith("/" + file)):
                continue
            place, name = output.removesuffix("/" + file), run.name
            if not os.path.isabs(place):
                break
            if place.endswith("/" + name):
                place, name = place.removesuffix("/" + name), ""
            if len(place) > 1:
                roots.setdefault(place, name)
            break
    return roots


def show(value):
    """Return a value as text: numbers as people write them, lists cut short."""
    if value is None or value == "":
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return number(value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {show(item)}" for name, item in value.items())
    if isinstance(value, list):
        texts = ", ".join(show(item) for item in value[:ITEMS])
        return f"{texts}, … ({len(value)})" if len(value) > ITEMS else texts
    return str(value)


def spoken(name):
    """Return the name of an option, a result or a file in words."""
    return re.sub(r"[_\s]+", " ", str(name)).strip()


def duration(seconds):
    """Return seconds in readable form: 0.42 s, 3 min 5 s, 2 h 10 min."""
    if not isinstance(seconds, (int, float)) or not 0 <= seconds < LARGEST:
        return ""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min {seconds % 60:.0f} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def short_names(names):
    """Return paths without the folders that all of them begin and end with; one alone is its own name."""
    names = ["this folder" if name == "." else name for name in names]
    parts = [name.split("/") for name in names]
    if len(parts) < 2:
        return names
    least = min(map(len, parts)) - 1
    first = next((index for index in range(least) if len({part[index] for part in parts}) > 1), least)
    least -= first
    last = next((index for index in range(least) if len({part[-1 - index] for part in parts}) > 1), least)
    return ["/".join(part[first:len(part) - last]) for part in parts]
