"""What all tests share: the long kill tests run only when they are named (`pytest tests/faults`, `make faults`).

One thread for each test process: small networks gain nothing from more, and lose much where processes share the cores.
"""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch and numpy are imported


def pytest_ignore_collect(collection_path, config):
    """Leave tests/faults out unless an argument names it."""
    if collection_path.name == "faults" and not any("faults" in argument for argument in config.args):
        return True
    return None


@pytest.fixture(scope="session")
def inception_weights(tmp_path_factory):
    """A .pth of the FID Inception with the weights of the golden case, which tell images apart (95 MB)."""
    import torch

    from tests.golden.registry import Case

    path = tmp_path_factory.mktemp("weights") / "pt_inception-2015-12-05-6726825d.pth"
    torch.save(Case(Path(__file__).parent / "golden" / "metrics" / "inception_fid").state_dict(), path)
    return path
