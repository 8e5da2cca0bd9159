"""What the installed commands run: a tool as the whole process, as `python -m tools.NAME` does."""

import importlib
import importlib.util


def __getattr__(name):
    """Return the function that runs the tool of this name, a package or a module, for [project.scripts]."""
    found = None if name.startswith("_") else importlib.util.find_spec(f"tools.{name}")
    if found is None:
        raise AttributeError(name)

    def start():
        from common.cli import leave

        module = found.name if found.submodule_search_locations is None else f"{found.name}.__main__"
        leave(importlib.import_module(module).cli)

    return start
