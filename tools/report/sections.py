"""A section for each tool: its runs as rows, curves, galleries, tables, and all else folded away."""

import shlex
from html import escape

from common.numerals import measured
from tools.report.cards import figure_text, os_stem
from tools.report.curves import charts, long_table
from tools.report.markup import anchor, figure, folded, link_to, table
from tools.report.pictures import OF_A_RUN
from tools.report.words import duration, short_names, show, spoken

ROWS = 200  # rows of a table that are shown
SCALARS = 12  # results shown as columns where no summary says which; the run's details list all
NOT_COMPARED = {"json", "quiet", "debug", "dry_run", "overwrite", "workdir", "output_dir", "output"}  # output and paths
WORDS = 40  # signs of a result in words that is shown as a column
OPEN = 12  # pictures of a tool that are not folded away
CHARTS = 9  # of a tool that are not folded away
SPREADS = ("_se", "_interval", "_low", "_high")
OPENED = 6  # tables of a tool up to which they are shown unfolded
KNOWN = ("status", "tool", "command", "options", "results", "outputs", "seconds", "files", "owns", "derived", "content",
         "extent", "versions", "inputs", "request", "stamps", "sizes", "machine", "summary", "words", "why", "device",
         "folder")


class Section:
    """Writes the section of some runs. words: Words.  galleries: {run's name: [(name, path, Picture)]}."""

    def __init__(self, words, galleries, place):
        self.words, self.galleries, self.place = words, galleries, place

    def of_tool(self, tool, runs):
        """Return a tool's section."""
        commands = {}
        for run in runs:
            commands.setdefault(run.command, []).append(run)
        tables = "".join(self.runs_table(command, chosen) for command, chosen in commands.items())
        details = "".join(self.details(command, chosen) for command, chosen in commands.items())
        name = anchor("tool", tool)
        return (f'<section aria-labelledby="{name}"><h2 id="{name}">{self.words.html(tool)}</h2>{tables}'
                f"{self.curves(runs)}{self.gallery(runs)}{self.tables(runs)}{details}</section>")

    def of_rest(self, runs, title):
        """Return the section of files that belong to no run."""
        body = self.curves(runs) + self.gallery(runs) + self.tables(runs)
        return f'<section aria-labelledby="rest"><h2 id="rest">{title}</h2>{body}</section>' if body else ""

    def runs_table(self, command, runs):
        """Return the table of one command's runs: figures or results, the options in which they differ, time."""
        options = [run.record.get("options") or {} for run in runs]
        columns = {spoken(name): [self.words.value(one.get(name)) for one in options] for name in differing(options)}
        found = _figures(runs, self.words) or _results(runs, self.words)
        times = {"time": [escape(duration(run.record.get("seconds"))) for run in runs]}
        machines = {"machine": [self.words.html(_machine(run.record)) for run in runs]} if len(runs) > 1 else {}
        columns = {**{name: cells for name, cells in found.items() if name not in columns}, **columns, **times,
                   **machines}
        alike = {name: cells[0] for name, cells in columns.items() if len(set(cells)) == 1}
        if len(runs) > 1:
            columns = {name: cells for name, cells in columns.items() if name not in alike or name == "time"}
        columns = {name: cells for name, cells in columns.items() if any(cell not in ("", "—") for cell in cells)}
        names = short_names([run.name for run in runs])
        rows = [[self.words.html(name) + _badge(run, self.words), *cells] for name, run, *cells
                in zip(names, runs, *columns.values())]
        titles = list(dict.fromkeys(run.summary["title"] for run in runs if run.summary))
        title = f": {self.words.html(titles[0])}" if len(titles) == 1 else ""
        same = [f"{self.words.html(name)} {cell}" for name, cell in alike.items()
                if name in found and len(runs) > 1 and cell not in ("", "—")]
        all_runs = "both runs" if len(runs) == 2 else f"all {len(runs):,} runs"
        note = f'<p class="note">Alike in {all_runs}: {", ".join(same)}.</p>' if same else ""
        shown = table(["run", *map(self.words.html, columns)], rows, self.words.html(f"runs of {command}"))
        return f"<h3>{self.words.html(command)}{title}</h3>{shown}{note}"

    def curves(self, runs):
        """Return the charts of the runs' logs and long tables, all runs in one chart for each quantity."""
        logs = {run.name: run.log for run in runs if run.log}
        drawn = charts(logs, short_names(list(logs)), self.words) if logs else []
        grouped = {}
        for run in runs:
            for one in run.tables:
                rows = long_table(one)
                if rows:
                    key = os_stem(one.name), tuple(one.columns)
                    grouped.setdefault(key, {})[one.name] = rows
        stems = [stem for stem, _ in grouped]
        for (stem, columns), members in grouped.items():
            names = short_names([name.rpartition("/")[0] or name for name in members])
            of = f" ({spoken(stem)})" if len(set(stems)) > 1 else ""
            drawn += charts(members, names, self.words, axis=columns[0], of=of)
        if not drawn:
            return ""
        kind, more = " single" if len(drawn) == 1 else "", "".join(drawn[CHARTS:])
        more = folded(f"{len(drawn) - CHARTS} more curves", f'<div class="charts">{more}</div>') if more else ""
        return f'<h3>Curves</h3><div class="charts{kind}">{"".join(drawn[:CHARTS])}</div>{more}'

    def gallery(self, runs):
        """Return the pictures of some runs with their captions."""
        figures, left = [], 0
        for run in runs:
            shown = self.galleries.get(run.name, [])
            left += len(run.pictures) - len(shown)
            for name, path, picture in shown:
                figures.append(figure(picture, self.caption(run, name, path), link_to(path, self.place)))
        if not figures:
            return ""
        left = f"{left:,} more pictures are" if left > 1 else "1 more picture is" if left else ""
        note, more = f'<p class="note">{left} in the folder.</p>' if left else "", "".join(figures[OPEN:])
        more = folded(f"{len(figures) - OPEN} more pictures", f'<div class="pictures">{more}</div>') if more else ""
        return f'<h3>Pictures</h3><div class="pictures">{"".join(figures[:OPEN])}</div>{more}{note}'

    def caption(self, run, name, path):
        """Return the caption of a picture: what the summary says of it, else its name in words; and whose it is."""
        own = run.caption(path)
        text, stem = own or spoken(os_stem(name)), spoken(os_stem(name))
        if own and sum(run.caption(place) == own for _, place in run.pictures[:OF_A_RUN]) > 1:
            text = f"{own}: {stem}"
        whose = run.name if own or not run.record else name.rpartition("/")[0]
        return self.words.html(text) + (f" <span>{self.words.html(whose)}</span>" if whose not in ("", ".") else "")

    def tables(self, runs):
        """Return the tables of some runs; where a summary or a curve says what is in one, it is folded away."""
        owned = [(run, one) for run in runs for one in run.tables]
        parts = []
        for run, one in owned:
            body = self.table(one)
            fold = run.summary is not None or len(owned) > OPENED or long_table(one)
            name = self.words.html(one.name)
            parts.append(folded(name, body) if fold else f'<p class="note">{name}</p>{body}')
        return f"<h3>Tables</h3>{''.join(parts)}" if parts else ""

    def table(self, one):
        """Return one table, its first rows."""
        text = f'<pre tabindex="0">{self.words.html(one.text)}</pre>' if one.text else ""
        if not one.columns:
            return text
        rows = [[self.words.cell(cell) for cell in row] for row in one.rows[:ROWS]]
        left = len(one.rows) - len(rows)
        note = f"first {ROWS} rows; {left:,} more in the file" if left else ""
        return table([self.words.html(name) for name in one.columns], rows, self.words.html(one.name), note) + text

    def details(self, command, runs):
        """Return what is alike in all runs of a command, and each run's own, folded away."""
        parts = [_parts(run.record) for run in runs]
        alike = {part: {name: value for name, value in parts[0][part].items()
                        if all(name in one[part] and one[part][name] == value for one in parts)} for part in parts[0]}
        body = "".join(self._pairs(part, pairs) for part, pairs in alike.items())
        for run, own in zip(runs, parts):
            left = {part: {name: value for name, value in pairs.items() if name not in alike[part]}
                    for part, pairs in own.items()}
            inner = "".join(self._pairs(part, pairs) for part, pairs in left.items())
            inner = f"{self._command(run)}{inner}{self._inputs(run)}"
            body += folded(self.words.html(run.name) + _badge(run, self.words), inner) if len(runs) > 1 else inner
        what = f"{len(runs)} runs" if len(runs) > 1 else "the run"
        return folded(f"{self.words.html(command)}: options, results, inputs, versions and command of {what}", body,
                      "all")

    def _pairs(self, title, pairs):
        rows = [[self.words.html(spoken(name)), self.words.value(value)] for name, value in pairs.items()]
        return table([title, ""], rows, title) if rows else ""

    def _inputs(self, run):
        """Return the inputs with their hashes."""
        given = run.record.get("inputs")
        inputs = [one for one in given if isinstance(one, dict) and one] if isinstance(given, list) else []
        names = list(dict.fromkeys(name for one in inputs for name in one))[:6]
        if not names:
            return ""
        rows = [[self.words.value(one.get(name)) for name in names] for one in inputs[:ROWS]]
        return table(["input" if name == "name" else self.words.html(spoken(name)) for name in names], rows, "inputs")

    def _command(self, run):
        """Return the command that repeats a run, where its record says what was asked for."""
        if not run.record.get("options"):
            return ""
        given = run.record.get("words")
        if given is None:
            options = run.record.get("request") or run.record.get("options") or {}
            given = [word for name, value in options.items() for word in _flag(name, value)]
        command = shlex.join(self.words.plain(word) for word in given)
        head = "<p>To repeat it, from this folder (… stands for folders outside):</p>"
        return f'{head}<pre tabindex="0">python -m tools.{self.words.html(run.command)} {escape(command)}</pre>'


def _flag(name, value):
    """Return the words of an option; none where it is not given."""
    if value is None or value is False or value == [] or not name.islower():
        return []
    values = [] if value is True else value if isinstance(value, list) else [value]
    return [f"--{name}", *map(str, values)]


def _parts(record):
    """Return {part of a record: {name: value}} of what is worth reading."""
    machine = record.get("machine") or record.get("device") or {}
    more = {name: value for name, value in record.items() if name not in KNOWN}
    return {"options": record.get("options") or {}, "results": record.get("results") or {},
            "derived from inputs": record.get("derived") or {}, "versions": record.get("versions") or {},
            "machine": machine if isinstance(machine, dict) else {"device": machine},
            "run": {"time": duration(record.get("seconds")), **more}}


def _badge(run, words):
    """Return how a run ended, where it is not done."""
    if run.status == "done":
        return ""
    why = f": {run.record['why']}" if isinstance(run.record.get("why"), str) else ""
    kind = run.status if run.status in ("failed", "interrupted", "running") else "failed"
    return f' <span class="status {kind}">{words.html(run.status + why)}</span>'


def _figures(runs, words):
    """Return {column: cells} of the figures of runs whose summaries have one row each."""
    columns = {}
    if any(run.summary is not None and len(run.summary["rows"]) != 1 for run in runs):
        return columns
    for index, run in enumerate(runs):
        rows = run.summary["rows"] if run.summary else []
        if not rows:
            continue
        for one in rows[0]["figures"]:
            name = f"{one['name']} ({one['unit']})" if one.get("unit") else one["name"]
            columns.setdefault(name, [""] * len(runs))[index] = words.html(figure_text(one))
    return columns


def _results(runs, words):
    """Return {column: cells} of the results that are numbers, with their errors, or words; no paths."""
    columns = {}
    for name in _union(run.results for run in runs):
        values = [run.results.get(name) for run in runs]
        if name.endswith(SPREADS) or not any(_is_scalar(value) for value in values) or len(columns) == SCALARS:
            continue
        columns[spoken(name)] = [words.html(_with_error(run.results, name)) for run in runs]
    return columns


def _is_scalar(value):
    return isinstance(value, (int, float)) or (isinstance(value, str) and "/" not in value and len(value) <= WORDS)


def _with_error(results, name):
    """Return a result as text, with the standard error or interval that stands beside it."""
    value, error = results.get(name), results.get(f"{name}_se")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return show(value)
    interval = results.get(f"{name}_interval") or [results.get(f"{name}_low"), results.get(f"{name}_high")]
    numbers = all(isinstance(end, (int, float)) for end in interval) and len(interval) == 2
    if isinstance(error, (int, float)):
        return measured(value, error)
    return measured(value, low=interval[0], high=interval[1]) if numbers else show(value)


def differing(options):
    """Return the names of options whose values differ between runs (one run: none), except of output and paths."""
    names = [name for name in _union(options) if name not in NOT_COMPARED]
    return [name for name in names if len({repr(one.get(name)) for one in options}) > 1]


def _union(dictionaries):
    """Return all keys in the order of their first appearance."""
    return list(dict.fromkeys(name for one in dictionaries for name in (one or {})))


def _machine(record):
    device = record.get("device") or record.get("machine") or ""
    return (device.get("name") or device.get("device") or "") if isinstance(device, dict) else str(device)
