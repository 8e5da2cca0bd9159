"""What a command found, in a few figures that people read first: the entry `summary` of its run.json.

`report` shows it without knowing the command. A summary is a dictionary:

title: in words; runs of one command with the same title are compared with each other, so it names what must be alike.
rank: "comparison" (of several runs), "measurement", or "step" (one that others build on).
rows: [{"name": text, empty where the run's own name serves, "figures": [figure]}].
sentence: what the rows say, in one sentence; empty: made from the rows.
pictures: [[file name or pattern relative to the run's folder, caption]], the one that shows the most first.

A figure: {"name", "value", "unit", "better": "lower", "higher" or ""}, with "se" (its standard error) or "low" and
"high" (a 95 % interval), and "published": {"value", "source"} where a paper reports this very thing.
"""

from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from common.files import write_json
from common.numerals import LARGEST

FILE = "summary.json"  # of a folder whose tables no run wrote
RANKS = ("comparison", "measurement", "step")
DIRECTIONS = ("", "lower", "higher")


@dataclass(frozen=True)
class Quantity:
    """How one entry of a command's results becomes a figure.

    key: the entry.  name, unit: in words.  better: "lower", "higher" or "".  se: the entry of its standard error
    (default: the key with _se).  low, high: entries of a 95 % interval.  half: entry of half such an interval.
    scale: 100 for a share in per cent.
    """

    key: str
    name: str
    unit: str = ""
    better: str = ""
    se: str = ""
    low: str = ""
    high: str = ""
    half: str = ""
    scale: float = 1

    def of(self, results, published=None):
        """Return the figure, or None where the results have no such number. published: (value, source)."""
        value = results.get(self.key)
        if not _is_number(value):
            return None
        se, half = results.get(self.se or f"{self.key}_se"), results.get(self.half)
        spread = {"se": se} if _is_number(se) else {}
        if _is_number(half):
            spread = {"low": value - half, "high": value + half}
        elif _is_number(results.get(self.low)) and _is_number(results.get(self.high)):
            spread = {"low": results[self.low], "high": results[self.high]}
        scaled = {name: each * self.scale for name, each in {"value": value, **spread}.items()}
        figure = {"name": self.name, **scaled, "unit": self.unit, "better": self.better}
        return {**figure, "published": dict(zip(("value", "source"), published))} if published else figure


def figures(results, quantities):
    """Return the figures of those quantities that the results have."""
    return [figure for figure in (quantity.of(results) for quantity in quantities) if figure]


def summary(title, rows, rank="step", sentence="", pictures=()):
    """Return a summary. rows: [(name, [figure])]."""
    assert rank in RANKS
    return {"title": title, "rank": rank, "sentence": sentence, "pictures": [list(each) for each in pictures],
            "rows": [{"name": name, "figures": list(each)} for name, each in rows]}


def summariser(title, *quantities, rank="step", pictures=()):
    """Return the function results -> summary of a command whose results hold its quantities.

    title: text.
    """
    return lambda results: summary(title, [("", figures(results, quantities))], rank, pictures=pictures)


def write_summary(folder, value):
    """Write the summary of a folder whose tables no run wrote."""
    write_json(Path(folder) / FILE, value)


def check_summary(value, where):
    """Return a summary that was read; InputError where it is none."""
    problem = _problem(value)
    if problem:
        raise InputError(f"not a summary: {problem}", where=where, do="Restore or remove the file")
    return value


def _problem(value):
    """Return what is wrong with a summary, or None."""
    if not isinstance(value, dict) or not isinstance(value.get("title"), str):
        return "it has no title"
    if value.get("rank") not in RANKS:
        return "its rank is none of " + ", ".join(RANKS)
    if not isinstance(value.get("sentence", ""), str):
        return "its sentence is not text"
    pairs = value.get("pictures", [])
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2
                                              and all(isinstance(text, str) for text in pair) for pair in pairs):
        return "its pictures are not pairs of file and caption"
    rows = value.get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and isinstance(row.get("name"), str)
                                             and isinstance(row.get("figures"), list) for row in rows):
        return "its rows have no name and figures"
    good = all(_is_figure(figure) for row in rows for figure in row["figures"])
    return None if good else "a figure has no name, value, unit and direction"


def _is_figure(figure):
    if not isinstance(figure, dict) or not isinstance(figure.get("name"), str) or not _is_number(figure.get("value")):
        return False
    published = figure.get("published")
    return isinstance(figure.get("unit", ""), str) and figure.get("better", "") in DIRECTIONS \
        and all(figure.get(name) is None or _is_number(figure[name]) for name in ("se", "low", "high")) \
        and (published is None or (isinstance(published, dict) and _is_number(published.get("value"))
                                   and isinstance(published.get("source"), str)))


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST
