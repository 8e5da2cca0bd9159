"""Hostile files of every kind: refused in one line that says why; nothing of them runs, writes, hangs or grows."""

import pytest

from common.errors import InputError
from common.formats.checkpoints import load_torch
from common.formats.lightning import load_lightning
from common.formats.pickles import read_pickle
from common.formats.script_module import load_script
from common.formats.torchscript import load_torchscript
from tests.common.formats import hostile_files as hostile
from tests.common.limits import within_bounds

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


def check(read, path, said):
    """Assert that a file, the only one in its folder, is refused in one line that says why."""
    with within_bounds(), pytest.raises(InputError, match=said) as caught:
        read(path)
    line = str(caught.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    assert len(line) < 500
    assert "MemoryError" not in line
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "evil"


@pytest.mark.parametrize("name", hostile.PLAIN)
def test_R2_pickles_that_cost_or_do_more_than_they_hold(name, path):
    body, said = hostile.PLAIN[name]
    path.write_bytes(hostile.pickled(body))
    check(read_pickle, path, said)


@pytest.mark.parametrize("name", hostile.CHECKPOINTS)
def test_R2_checkpoints_that_cost_or_do_more_than_they_hold(name, path):
    body, said = hostile.CHECKPOINTS[name]
    hostile.zipped(path, body, _0=hostile.FLOATS)
    check(load_torch, path, said)


@pytest.mark.parametrize("name", hostile.LIGHTNING)
def test_R2_lightning_files_that_cost_or_do_more_than_they_hold(name, path):
    body, said = hostile.LIGHTNING[name]
    hostile.zipped(path, b"}(" + hostile.text("state_dict") + b"}" + hostile.text("hyper_parameters") + body + b"u")
    check(load_lightning, path, said)


@pytest.mark.parametrize("name", hostile.SCRIPTS)
def test_R1_R2_scripts_that_do_more_than_compute(name, path):
    change, said = hostile.SCRIPTS[name]
    hostile.script(path, change)
    check(lambda path: load_script(path, "cpu"), path, said)


def test_the_script_that_they_are_made_from_is_read(path):
    hostile.script(path)
    assert load_script(path, "cpu").inner.weight.shape == (3, 3)
    assert load_torchscript(path).keys() == {"inner.weight", "inner.bias"}
