"""What all tests share: the long kill tests run only when they are named (`pytest tests/faults`, `make faults`).

One thread for each test process: small networks gain nothing from more, and lose much where processes share the cores.
"""

import gc
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.sampled import left_out

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch and numpy are imported

# A shell's background jobs and nohup start with these ignored, and hand that on to what the tests start.
for _name, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_name) == signal.SIG_IGN:
        signal.signal(_name, _usual)


def pytest_ignore_collect(collection_path, config):
    """Leave tests/faults out unless an argument names it."""
    if collection_path.name == "faults" and not any("faults" in argument for argument in config.args):
        return True
    return None


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Collect without the garbage collector: it would go through ten thousand tests again and again.

    What was collected stays to the end, so it need not be looked at later either.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)  # before -m is looked at
def pytest_collection_modifyitems(items):
    """Mark as long what a sample leaves out of large families of cases."""
    for item in left_out(items):
        item.add_marker(pytest.mark.long)


@pytest.fixture(autouse=True)
def notes_are_shown():
    """Show notes, whatever an earlier test's command in this process was asked for (--quiet)."""
    from common import console

    console.set_quiet(False)


@pytest.fixture(autouse=True)
def the_same_draws():
    """Begin each test at the same state of torch's generator, whatever ran before it in this process."""
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def no_disk_is_waited_for():
    """Write without waiting for the disk, which takes a hundredth of a second a file: no test cuts the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # refuses what is not an open file, as it does
        yield


@pytest.fixture
def tally(record_property):
    """A function that counts a try of a kind of fault, for the table at the end of the run (`make faults`)."""
    return lambda kind, number=1: record_property("fault", [kind, int(number)])


def pytest_terminal_summary(terminalreporter):
    """Print how many faults of each kind were tried, in how many tests, and how many of these failed."""
    rows = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, ()):
            counted = [value for key, value in getattr(report, "user_properties", ()) if key == "fault"]
            for kind in {kind for kind, _ in counted} if report.when == "call" else ():
                row = rows.setdefault(kind, [0, 0, 0])
                row[0] += sum(number for each, number in counted if each == kind)
                row[1] += 1
                row[2] += outcome == "failed"
    if rows:
        terminalreporter.write_sep("=", "faults")
        width = max(map(len, rows))
        terminalreporter.write_line(f"{'kind':<{width}}  {'tries':>7}  {'tests':>5}  {'failed':>6}")
        for kind, (tries, tests, failed) in sorted(rows.items()):
            terminalreporter.write_line(f"{kind:<{width}}  {tries:>7,}  {tests:>5}  {failed:>6}")
        total = [sum(column) for column in zip(*rows.values())]
        terminalreporter.write_line(f"{'all':<{width}}  {total[0]:>7,}  {total[1]:>5}  {total[2]:>6}")


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """An empty folder that is the current one, with the default places for statistics and cache."""
    monkeypatch.chdir(tmp_path)
    for name in ("GENPROBE_STATS", "GENPROBE_CACHE", "GENPROBE_INCEPTION"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture(scope="session")
def inception_weights(tmp_path_factory):
    """A .pth of the FID Inception with the weights of the golden case, which tell images apart (95 MB)."""
    import torch

    from tests.golden.registry import Case

    path = tmp_path_factory.mktemp("weights") / "pt_inception-2015-12-05-6726825d.pth"
    torch.save(Case(Path(__file__).parent / "golden" / "metrics" / "inception_fid").state_dict(), path)
    return path
