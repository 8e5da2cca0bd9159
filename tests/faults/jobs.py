"""Every command of tests.tools.every_command as a job that can be started, disturbed, run again and compared."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.tools.commands import ROOT, Ended, environment
from tests.tools.every_command import Command, contents

SECONDS = 60  # for a run that takes one or two
OF_THE_RUN = ("run.json", "log.jsonl", "stdout.txt",  # hold times
              ".run.json.lock")  # outlives a kill after all is done, and holds nobody up


class Server:
    """Forks of one process that has imported everything (tests.faults.server)."""

    def __init__(self, folder, *tools, **variables):
        self.folder = folder
        everything = {**environment(), "PYTHONPATH": str(ROOT), "MPLCONFIGDIR": str(folder / "matplotlib"), **variables}
        words = [sys.executable, "-m", "tests.faults.server", *tools]
        self.process = subprocess.Popen(words, env=everything, cwd=folder,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.number = 0

    def ask(self, **request):
        """Return the answer to a request."""
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        """End the server."""
        self.process.stdin.close()
        self.process.wait()


@dataclass
class Running:
    """A command that was started."""

    server: Server
    pid: int
    out: Path
    err: Path

    def send(self, number):
        """Send a signal; the command is waited for by the server alone, so that its pid is no other's."""
        os.kill(self.pid, number)

    def end(self, seconds=SECONDS):
        """Wait and return how it Ended; a run that takes longer is killed and has status None."""
        status = self.server.ask(wait=[self.pid, seconds])
        return Ended(status, *(place.read_text(errors="replace") if place.exists() else "" for place in
                               (self.out, self.err)))


@dataclass
class Place:
    """A folder with the inputs of all commands, in which one of them is run. names: what `in` and `out` are called."""

    server: Server
    job: Command
    folder: Path
    inputs: Path
    names: tuple = ("in", "out")

    def named(self, names, server=None):
        """Return a place whose folders bear other names, perhaps of another server."""
        return Place(server or self.server, self.job, self.folder, self.inputs, names)

    def fresh(self, copied=False):
        """Empty the folder, and link (or copy) the inputs into it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        (self.folder / self.names[0]).parent.mkdir(parents=True, exist_ok=True)
        if copied:
            shutil.copytree(self.inputs, self.folder / self.names[0])
        else:
            (self.folder / self.names[0]).symlink_to(self.inputs)
        return self

    @property
    def out(self):
        """The folder of the outputs."""
        return self.folder / self.names[1]

    def words(self):
        """The command's words, with the folders' names."""
        names, words = dict(zip(("in", "out"), self.names)), []
        for word in map(str, self.job.words):
            head, sign, path = word.rpartition("=")
            dot = "./" if path.startswith("./") else ""
            first, slash, rest = path.removeprefix("./").partition("/")
            words.append(head + sign + dot + names.get(first, first) + slash + rest)
        return words

    def start(self, *more, **request):
        """Start the command; request: see tests.faults.server."""
        self.server.number += 1
        out, err = (self.server.folder / f"{self.server.number}.{kind}" for kind in ("out", "err"))
        variables = {"GENPROBE_CACHE": "cache", **request.pop("variables", {})}
        pid = self.server.ask(start={"tool": self.job.tool, "words": [*self.words(), "--quiet", *more],
                                     "folder": str(self.folder), "out": str(out), "err": str(err),
                                     "variables": variables, **request})
        return Running(self.server, pid, out, err)

    def run(self, *more, **request):
        """Run the command and return how it Ended."""
        return self.start(*more, **request).end()

    def lasting(self):
        """Return {path: bytes} of the outputs that are the same in every run."""
        return {path: data for path, data in contents(self.out).items() if Path(path).name not in OF_THE_RUN}


def whole_run(place):
    """Return (outputs, steps, seconds) of a run that nothing disturbs."""
    place.fresh()
    log = place.server.folder / "steps"
    log.unlink(missing_ok=True)
    began = time.monotonic()
    ended = place.run(steps=str(log))
    assert (ended.status, ended.err) == (0, ""), ended
    return place.lasting(), log.stat().st_size, time.monotonic() - began


def check_end(ended, allowed=(0, 2)):
    """A run ends in time with one of these statuses, one line for any but 0, and no traceback."""
    assert ended.status in allowed, ended
    assert "Traceback" not in ended.err, ended
    assert ended.err.count("\n") <= 1, ended
    if ended.status == 2:
        assert ended.err.startswith("error: "), ended


def check_completed(place, outputs, *more):
    """The same command completes what is there: the outputs of an undisturbed run, and nothing half written."""
    ended = place.run(*more)
    assert ended.status == 0, ended
    found = place.lasting()
    assert found.keys() == outputs.keys()
    assert [path for path in outputs if found[path] != outputs[path]] == []
    assert list(place.out.rglob("*.part")) == []


STOPS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
