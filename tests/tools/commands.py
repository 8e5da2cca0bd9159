"""Tools run in this process, as from the command line."""

import contextlib
import importlib
import io
import json
import signal
from dataclasses import dataclass


@dataclass
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def results(self):
        """The results of the one JSON object on stdout."""
        return json.loads(self.out)["results"]


def call_tool(name, *words):
    """Run a tool with these words in this process and return how it Ended."""
    cli = importlib.import_module(f"tools.{name}.__main__").cli
    out, err = io.StringIO(), io.StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli([str(word) for word in words])
    signal.signal(signal.SIGTERM, handler)
    return Ended(status, out.getvalue(), err.getvalue())


def results_of(name, *words):
    """Run a tool with --json --quiet; it must end well and say nothing. Returns its results."""
    ended = call_tool(name, *words, "--json", "--quiet")
    assert (ended.status, ended.err) == (0, ""), ended.err
    return ended.results


def refusal_of(name, *words):
    """Run a tool that must end with status 2, one line on stderr and nothing on stdout. Returns the line."""
    ended = call_tool(name, *words)
    assert ended.status == 2, ended
    assert ended.out == ""
    assert ended.err.count("\n") == 1, ended.err
    assert ended.err.startswith("error: ")
    return ended.err
