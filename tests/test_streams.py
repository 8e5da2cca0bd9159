"""Standard streams that are closed, full or read by nobody; names that are not commands of a terminal (R7, R9)."""

import os
import subprocess
import sys

import pytest

from common.console import shown
from tests.tools.commands import ROOT


def shell(command, **more):
    """Run a shell command from the repository with $PY as the interpreter."""
    variables = {**os.environ, "PY": sys.executable, "PYTHONPATH": str(ROOT)}
    return subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=more.pop("cwd", ROOT), env=variables,
                          text=True, capture_output=True, timeout=60, check=False, **more)


@pytest.mark.parametrize("words", [".qc_ncsn --help", ".qc_ncsn train --help", ".report --help", " help report", ""])
def test_R9_help_whose_reader_goes_away_says_nothing(words):
    done = shell(f'"$PY" -m tools{words} | head -1')
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", [".qc_ncsn --help", ".train_edm --help", ".train_edm --version", " help report",
                                   " presets", " --help", " completion bash", ""])
def test_R9_a_full_stdout_is_one_line(words):
    done = shell(f'"$PY" -m tools{words} > /dev/full')
    assert done.returncode == 2
    assert done.stderr == "error: standard output: No space left on device. Send it elsewhere.\n"


def test_R9_closed_streams_end_as_open_ones_do():
    assert shell('"$PY" -m tools.report /nothing/here 2>&-').returncode == 2
    assert shell('"$PY" -m tools.report --help >&-').returncode == 0
    assert shell('"$PY" -m tools help report >&-').returncode == 0


def test_R9_a_current_folder_that_is_gone_is_named(tmp_path):
    done = shell('mkdir gone && cd gone && rmdir ../gone && "$PY" -m tools.report x', cwd=tmp_path)
    assert done.stderr == "error: the current folder has been removed. Change into another folder.\n"


def test_R7_control_characters_and_broken_names_reach_no_terminal():
    for command in ("tools.report", "tools", "tools help"):
        done = shell(f"\"$PY\" -m {command} $'/nothing/\\e]0;title\\a\\xff'")
        assert done.returncode == 2
        assert "\\x1b]0;title\\x07" in done.stderr
        assert "\x1b" not in done.stderr
    assert shown("é 漢 [bold]\n") == "é 漢 [bold]\n"
    assert shown("a\udcffb\u202e") == "a\\udcffb\\u202e"
