"""Every command in processes of its own: two at once in one folder, and signals in every phase of a run (long)."""

import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.tools.commands import ROOT, environment
from tests.tools.every_command import COMMANDS, contents, make_inputs

pytestmark = pytest.mark.long
every_command = pytest.mark.parametrize("name", COMMANDS)
TRIES = 10
PHASES = (0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.85, 0.93, 0.98)  # of a whole run: imports, reading, work, writing
LASTING = (".npz", ".png", ".jpg", ".tar", ".jsonl", ".html", ".pt", ".safetensors")  # run.json and logs hold times


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The inputs, made once."""
    folder = tmp_path_factory.mktemp("made")
    make_inputs(folder)
    return folder / "in"


def start(name, folder):
    """Start a command in a folder, with the default actions of signals."""
    words = [sys.executable, "-m", f"tools.{COMMANDS[name].tool}", *map(str, COMMANDS[name].words), "--quiet"]
    variables = {**environment(), "PYTHONPATH": str(ROOT), "GENPROBE_CACHE": str(folder / "cache"),
                 "MPLCONFIGDIR": str(folder.parent / "matplotlib")}
    return subprocess.Popen(words, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process):
    """Return (status, stderr) of a process."""
    err = process.communicate(timeout=300)[1]
    if "init_import_site" in err:  # Python itself was still starting
        return -signal.SIGINT, ""
    assert "Traceback" not in err, err
    return process.returncode, err


def fresh(made, place):
    """Return an empty folder with the inputs in it."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    (place / "in").symlink_to(made)
    return place


def lasting(folder):
    """Return {path: bytes} of the outputs that are the same in every run."""
    return {path: data for path, data in contents(folder / "out").items()
            if path.endswith(LASTING) and not path.endswith("log.jsonl")}


@pytest.fixture
def whole(name, made, tmp_path):
    """(outputs, seconds) of one whole run, the second one timed."""
    for _ in range(2):
        place = fresh(made, tmp_path / "whole")
        began = time.monotonic()
        status, err = end(start(name, place))
        assert status == 0, err
    return lasting(place), time.monotonic() - began


@every_command
def test_of_two_processes_on_one_folder_one_waits_or_is_refused(name, whole, made, tmp_path):
    for _ in range(TRIES):
        place = fresh(made, tmp_path / "both")
        ended = [end(process) for process in (start(name, place), start(name, place))]
        statuses = sorted(status for status, _ in ended)
        assert statuses in ([0, 0], [0, 2]), ended
        assert lasting(place) == whole[0]


@every_command
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_in_any_phase_ends_a_run_that_the_same_command_completes(name, signum, whole, made, tmp_path):
    outputs, seconds = whole
    for phase in PHASES:
        place = fresh(made, tmp_path / "stopped")
        process = start(name, place)
        time.sleep(phase * seconds)
        process.send_signal(signum)
        status, err = end(process)
        assert status in (0, 130, -signum), (phase, status, err)
        assert err.count("\n") <= 1, (phase, err)
        status, err = end(start(name, place))
        assert status == 0, (phase, err)
        assert lasting(place) == outputs, phase
