"""Several chains side by side, as many steps at a time as there are cores, with one line of progress.

One chain alone says all to the terminal.

    python -m docs.chains.parts.demo CHAIN CHAIN ...

A step is one call of python in a chain. The chains' own output goes to out/demo/.logs/CHAIN.log, whose end is shown
when one fails. Turns go to the chain with most work left. seconds.json beside this file has what each step took on one
core, from which the time left is told; out/demo/.logs/seconds.json has what it took here.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from common.console import outlive_terminal, shown
from common.errors import InputError, nearest
from common.files import write_json
from docs.chains.parts.progress import Line
from docs.chains.parts.turns import Turns

ROOT = Path(__file__).parents[3]
CHAINS = Path(__file__).parent.parent
SECONDS = Path(__file__).with_name("seconds.json")
OUT = Path("out/demo")
LAST = 15  # lines of a failed chain that are shown
PATIENCE = 60.0  # seconds that interrupted steps have to save their state


def cores():
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def prepared(folder):
    """Run a Python that steps are forks of, where forks are safe; yield the variables that name it."""
    if sys.platform != "linux":
        yield {}
        return
    place = folder / "prepared"
    process = subprocess.Popen([sys.executable, "-m", "docs.chains.parts.prepared", str(place)], cwd=ROOT,
                               stdin=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"},
                               start_new_session=True)
    while not place.exists() and process.poll() is None:
        time.sleep(0.01)
    try:
        yield {"CHAIN_PREPARED": str(place)}
    finally:
        process.stdin.close()
        process.terminate()  # it may be importing; its forks have ended or go on by themselves
        process.wait()


def start(chain, folder, logs, variables):
    """Return the process of a chain whose steps ask for their turns at folder/socket."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHON": str(folder / "python"), "CHAIN": chain,
                 "CHAIN_SOCKET": str(folder / "socket"), "CHAIN_PYTHON": sys.executable, **variables}
    with open(logs / f"{chain}.log", "wb") as log:
        return subprocess.Popen(["bash", str(CHAINS / f"{chain}.sh")], env=variables, stdin=subprocess.DEVNULL,
                                stdout=log, stderr=subprocess.STDOUT, start_new_session=True)


def stop(processes, turns):
    """End chains; steps that run save their state first."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    until = time.monotonic() + PATIENCE
    while turns.running and time.monotonic() < until:
        turns.serve(0.2, give=False)


def run(chains, line):
    """Run chains and return {chain: exit status}."""
    logs = OUT / ".logs"
    logs.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder, Turns(Path(folder) / "socket", line) as turns, \
            prepared(Path(folder)) as variables:
        wrapper = Path(folder) / "python"
        wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -E "{Path(__file__).with_name("step.py")}" "$@"\n')
        wrapper.chmod(0o700)
        processes = {chain: start(chain, Path(folder), logs, variables) for chain in chains}
        statuses = {}
        try:
            while len(statuses) < len(processes):
                turns.serve(0.2)
                line.show()
                for chain, process in processes.items():
                    if chain not in statuses and process.poll() is not None:
                        statuses[chain] = process.returncode
                        line.ended(chain)
                        if process.returncode:
                            tell_failure(chain, logs / f"{chain}.log", line)
        finally:
            stop([process for chain, process in processes.items() if chain not in statuses], turns)
        write_json(logs / "seconds.json", line.measured)
    return statuses


def tell_failure(chain, log, line):
    """Show how the output of a failed chain ends."""
    end = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST:]
    line.say("\n".join([f"error: {chain} failed; its output, {log}, ends with", *(f"  {shown(each)}" for each in end)]))


def main(chains):
    """Run the named chains and return the exit status."""
    known = [path.stem for path in sorted(CHAINS.glob("*.sh")) if not path.stem.startswith("table_")]
    for chain in chains:
        if chain not in known:
            print(f"error: {InputError('no such chain', where=f'DEMO={chain}', do=nearest(chain, known))}",
                  file=sys.stderr)
            return 2
    if len(chains) == 1:
        os.environ.update(OMP_NUM_THREADS="1", PYTHON=sys.executable)
        os.execvp("bash", ["bash", str(CHAINS / f"{chains[0]}.sh")])
    outlive_terminal()
    expected = json.loads(SECONDS.read_text(encoding="utf-8"))
    line = Line({chain: expected.get(chain, {}) for chain in chains}, cores())
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        statuses = run(chains, line)
    except KeyboardInterrupt:
        line.say("interrupted; progress saved, make demo goes on from it")
        return 130
    line.close()
    return 1 if any(statuses.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
