"""torchvision's Python parts import and work whether or not its compiled operators load."""

import subprocess
import sys

import pytest
import torch

from tests.common.torchvision_guard import declare_missing, import_torchvision


def test_python_parts_work():
    import_torchvision()
    from torchvision.models import densenet121
    from torchvision.transforms import functional

    ramp = torch.linspace(0, 1, 64).reshape(1, 1, 8, 8)
    halved = functional.resize(ramp, [4, 4], antialias=True)
    assert halved.shape == (1, 1, 4, 4)
    assert torch.isclose(halved.mean(), ramp.mean(), atol=1e-6)
    with torch.no_grad():
        assert densenet121(weights=None).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)


def test_nothing_is_declared_twice():
    import_torchvision()
    assert declare_missing() == []


@pytest.mark.long
def test_packages_that_import_torchvision_themselves_import_after_the_guard():
    code = ("from tests.common.torchvision_guard import import_torchvision\n"
            "import_torchvision()\nimport lpips, cleanfid.fid\nprint('fine')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith("fine"), done.stderr


def test_nothing_is_done_where_torchvision_imports(monkeypatch):
    """A stand-in for a torchvision whose library loads."""
    monkeypatch.setitem(sys.modules, "torchvision", "whole")
    monkeypatch.setattr("tests.common.torchvision_guard.declare_missing",
                        lambda: (_ for _ in ()).throw(AssertionError))
    assert import_torchvision() == "whole"
