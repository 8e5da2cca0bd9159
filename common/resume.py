"""The record of a job (run.json): which options shaped it, whether it is done, what came out.

The same command on the same folder goes on from what is there, and answers at once when the job is finished. Another
value of an option that changes results is an InputError that names the first such option.
"""

import dataclasses
import platform
import shutil
from pathlib import Path

from common.errors import InputError
from common.files import plain, read_json, remove_leftovers, write_json


class RunRecord:
    """run.json of one job in its folder.

    options: the command's options dataclass; a field's `kind` (common.cli.option) says whether another value is
    another job ("result"), an extension when larger ("total") or of no consequence ("how").
    derived: further values that shape results but are no flags (the contents of a preset, say).
    """

    def __init__(self, folder, tool, options, derived=None, inputs=()):
        self.folder = Path(folder)
        self.path = self.folder / "run.json"
        self.tool, self.options, self.inputs = tool, options, list(inputs)
        self.derived = plain(derived or {})
        self.finished = None
        self.extra = {}  # more entries for the finished record, such as the machine

    def begin(self, clear=()):
        """Compare with an earlier run here, and mark this one as running.

        Returns the earlier results when the same job is already finished, else None. With --overwrite the earlier
        record and the paths named in `clear` (files or folders) go first.
        """
        earlier = self.compare()
        if getattr(self.options, "overwrite", False):
            for path in (self.path, *clear):
                shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink(missing_ok=True)
            earlier = None
        if earlier is not None and earlier.get("status") == "done" and self._same_totals(earlier):
            self.finished = earlier
            return earlier["results"]
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.folder)
        write_json(self.path, {"status": "running", "tool": self.tool, "options": self._options(), "derived": self.derived})
        return None

    def compare(self):
        """Return the earlier record or None; raise InputError when an option that shapes results differs."""
        if not self.path.exists() or getattr(self.options, "overwrite", False):
            return None
        earlier = read_json(self.path)
        if not isinstance(earlier, dict) or not isinstance(earlier.get("options"), dict):
            raise InputError("not the record of a run", where=self.path, do="Restore the file, or use --overwrite")
        before = {**earlier["options"], **earlier.get("derived", {})}
        now = {**self._options(), **self.derived}
        for name, value in now.items():
            kind = self._kinds().get(name, "result")
            if kind == "how" or name not in before or before[name] == value:
                continue
            if kind == "total" and value is not None and before[name] is not None and value > before[name]:
                continue
            raise InputError(
                f"the run in this folder has {name} {before[name]}, this command has {value}", where=self.path,
                do="Use the same value, another folder, or --overwrite to start anew",
            )  # fmt: skip
        return earlier

    def finish(self, record):
        """Write the finished record (`record` as --json shows it) and return it; an answered job keeps its own."""
        if self.finished is not None:
            return {**record, "results": self.finished["results"], "outputs": self.finished["outputs"]}
        from importlib.metadata import version

        versions = {"python": platform.python_version()}
        versions |= {name: version(name) for name in ("genprobe", "torch", "numpy")}
        full = {"status": "done", **record, "derived": self.derived, "versions": versions, "inputs": plain(self.inputs),
                **plain(self.extra)}  # fmt: skip
        write_json(self.path, full)
        return record

    def _options(self):
        return plain(dataclasses.asdict(self.options))

    def _kinds(self):
        return {item.name: item.metadata.get("kind", "result") for item in dataclasses.fields(self.options)}

    def _same_totals(self, earlier):
        totals = [name for name, kind in self._kinds().items() if kind == "total"]
        return all(earlier["options"].get(name) == self._options().get(name) for name in totals)
