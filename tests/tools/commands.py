"""Tools run in this process, as from the command line."""

import contextlib
import importlib
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from common import console

ROOT = Path(__file__).parents[2]


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


def environment():
    """Return the environment of processes that must agree bit for bit: one thread each."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def torchrun_tool(count, name, *words):
    """Run a tool in `count` processes on the CPU (gloo), in the current folder, and return how it Ended."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count),
               "-m", f"tools.{name}", *map(str, words)]
    variables = {**environment(), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


def start_tool(name, folder, *words):
    """Start a tool in a process of its own, in a folder, and return its Popen."""
    variables = {**environment(), "PYTHONPATH": str(ROOT), "GENPROBE_CACHE": str(Path(folder) / "cache")}
    return subprocess.Popen([sys.executable, "-m", f"tools.{name}", *map(str, words)], cwd=folder, env=variables,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def call_tool(name, *words):
    """Run a tool with these words in this process and return how it Ended."""
    return call(importlib.import_module(f"tools.{name}.__main__").cli, *words)


def call(cli, *words):
    """Run a command's `cli` with these words in this process and return how it Ended."""
    out, err = io.StringIO(), io.StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli([str(word) for word in words])
    signal.signal(signal.SIGTERM, handler)
    console.set_quiet(False)  # as the tests after it, which run in this process, expect
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
