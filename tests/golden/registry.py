"""Golden cases on disk, and the checks that know how to run them.

A check is a function of a `Case` under the name that case.json gives as "check":

    @check("qc_ncsn/forward")
    def forward(case):
        network = build(case.spec["config"])
        network.load_state_dict(case.state_dict())
        return {"output": network(case.tensor("x"))}    # compared with the case's array `output`

It returns {expected array: what we got}, compared at the case's tolerance, or `compare.Judged` where the tolerance is
of a kind of its own. Checks depend on no case's name and on no place.
"""

import importlib
import json
import pkgutil
from functools import cached_property
from pathlib import Path

import numpy as np

from common.errors import InputError
from common.files import system_errors
from tests.golden.fill import fill_state, load_manifest

_checks = {}


def check(name):
    """Register the decorated function under a check's name."""

    def register(function):
        assert name not in _checks, f"two checks are called {name}"
        _checks[name] = function
        return function

    return register


def find_check(name):
    """Return the function of a check, or None; imports the modules of its area (`area/...`) on first use."""
    from tests.golden import checks

    area = str(name).split("/")[0]
    for module in pkgutil.iter_modules(checks.__path__):
        if module.name == area or module.name.startswith(f"{area}_"):
            importlib.import_module(f"{checks.__name__}.{module.name}")
    return _checks.get(name)


class Case:
    """One golden case: a folder with case.json, case.npz and, for networks, manifest.json."""

    def __init__(self, folder):
        self.folder = Path(folder)
        path = self.folder / "case.json"
        with system_errors(path):
            text = path.read_text()
        try:
            self.spec = json.loads(text)
            self.check = self.spec["check"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError("not a golden case: no JSON object with a \"check\"", where=path) from error

    @cached_property
    def arrays(self):
        """{name: array} of case.npz, inputs and expected outputs ({} when there is none)."""
        path = self.folder / "case.npz"
        if not path.exists():
            return {}
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    def tensor(self, name):
        """Return one array of case.npz as a torch tensor of its own."""
        import torch

        return torch.from_numpy(np.array(self.arrays[name]))

    def manifest(self):
        """Return the manifest's rows: manifest.json, or the file that `manifest_from` names relative to the case."""
        return load_manifest(self.folder / self.spec.get("manifest_from", "manifest.json"))

    def state_dict(self, rows=None):
        """Return {name: torch tensor} filled by the manifest (or by some of its rows), for a strict load_state_dict."""
        import torch

        state = fill_state(self.manifest() if rows is None else rows, self.arrays)
        return {name: torch.from_numpy(np.array(state.pop(name))) for name in list(state)}  # never two copies of all

    def file(self, name):
        """Return the path of the file or folder that spec["files"][name] names relative to the case."""
        return self.folder / self.spec["files"][name]

    def path(self, key):
        """Return the path that spec[key] (`input_npz_dir`, `input_tree`, ...) names relative to the case."""
        return self.folder / self.spec[key]

    @property
    def slow(self):
        """True for a case marked as taking over 5 s (any number in case.json whose key starts with `seconds`)."""
        marked = [value for key, value in self.spec.items() if key.startswith("seconds")]
        return any(isinstance(value, (int, float)) and value > 5 for value in marked)


def find_cases(folder):
    """Return the cases in a case folder or in folders of them, by path. Raises InputError when there is none."""
    folder = Path(folder)
    with system_errors(folder):
        found = list(_walk(folder))
    if not found:
        raise InputError("no golden case here (a folder with a case.json)", where=folder, do="Check the path")
    return found


def _walk(folder):
    if (folder / "case.json").is_file():
        yield Case(folder)
        return
    for inner in sorted(folder.iterdir()):
        if inner.is_dir() and inner.name != "__pycache__":
            yield from _walk(inner)
