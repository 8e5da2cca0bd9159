"""The tool of docs/adding_a_tool.md runs as it stands there: flags, record, resume, several processes, log, --json."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.tools.commands import ROOT, call, environment

PAGE = ROOT / "docs" / "adding_a_tool.md"
SMALL = ("--batch_size", "8", "--device", "cpu")


@pytest.fixture(scope="module")
def tool(tmp_path_factory):
    """The page's module as a file."""
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    assert code.count("\n") <= 120
    path = tmp_path_factory.mktemp("tool") / "autoencoder.py"
    path.write_text(code)
    return path


def start(tool, *words, launcher=()):
    """Start the tool in a process of its own."""
    return subprocess.Popen([sys.executable, *launcher, str(tool), *map(str, words)], cwd=tool.parent, text=True,
                            env={**environment(), "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def run(tool, *words, status=0, launcher=()):
    """Run the tool and return (stdout, stderr)."""
    process = start(tool, *words, launcher=launcher)
    out, err = process.communicate(timeout=120)
    assert process.returncode == status, err
    return out, err


def rows(folder):
    """Return the rows of log.jsonl without times."""
    logged = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: row[name] for name in ("step", "loss", "lr")} for row in logged]


def test_it_trains_answers_extends_and_refuses(tool, tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("autoencoder_of_the_page", tool)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)

    def ended(*words, status=0):
        """Run the tool in this process and return (stdout, stderr)."""
        end = call(module.cli, *words)
        assert end.status == status, end.err
        return end.out, end.err

    out, _ = ended(*SMALL, "--steps", "60", "--output_dir", tmp_path / "a", "--json", "--quiet")
    record = json.loads(out)
    assert record["results"]["loss"] == rows(tmp_path / "a")[-1]["loss"] < rows(tmp_path / "a")[0]["loss"]
    assert json.loads((tmp_path / "a" / "run.json").read_text())["results"] == record["results"]
    assert (tmp_path / "a" / "reconstructions.png").stat().st_size > 1000
    assert "up to date" in ended(*SMALL, "--steps", "60", "--output_dir", tmp_path / "a")[1]
    assert "resuming" not in ended(*SMALL, "--steps", "70", "--output_dir", tmp_path / "a", "--quiet")[1]
    assert rows(tmp_path / "a")[-1]["step"] == 70
    line = ended(*SMALL, "--steps", "70", "--lr", "1e-3", "--output_dir", tmp_path / "a", status=2)[1]
    assert "has lr 0.002, this command has 0.001" in line
    assert "--steps 0: must be at least 1" in ended("--steps", "0", status=2)[1]
    assert "at least 1" in ended("--help")[0]
    assert "at least 1" in run(tool, "--help")[0]  # as a command of its own too


@pytest.mark.long
def test_killed_it_ends_with_the_same_bytes(tool, tmp_path):
    words = (*SMALL, "--steps", "120", "--quiet", "--output_dir")
    run(tool, *words, tmp_path / "whole")
    process = start(tool, *words, tmp_path / "cut")
    until = time.monotonic() + 60
    while not (tmp_path / "cut" / "state.pth").exists() and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    run(tool, *words, tmp_path / "cut")
    assert (tmp_path / "cut" / "state.pth").read_bytes() == (tmp_path / "whole" / "state.pth").read_bytes()
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


@pytest.mark.long
def test_two_processes_train_as_one(tool, tmp_path):
    words = (*SMALL, "--steps", "20", "--quiet", "--output_dir")
    run(tool, *words, tmp_path / "one")
    run(tool, *words, tmp_path / "two",
        launcher=("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"))
    for one, two in zip(rows(tmp_path / "one"), rows(tmp_path / "two"), strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
