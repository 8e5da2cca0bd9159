"""Messages, tables and progress on stderr, through one rich console; stdout is for results."""

import os
import sys
import time
from contextlib import contextmanager, suppress

from common.errors import InputError

NARROW = 72  # columns below which a bar is left out

_settings = {"quiet": False, "console": None}


def set_quiet(quiet):
    """Silence `say`, `progress` and `show_table` for the rest of the process (errors are still shown)."""
    _settings["quiet"] = bool(quiet)


def outlive_terminal():
    """From here on let nothing end when whoever reads stderr goes away, a closed terminal or the end of a pipe."""
    if sys.stderr is None:  # it was closed before the start
        sys.stderr = open(os.devnull, "w")
    if not isinstance(sys.stderr, _LastingStream):
        sys.stderr = _LastingStream(sys.stderr)


def print_out(text):
    """Write to stdout and flush it; whoever reads it may have gone, as `| head -1` does."""
    try:
        if sys.stdout is not None:  # None when it was closed before the start
            sys.stdout.write(text)
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter's last flush would fail again
        raise InputError(error.strerror, where="standard output", do="Send it elsewhere") from error


def shown(text):
    """Return text for a terminal: control characters, as file names may have them, and broken Unicode are escaped."""
    text = str(text)
    if text.isprintable():
        return text
    text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(sign if sign.isprintable() or sign in "\n\t" else sign.encode("unicode_escape").decode()
                   for sign in text)


class _LastingStream:
    """A stream that drops its text once it can no longer be written."""

    def __init__(self, stream):
        self.stream = stream

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def write(self, text):
        return self._attempt(self.stream.write, text)

    def flush(self):
        self._attempt(self.stream.flush)

    def _attempt(self, function, *arguments):
        try:
            return function(*arguments)
        except OSError:  # the interpreter's own last flush must not fail either
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())


def console():
    """Return the process's rich console on stderr (imported on first use: rich takes 0.1 s)."""
    if _settings["console"] is None:
        from rich.console import Console

        _settings["console"] = Console(stderr=True, highlight=False, soft_wrap=True)
        if not sys.stderr.isatty() or _settings["console"].is_dumb_terminal:
            _settings["console"].size = (_columns(), 25)  # rich takes 80 columns for these
    return _settings["console"]


def _columns():
    """Return the columns of stderr: 120 for a log or a pipe."""
    if os.environ.get("COLUMNS", "").isdecimal():
        return int(os.environ["COLUMNS"]) or 80
    return (os.get_terminal_size(sys.stderr.fileno()).columns or 80) if sys.stderr.isatty() else 120


def overwrites():
    """Return whether stderr is a terminal on which a line can be written over."""
    return sys.stderr.isatty() and not console().is_dumb_terminal


def say(text):
    """Print one plain line for people (no markup: file names may hold square brackets)."""
    if not _settings["quiet"]:
        console().print(shown(text), markup=False)


def say_at_once(text):
    """Print one line from within a signal handler, which may have come in the middle of another line's printing."""
    if not _settings["quiet"]:
        with suppress(OSError):  # whoever reads stderr is gone
            os.write(2, f"\n{shown(text)}\n".encode())


def show_table(title, columns, rows):
    """Print a table on stderr. columns: names; rows: sequences of strings or numbers, shown unformatted."""
    if _settings["quiet"]:
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(shown(title)), title_justify="left", title_style="bold")
    for index, name in enumerate(columns):
        table.add_column(Text(shown(name)), justify="left" if index == 0 else "right")
    rows = [[shown(cell) for cell in row] for row in rows]
    for row in rows:
        table.add_row(*map(Text, row))
    wide = console().options.update(width=10_000)
    if console().measure(table, options=wide).minimum > console().width:  # it would be cut off: a line for each cell
        blocks = ["\n  ".join([row[0], *(f"{shown(name)}: {cell}" for name, cell in zip(columns[1:], row[1:]))])
                  for row in rows]
        console().print("\n".join([shown(title), *blocks]), markup=False)
    else:
        console().print(table)


@contextmanager
def progress(label, total, start=0, unit="it", after=0.0):
    """Yield `advance(n=1, note="")`: a bar with count, rate and time left, or lines.

    A line every 10 % where the stream is not a terminal, or one that cannot write over a line (TERM=dumb).

    after: seconds in which no line is printed: for checks, whose errors are one line where they are quick.
    """
    if _settings["quiet"] or total <= start:
        yield lambda n=1, note="": None
    elif overwrites():
        with _terminal_bar(label, total, start, unit) as advance:
            yield advance
    else:
        yield _PlainLines(label, total, start, unit, after).advance


@contextmanager
def _terminal_bar(label, total, start, unit):
    from rich import progress as bars

    columns = [
        bars.TextColumn("{task.description}"), bars.BarColumn(), bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[rate]}"), bars.TimeElapsedColumn(), bars.TextColumn("<"),
        bars.TimeRemainingColumn(), bars.TextColumn("{task.fields[note]}", markup=False),
    ]
    if console().width < NARROW:
        columns = [columns[0], columns[2], bars.TextColumn("<"), columns[6]]
    with bars.Progress(*columns, console=console()) as bar:
        task = bar.add_task(label, total=total, completed=start, rate="", note="")
        began, done = time.monotonic(), 0

        def advance(n=1, note=""):
            nonlocal done
            done += n
            rate = done / max(time.monotonic() - began, 1e-9)
            bar.update(task, advance=n, note=note, rate=f"{rate:.3g} {unit}/s")

        yield advance


class _PlainLines:
    """Progress for logs and pipes: one line for every tenth of the work."""

    def __init__(self, label, total, start, unit, after):
        self.label, self.total, self.start, self.unit, self.after = label, total, start, unit, after
        self.done, self.began = start, time.monotonic()

    def advance(self, n=1, note=""):
        before, self.done = self.done, min(self.done + n, self.total)
        if before * 10 // self.total == self.done * 10 // self.total:
            return
        seconds = time.monotonic() - self.began
        if seconds < self.after:
            return
        rate = (self.done - self.start) / max(seconds, 1e-9)
        left = (self.total - self.done) / max(rate, 1e-9)
        say(f"{self.label}: {self.done}/{self.total} {rate:.3g} {self.unit}/s, {left:.0f} s left {note}".rstrip())
