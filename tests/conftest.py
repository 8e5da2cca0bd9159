"""What all tests share: the long kill tests run only when they are named (`pytest tests/faults`, `make faults`)."""


def pytest_ignore_collect(collection_path, config):
    """Leave tests/faults out unless an argument names it."""
    if collection_path.name == "faults" and not any("faults" in argument for argument in config.args):
        return True
    return None
