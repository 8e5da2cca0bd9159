"""The jobs' inputs, servers and undisturbed runs, and disks of a few bytes."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.jobs import Place, Server, whole_run
from tests.faults.table import JOBS, make_inputs
from tests.tools.commands import ROOT, environment


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """All that lies here takes long."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """The inputs of all jobs, made once."""
    folder = tmp_path_factory.mktemp("inputs")
    make_inputs(folder)
    return folder / "in"


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """What starts jobs at once."""
    started = Server(tmp_path_factory.mktemp("server"))
    yield started
    started.close()


@pytest.fixture(scope="session")
def in_c_locale(tmp_path_factory):
    """The same in the C locale, whose file names are ASCII, and without a home."""
    folder = tmp_path_factory.mktemp("server_c")
    started = Server(folder, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", HOME="/nonexistent")
    yield started
    started.close()


@dataclass
class Whole:
    """An undisturbed run. outputs: {path: bytes}.  size: of all files that it leaves."""

    place: Place
    outputs: dict
    steps: int
    seconds: float
    size: int


@pytest.fixture(scope="session")
def whole_runs():
    """{name: Whole}, as far as they were made."""
    return {}


@pytest.fixture
def name(request):
    """The name of a job."""
    return request.param


@pytest.fixture
def whole(name, whole_runs, server, inputs, tmp_path_factory):
    """An undisturbed run of a job, the second of two that must be equal."""
    if name not in whole_runs:
        place = Place(server, JOBS[name], tmp_path_factory.mktemp("work") / "w", inputs)
        first, *_ = whole_run(place)
        outputs, steps, seconds = whole_run(place)
        assert [path for path in outputs if first.get(path) != outputs[path]] == []
        size = sum(path.stat().st_size for path in place.out.rglob("*") if path.is_file())
        whole_runs[name] = Whole(place, outputs, steps, seconds, size)
    return whole_runs[name]


@pytest.fixture
def disk():
    """A function that mounts a disk of so many bytes at a folder, or gives the one there another size."""
    mounted = []

    def mount(folder, size):
        folder.mkdir(exist_ok=True)
        options = f"size={size}" + (",remount" if folder in mounted else "")
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
        done = subprocess.run(words, capture_output=True, check=False)
        if done.returncode:
            pytest.skip("no disk can be mounted here")
        mounted.append(folder)

    yield mount
    for folder in set(mounted):
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def fresh_process(inputs, tmp_path):
    """A function that starts a tool's first job in a process of its own."""
    (tmp_path / "in").symlink_to(inputs)

    def start(tool):
        job = next(job for job in JOBS.values() if job.tool == tool)
        variables = {**environment(), "PYTHONPATH": str(ROOT), "GENPROBE_CACHE": "cache"}
        return subprocess.Popen([sys.executable, "-m", f"tools.{tool}", *map(str, job.words), "--quiet"], cwd=tmp_path,
                                env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start
