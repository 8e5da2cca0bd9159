"""Tiny runs of qc_ncsn for tests: in this process, in one of its own, killed at a chosen moment, or under torchrun."""

import hashlib
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from common.files import TEMPORARY
from common.formats.checkpoints import load_torch
from tests.tools.commands import ROOT, Ended, call_tool, environment

NETWORK = ("--config", "u_digits", "--config.model.nf=4", "--config.model.ch_mult=1",
           "--config.model.attn_resolutions=8", "--config.model.sigma_min=0.1", "--config.model.sigma_max=10")
TINY = (*NETWORK, "--bs", "16", "--device", "cpu")
QUIET = ("--quiet",)
UNCOMPARED = ("run.json", "log.jsonl", "stdout.txt")  # they hold times


def call(*words):
    """Run `qc_ncsn` with these words in this process."""
    return call_tool("qc_ncsn", *words)


def good(*words):
    """Run `qc_ncsn` in this process with --json --quiet; it must end well and say nothing but its results."""
    ended = call(*words, "--json", *QUIET)
    assert (ended.status, ended.err) == (0, ""), ended.err
    return ended.results


def start(*words):
    """Start `qc_ncsn` in a process of its own."""
    command = [sys.executable, "-m", "tools.qc_ncsn", *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)


def finish(process, seconds=300):
    """Return how a started process ends."""
    out, err = process.communicate(timeout=seconds)
    return Ended(process.returncode, out, err)


def run(*words):
    """Run `qc_ncsn` in a process of its own."""
    return finish(start(*words))


def torchrun(count, *words):
    """Run `qc_ncsn` in `count` processes on the CPU (gloo)."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count),
               "-m", "tools.qc_ncsn", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300,
                          check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


def kill_after(words, folder, begun, delay, how=signal.SIGKILL):
    """Start a command, wait until begun() is true, then `delay` seconds more, and kill it.

    Returns (how it ended, whether the kill met it running). Every file under its final name must be complete then.
    """
    process = start(*words)
    try:
        deadline = time.monotonic() + 120
        while process.poll() is None and not begun():
            assert time.monotonic() < deadline, "the command never began its work"
            time.sleep(0.002)
        until = time.monotonic() + delay
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.0005)
        running = process.poll() is None
        process.send_signal(how)
    finally:
        ended = finish(process)
    check_complete(folder)
    return ended, running and ended.status != 0  # it may have ended between the last look and the signal


def check_complete(folder):
    """Read every file under its final name in full; an incomplete one raises."""
    from PIL import Image

    for path in Path(folder).rglob("*"):
        if not path.is_file() or path.name.endswith(TEMPORARY):
            continue
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                assert archive.files
                _ = [archive[name] for name in archive.files]
        elif path.suffix == ".pth":
            assert {"model", "ema", "optimizer", "step"} <= set(load_torch(path))
        elif path.suffix == ".png":
            Image.open(path).load()
        elif path.suffix == ".json":
            json.loads(path.read_text())


def leftovers(folder):
    """Return the temporary files below a folder."""
    return list(Path(folder).rglob(f"*{TEMPORARY}"))


def contents(folder):
    """Return {path below the folder: hash of its bytes} of every file that must be the same after any interruptions."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file() and path.name not in UNCOMPARED:
            text = path.read_bytes()
            if path.suffix == ".csv":  # tables name the checkpoint's path
                text = re.sub(rb"checkpoint,.*", b"", text)
            found[str(path.relative_to(folder))] = hashlib.sha256(text).hexdigest()
    return found


def log_rows(folder):
    """Return the rows of log.jsonl without their times."""
    rows = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def listing(folder):
    """Return {path: (size, modification time)} of everything below a folder, or None where there is none."""
    folder = Path(folder)
    if not folder.exists():
        return None
    return {str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
            for path in sorted(folder.rglob("*")) if path.is_file()}


def checkpoints_equal(first, second):
    """True when two work folders hold the same checkpoints, byte for byte."""
    found = [{name: digest for name, digest in contents(folder).items() if name.endswith(".pth")}
             for folder in (first, second)]
    assert found[0]
    return found[0] == found[1]
