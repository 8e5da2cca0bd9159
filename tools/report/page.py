"""The page itself: the content of a folder as one self-contained HTML text.

Sections are keyed by tool. A tool that needs more than the common section gets a function in SECTIONS that takes its
runs and returns HTML, placed before the common section.
"""

import os
import re
from html import escape
from urllib.parse import quote

from common.errors import InputError
from tools.report.curves import LINES, charts
from tools.report.pictures import figure_parts
from tools.report.style import CSS

SECTIONS = {}

ROWS = 60  # rows of a table that are shown
PICTURES = 24  # pictures of one run that are shown
SCALARS = 14  # results shown as columns; the run's details list all
NOT_COMPARED = {"json", "quiet", "debug", "dry_run", "overwrite", "workdir", "output_dir", "output"}  # output and paths


def build(scanned, title, place):
    """Return the HTML page, to be written in folder `place`; unreadable pictures are added to `scanned.unreadable`."""
    tools = {}
    for run in scanned.runs:
        tools.setdefault(run.tool, []).append(run)
    body = [_pages([scanned.rest, *scanned.runs], place), _files(scanned, [scanned.rest])]
    for tool, runs in sorted(tools.items()):
        extra = SECTIONS[tool](runs) if tool in SECTIONS else ""
        body.append(f'<h2 id="{_anchor(tool)}">{escape(tool)}</h2>{extra}{_tool_section(scanned, runs)}')
    head = f"<h1>{escape(title)}</h1>{_lead(scanned, tools)}"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{CSS}</style></head>\n'
        f"<body>{head}{_warnings(scanned)}{''.join(body)}</body></html>\n"
    )


def _anchor(tool):
    return "tool-" + re.sub(r"\W+", "-", tool)


def _lead(scanned, tools):
    links = "".join(f'<a href="#{_anchor(tool)}">{escape(tool)}</a>' for tool in sorted(tools))
    total = sum(run.record.get("seconds") or 0 for run in scanned.runs)
    time = f", {duration(total)} of computing in total" if total else ""
    runs = ", ".join(f"{tool}: {len(chosen)} run{'s' * (len(chosen) > 1)}" for tool, chosen in sorted(tools.items()))
    return f'<p class="lead">{escape(runs or "no runs")}{time}</p><nav>{links}</nav>'


def _warnings(scanned):
    if not scanned.unreadable:
        return ""
    rows = "".join(f"<li>{escape(name)}: {escape(why)}</li>" for name, why in scanned.unreadable.items())
    return f'<div class="warn"><b>{len(scanned.unreadable)} unreadable files</b><ul>{rows}</ul></div>'


def _tool_section(scanned, runs):
    """Return a tool's section: a table for each command, curves, tables and pictures, each run's details."""
    commands = {}
    for run in runs:
        commands.setdefault(run.command, []).append(run)
    tables = "".join(_runs_table(command, chosen) for command, chosen in commands.items())
    details = "".join(_details(run) for run in runs)
    return f"{tables}{_curves(runs)}{_files(scanned, runs)}<h3>All options and results</h3>{details}"


def _runs_table(command, runs):
    """Return the table of one command's runs: the options in which they differ, results, time, machine."""
    options = differing([run.record.get("options") or {} for run in runs])
    results = [name for name in _union(run.record.get("results") for run in runs) if _any_scalar(name, runs)][:SCALARS]
    machines = [_machine(run.record) for run in runs]
    columns = ["run", *options, *results, "time", *(["machine"] if any(machines) else [])]
    rows = []
    for run, machine in zip(runs, machines):
        chosen, got = run.record.get("options") or {}, run.record.get("results") or {}
        status = "" if run.record.get("status", "done") == "done" else " (unfinished)"
        cells = [run.name + status, *(chosen.get(name) for name in options), *(got.get(name) for name in results)]
        rows.append([show(cell)
                     for cell in (*cells, duration(run.record.get("seconds")), *([machine] if any(machines) else []))])
    return f"<h3>{escape(command)}</h3>{html_table(columns, rows)}"


def differing(options):
    """Return the names of options whose values differ between runs (one run: none), except of output and paths."""
    names = [name for name in _union(options) if name not in NOT_COMPARED]
    return [name for name in names if len({repr(one.get(name)) for one in options}) > 1]


def _union(dictionaries):
    """Return all keys in the order of their first appearance."""
    return list(dict.fromkeys(name for one in dictionaries for name in (one or {})))


def _any_scalar(name, runs):
    """True when a result is a number or a word in some run; paths are only in the details."""
    values = [(run.record.get("results") or {}).get(name) for run in runs]
    return any(isinstance(value, (int, float)) or (isinstance(value, str) and "/" not in value) for value in values)


def _machine(record):
    device = record.get("device") or record.get("machine") or ""
    return (device.get("name") or device.get("device") or "") if isinstance(device, dict) else str(device)


def _curves(runs):
    """Return the charts of the runs' logs, all runs in one chart for each quantity."""
    drawn = charts({run.name: run.log for run in runs if run.log})
    if not drawn:
        return ""
    figures = []
    for quantity, svg, names in drawn:
        keys = "".join(
            f'<span class="key"><svg viewBox="0 0 26 12"><line class="line{index}" x1="0" x2="26" y1="6" y2="6"/></svg>'
            f"{escape(name)}</span>" for index, name in enumerate(names[:LINES])
        )
        more = f"and {len(names) - LINES} more runs" if len(names) > LINES else ""
        figures.append(f"<figure><b>{escape(quantity)}</b>{svg}<figcaption>{keys}{more}</figcaption></figure>")
    return f'<h3>Curves</h3><div class="charts">{"".join(figures)}</div>'


def _files(scanned, runs):
    """Return the tables and pictures of some runs."""
    tables = "".join(_table(table) for run in runs for table in run.tables)
    figures = "".join(_figures(scanned, run) for run in runs)
    notes = "".join(_not_shown(run) for run in runs)
    pictures = f'<h3>Pictures</h3><div class="pictures">{figures}</div>{notes}' if figures else ""
    return (f"<h3>Tables</h3>{tables}" if tables else "") + pictures


def _pages(owners, place):
    """Return links to the other pages in the folder."""
    links = [(name, quote(os.path.relpath(path, place))) for owner in owners for name, path in owner.pages]
    rows = "".join(f'<li><a href="{escape(link)}">{escape(name)}</a></li>' for name, link in links)
    return f"<h3>Pages in this folder</h3><ul>{rows}</ul>" if links else ""


def _table(table):
    text = f"<pre>{escape(table.text)}</pre>" if table.text else ""
    if not table.columns:
        return f'<p class="note">{escape(table.name)}</p>{text}'
    rows = [[show(cell) for cell in row] for row in table.rows[:ROWS]]
    left = len(table.rows) - len(rows)
    caption = table.name + (f" (first {ROWS} rows; {left:,} more in the file)" if left else "")
    return html_table(table.columns, rows, caption) + text


def _figures(scanned, run):
    figures = []
    for name, path in run.pictures[:PICTURES]:
        try:
            uri, width, height, tiny = figure_parts(path)
        except InputError as error:
            scanned.unreadable[name] = error.what
            continue
        kind = ' class="tiny"' if tiny else ""
        image = f'<img{kind} src="{uri}" width="{width}" height="{height}" alt="{escape(name)}">'
        figures.append(f"<figure>{image}<figcaption>{escape(name)}</figcaption></figure>")
    return "".join(figures)


def _not_shown(run):
    left = len(run.pictures) - PICTURES
    where = escape(run.name or "the folder")
    return f'<p class="note">{left:,} more pictures in {where} are not shown</p>' if left > 0 else ""


def _details(run):
    """Return everything in a run's record, folded."""
    parts = []
    for name, value in run.record.items():
        if isinstance(value, dict) and value:
            rows = [[key, show(item)] for key, item in value.items()]
            parts.append(html_table([name, ""], rows))
        elif isinstance(value, list) and value:
            parts.append(html_table([name], [[show(item)] for item in value[:ROWS]]))
    return f"<details><summary>{escape(run.name)} - {escape(run.command)}</summary>{''.join(parts)}</details>"


def html_table(columns, rows, caption=""):
    """Return an HTML table of texts; columns of numbers are right-aligned."""
    numeric = [_is_numeric([row[index] for row in rows if index < len(row)]) for index in range(len(columns))]
    kinds = [' class="number"' if number else "" for number in numeric]
    head = "".join(f"<th{kind}>{escape(str(name))}</th>" for name, kind in zip(columns, kinds))
    lines = []
    for row in rows:
        cells = [*row, *[""] * (len(columns) - len(row))][: len(columns)]
        wide = [' class="long"' if len(cell) > 60 else kind for cell, kind in zip(cells, kinds)]
        lines.append("".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(cells, wide)))
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _is_numeric(cells):
    """True when every non-empty cell starts like a number (`3.2 +- 0.1` is one)."""
    filled = [cell for cell in cells if cell.strip() not in ("", "-", "—")]
    return bool(filled) and all(re.match(r"[-+−<>~]?\s*[\d.]", cell) for cell in filled)


def show(value):
    """Return a value as cell text: four significant digits, thousands separators, lists truncated."""
    if value is None or value == "":
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:,.0f}" if 10_000 <= abs(value) < 1e7 else f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {show(item)}" for name, item in value.items())
    if isinstance(value, list):
        shown = ", ".join(show(item) for item in value[:12])
        return f"{shown}, … ({len(value)})" if len(value) > 12 else shown
    return str(value)


def duration(seconds):
    """Return seconds in readable form: 0.42 s, 3 min 5 s, 2 h 10 min."""
    if not isinstance(seconds, (int, float)):
        return ""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min {seconds % 60:.0f} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
