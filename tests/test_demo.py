"""`make demo`: chains side by side, their steps in turns, one line of progress."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from docs.chains.parts import demo, progress, step
from docs.chains.parts.progress import Line, step_name
from tests.tools.commands import ROOT

STEP = '"$PYTHON" -S -c "{}" '


@pytest.fixture
def chains(tmp_path, monkeypatch):
    """Return what writes chains, each a list of lines of bash, and runs them to {chain: status}; in a folder of its
    own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "CHAINS", tmp_path)

    def write(**scripts):
        for name, lines in scripts.items():
            (tmp_path / f"{name}.sh").write_text("\n".join(["set -euo pipefail", *lines]))
        return Line({name: {} for name in scripts}, 2)

    return write


def test_steps_run_two_at_a_time_whatever_the_chains_put_in_the_background(chains):
    record = "import os, time; name = str(os.getpid()); open(name, 'w').close(); " \
             "print(sum(each.isdecimal() for each in os.listdir('.'))); time.sleep(0.05); os.remove(name)"
    step = STEP.format(record)
    line = chains(one=[f"{step} &", f"{step} &", step, "wait"], two=[step, step])
    assert demo.run(["one", "two"], line) == {"one": 0, "two": 0}
    beside = [int(word) for name in ("one", "two") for word in (demo.OUT / f".logs/{name}.log").read_text().split()]
    assert len(beside) == 5
    assert max(beside) == 2


def test_a_failed_chain_is_shown_and_the_others_go_on(chains, capsys):
    chains(bad=["echo before", STEP.format("raise SystemExit('out of luck')"), "echo never"],
           good=[STEP.format("print('well')")])
    assert demo.main(["bad", "good"]) == 1
    said = capsys.readouterr().err
    assert "error: bad failed; its output, out/demo/.logs/bad.log, ends with\n  before\n  out of luck\n" in said
    assert "2 steps in 0:0" in said
    assert (demo.OUT / ".logs" / "good.log").read_text() == "well\n"


def test_an_unknown_chain_is_answered_with_the_nearest(chains, capsys):
    chains(metrics=["true"])
    assert demo.main(["metrcs"]) == 2
    assert capsys.readouterr().err.endswith("error: DEMO=metrcs: no such chain. Did you mean metrics?\n")


def test_an_interrupted_step_saves_its_state(chains, tmp_path):
    step = "import os, signal, sys, time; signal.signal(15, lambda *_: (time.sleep(0.2), open('saved', 'w'), " \
           "os._exit(130))); open('began', 'w'); time.sleep(60)"
    line = chains(one=[STEP.format(step), "touch never"], two=["true"])

    def interrupt():
        while not (tmp_path / "began").exists():
            time.sleep(0.01)
        time.sleep(0.05)
        os.kill(os.getpid(), 2)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        demo.run(["one", "two"], line)
    assert (tmp_path / "saved").exists()
    assert not (tmp_path / "never").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="steps are forks on Linux alone")
def test_a_module_runs_in_a_fork_with_its_own_folder_streams_variables_and_status(chains, tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "step.py").write_text(
        "import os, signal, sys\nprint(os.environ['WORD'], sys.argv[1:], os.getcwd(), sys.stdin.read(), __name__)\n"
        "print(os.getpid() == os.getsid(0), os.getppid(), file=sys.stderr)\n"
        "os.kill(os.getpid(), 9) if sys.argv[1:] == ['9'] else sys.exit(int(sys.argv[1]))\n")
    step = 'cd inner; echo in | WORD=given "$PYTHON" -m step'
    lines = [f"({step} {number} 2> ../{number}) || echo status $?" for number in (0, 3, 9)]
    assert demo.run(["one"], chains(one=lines)) == {"one": 0}
    said = [f"given ['{number}'] {tmp_path / 'inner'} in\n __main__" for number in (0, 3, 9)]
    assert (demo.OUT / ".logs/one.log").read_text() == "\n".join([*said[:2], "status 3", said[2], "status 137\n"])
    assert all((tmp_path / str(number)).read_text().startswith("False ") for number in (0, 3, 9))


def test_a_step_runs_by_itself_where_the_prepared_python_dies(tmp_path, monkeypatch):
    monkeypatch.setenv("CHAIN_PYTHON", sys.executable)
    monkeypatch.setenv("CHAIN_PREPARED", str(tmp_path / "prepared"))
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "prepared"))
        door.listen()
        threading.Thread(target=lambda: door.accept()[0].close()).start()
        handler = signal.getsignal(signal.SIGTERM)
        try:
            assert step.forked(["-S", "-c", "raise SystemExit(3)"])[0] == 3
        finally:
            signal.signal(signal.SIGTERM, handler)


def test_the_table_of_times_has_every_step_of_the_chains(tmp_path):
    """Their commands are listed by a stand-in for python, which runs none of them."""
    stand_in, listed = tmp_path / "python", tmp_path / "listed"
    stand_in.write_text(f'#!/bin/bash\n(IFS=$\'\\t\'; echo "$*") >> {listed}\n')
    (tmp_path / "cp").write_text("#!/bin/sh\n")
    for path in (stand_in, tmp_path / "cp"):
        path.chmod(0o700)
    table = json.loads(demo.SECONDS.read_text())
    names = [path.stem for path in demo.CHAINS.glob("*.sh") if not path.stem.startswith("table_")]
    assert sorted(table) == sorted(names)
    for name in names:
        out = tmp_path / name
        variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON": str(stand_in), "OUT": str(out)}
        subprocess.run(["bash", f"docs/chains/{name}.sh"], cwd=ROOT, env=variables, stdin=subprocess.DEVNULL,
                       capture_output=True, check=True)
        steps = [step_name(line.split("\t"), out) for line in listed.read_text().splitlines()]
        assert sorted(steps) == sorted(table[name]), name  # each once
        listed.unlink()


class Asked:
    """A step as the turns describe it."""

    def __init__(self, name, number):
        self.chain, self.words, self.number = "one", ["-m", f"tools.{name}"], number


def test_time_left_follows_the_speed_of_the_machine(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    line = Line({"one": {"a": 100.0, "b": 100.0}, "two": {"c": 60.0}}, 2)
    assert line.seconds_left() == 200  # of the longest chain
    assert line.text() == "0/3 steps, 0:00, 3:20 left; waiting"
    line.began(Asked("a", 1))
    now[0] = 200.0  # the machine is half as fast as the table's
    line.done(Asked("a", 1), 0, 190.0)
    assert line.text().startswith("1/3 steps, 3:20, ")
    assert 160 <= line.seconds_left() <= 200
    line.began(Asked("b", 2))
    now[0] = 201.0  # its results were there, which says nothing of the speed
    before = line.seconds_left()
    line.done(Asked("b", 2), 0, 0.5)
    assert line.seconds_left() == pytest.approx(60 / 100 * before, rel=0.1)
    line.ended("two")
    assert line.seconds_left() == 0
    assert line.measured == {"one": {"a": 190.0, "b": 0.5}, "two": {}}
