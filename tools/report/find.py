"""Scan of a folder of runs: run records, summaries, tables, pictures, pages and training logs."""

import fcntl
import os
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from common.console import shown
from common.datasets.dlas.chunked.centers import FILE as CENTERS
from common.errors import InputError
from common.files import check_fields, read_json, system_errors
from common.formats import tables
from common.images.suffixes import is_image
from common.record import FIELDS, LOCK, RECORD
from common.summary import FILE as SUMMARY
from common.summary import check_summary
from common.training.log import read_log

TABLES = (".csv", ".md", ".txt")


@dataclass
class Table:
    """One table: columns and rows of text, or `text` where the file cannot be parsed."""

    name: str
    columns: list = field(default_factory=list)
    rows: list = field(default_factory=list)
    text: str = ""
    path: Path = None


@dataclass
class Run:
    """One folder with its run.json or summary.json (`record` is empty without a run.json) and its content."""

    name: str
    place: Path = None
    record: dict = field(default_factory=dict)
    summary: dict = None
    tables: list = field(default_factory=list)
    pictures: list = field(default_factory=list)  # (name, path)
    pages: list = field(default_factory=list)  # (name, path) of HTML pages
    log: list = field(default_factory=list)  # one dictionary for each line of log.jsonl
    status: str = "done"

    @property
    def tool(self):
        """The tool that made the run, empty where no run did."""
        return (str(self.record.get("tool") or "").split() or ["unknown" if self.record else ""])[0]

    @property
    def command(self):
        """The tool and its subcommand."""
        return str(self.record.get("command") or self.tool)

    @property
    def results(self):
        """The results of the run."""
        return self.record.get("results") or {}

    def inner(self, path):
        """Return a file's path within the run's folder; of one that lies elsewhere, its name."""
        return path.relative_to(self.place).as_posix() if path.is_relative_to(self.place) else path.name

    def captioned(self):
        """Return [(name, path, caption)] of the pictures that the summary names, in its order."""
        return [(name, path, caption) for pattern, caption in (self.summary or {}).get("pictures", ())
                for name, path in self.pictures if fnmatchcase(self.inner(path), pattern)]

    def caption(self, path):
        """Return what the summary says of a picture, or None."""
        inner = self.inner(path)
        return next((caption for pattern, caption in (self.summary or {}).get("pictures", ())
                     if fnmatchcase(inner, pattern)), None)


@dataclass
class ScanResult:
    """Everything in a folder: the runs, summaries of folders that no run wrote, files outside any of them, and
    unreadable files {name: reason}."""

    runs: list
    rest: Run
    unreadable: dict
    folders: list = field(default_factory=list)

    @property
    def owners(self):
        """All that have files: the rest, folders with a summary, runs."""
        return [self.rest, *self.folders, *self.runs]


def scan(folder, skip=()):
    """Return the ScanResult of `folder`, in path order, without hidden folders and the paths in `skip`.

    A file belongs to the nearest folder above it that has a run.json or a summary.json. Tiles of chunked data sets are
    skipped.
    """
    folder = Path(folder)
    result = ScanResult([], Run("", folder), {})
    owners = {}
    for place, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
        place = Path(place)
        owner = owners[place] = _owner(result, folder, place, files) or owners.get(place.parent, result.rest)
        if CENTERS in files:  # a chunk of a data set: its images are data, not results
            continue
        for path in (place / name for name in sorted(files)):
            if path not in skip and not path.name.startswith("."):
                _take(result, folder, owner, path)
    _hand_over(result)
    return result


def _hand_over(result):
    """Give files beside the folder of the run that wrote them, which its record names, to that run."""
    owners = {}
    for run in result.runs:
        for file in run.record.get("files") or ():
            if isinstance(file, str) and file.startswith(".."):
                owners[os.path.normpath(run.place / file)] = run
    for kind in ("pictures", "pages", "tables") if owners else ():
        for owner in result.owners:
            files = getattr(owner, kind)
            for one in list(files):
                path = os.path.normpath(one.path if kind == "tables" else one[1])
                if owners.get(path, owner) is not owner:
                    files.remove(one)
                    getattr(owners[path], kind).append(one)


def _owner(result, folder, place, files):
    """Return the Run of a folder's run.json or summary.json, which joins the result; None without a readable one."""
    name = shown(place.relative_to(folder))
    record = _attempt(result, folder, place / RECORD, _read_record) if RECORD in files else None
    if record is not None:
        summary = record.get("summary")
        if summary is not None:
            summary = _attempt(result, folder, place / RECORD, lambda path: check_summary(summary, path))
        result.runs.append(Run(name, place, record, summary, status=status_of(record, place)))
        return result.runs[-1]
    if SUMMARY in files:
        summary = _attempt(result, folder, place / SUMMARY, lambda path: check_summary(read_json(path), path))
        if summary is not None:
            result.folders.append(Run(name, place, {}, summary))
            return result.folders[-1]
    return None


def status_of(record, place):
    """Return done, running, interrupted or failed; a record that says it runs, without a process, was interrupted."""
    status = record.get("status") or "done"
    if status not in ("running", "clearing"):
        return status
    try:
        with open(place / LOCK, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return "running"
    except OSError:  # no lock: the process is gone
        pass
    return "interrupted"


def _raise(error):
    with system_errors(error.filename):
        raise error


def _take(result, folder, owner, path):
    """Add one file to its owner if the page can show it."""
    name, kind = shown(path.relative_to(folder)), path.suffix.lower()
    if is_image(kind):
        owner.pictures.append((name, path))
    elif kind in (".html", ".htm"):
        owner.pages.append((name, path))
    elif kind in TABLES and "table" in path.stem.lower() and not _has_better(path):
        table = _attempt(result, folder, path, read_table)
        if table is not None:
            table.name, table.path = name, path
            owner.tables.append(table)
    elif path.name == "log.jsonl":
        owner.log += _attempt(result, folder, path, read_rows) or []


def _has_better(path):
    """True when the same table exists in a more structured format (csv before md before txt)."""
    better = TABLES[: TABLES.index(path.suffix.lower())]
    return any(path.with_suffix(kind).exists() for kind in better)


def _attempt(result, folder, path, read):
    """Return read(path); an unreadable file is recorded with the reason."""
    try:
        with system_errors(path):
            return read(path)
    except InputError as error:
        result.unreadable[shown(path.relative_to(folder))] = error.what
    except UnicodeDecodeError:
        result.unreadable[shown(path.relative_to(folder))] = "not UTF-8 text"
    return None


def _read_record(path):
    return check_fields(read_json(path), FIELDS, path)


def read_rows(path):
    """Return the rows of a training log; InputError when no line is a JSON object."""
    rows = read_log(path, needs_step=False)
    if not rows and path.stat().st_size:
        raise InputError("no line is a JSON object", where=path)
    return rows


def read_table(path):
    """Return the Table of a .csv or .md file, or the plain text of a .txt file."""
    if path.suffix.lower() == ".csv":
        rows = tables.read_table(path)
        return Table("", rows[0], rows[1:]) if rows else Table("")
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() == ".md":
        return _read_markdown(text)
    return Table("", text=text)


def _read_markdown(text):
    """Return the first pipe table of a Markdown text, with the other lines as its text."""
    lines = text.splitlines()
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")]
            for line in lines if line.strip().startswith("|")]
    rest = "\n".join(line for line in lines if not line.strip().startswith("|")).strip()
    if len(rows) < 2:
        return Table("", text=text)
    ruler = all(set(cell) <= set("-: ") for cell in rows[1])
    return Table("", rows[0], rows[2:] if ruler else rows[1:], rest)
