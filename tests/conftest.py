"""What all tests share: the long kill tests run only when they are named (`pytest tests/faults`, `make faults`).

One thread for each test process: small networks gain nothing from more, and lose much where processes share the cores.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch and numpy are imported


def pytest_ignore_collect(collection_path, config):
    """Leave tests/faults out unless an argument names it."""
    if collection_path.name == "faults" and not any("faults" in argument for argument in config.args):
        return True
    return None
