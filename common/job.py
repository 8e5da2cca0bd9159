"""The record of a job (run.json): which options shaped it, whether it is done, what came out.

The same command on the same folder goes on from what is there, and answers at once when the job is finished. Another
value of an option that changes results is an InputError that names the first such option.
"""

import dataclasses
import os
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
    extent: which part of a larger job this is, as a division's first and last unit: another one is no conflict, but
    not finished either.
    """

    def __init__(self, folder, tool, options, derived=None, inputs=(), extent=None):
        self.folder = Path(folder)
        self.path = self.folder / "run.json"
        self.tool, self.options, self.inputs = tool, options, list(inputs)
        self.derived, self.extent = plain(derived or {}), plain(extent)
        self.finished = None
        self.anew = bool(getattr(options, "overwrite", False))  # earlier outputs are to go
        self.extra = {}  # more entries for the finished record, such as the machine

    def begin(self, clear=()):
        """Compare with an earlier run here, and mark this one as running.

        Returns the earlier results when the same job is already finished, else None. With --overwrite the paths named
        in `clear` (files or folders) go first.
        """
        results = self.answer()
        if results is not None:
            return results
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.folder, clear)
        if self.anew:  # a kill while the old outputs go leaves a record that says so, and the next run ends it
            self._mark("clearing")
            for path in clear:
                self._remove(Path(path))
        self._mark("running")
        return None

    def _mark(self, status):
        write_json(self.path,
                   {"status": status, "tool": self.tool, "options": self._options(), "derived": self.derived})

    def _remove(self, path):
        """Remove a file, a folder, or all of this record's own folder but the record."""
        if path == self.folder:
            for entry in path.iterdir():
                if entry != self.path:
                    self._remove(entry)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def answer(self):
        """Return the results of this very job when it is finished and its files are there, else None; writes
        nothing."""
        earlier = self.compare()
        if earlier is None or earlier.get("status") != "done" or not self._same_totals(earlier):
            return None
        if earlier.get("extent") != self.extent or not all((self.folder / name).exists()
                                                           for name in earlier.get("files", [])):
            return None
        self.finished = earlier
        return earlier["results"]

    def compare(self):
        """Return the earlier record or None; raise InputError when an option that shapes results differs."""
        if not self.path.exists() or getattr(self.options, "overwrite", False):
            return None
        try:
            earlier = read_json(self.path)
        except InputError as error:
            raise InputError(error.what, where=self.path,
                             do="Restore the file, or use --overwrite to start anew") from error
        if not isinstance(earlier, dict) or not isinstance(earlier.get("options"), dict):
            raise InputError("not the record of a run", where=self.path,
                             do="Restore the file, or use --overwrite to start anew")
        self.anew = earlier.get("status") == "clearing"
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
            )
        return earlier

    def finish(self, record):
        """Write the finished record (`record` as --json shows it) and return it; an answered job keeps its own."""
        if self.finished is not None:
            return {**record, "results": self.finished["results"], "outputs": self.finished["outputs"]}
        versions = {"python": platform.python_version()}
        versions |= {name: _version(name) for name in ("genprobe", "torch", "numpy")}
        files = [os.path.relpath(path, self.folder) for path in record["outputs"]]  # so that the folder can be moved
        full = {"status": "done", **record, "files": files, "derived": self.derived, "extent": self.extent,
                "versions": versions, "inputs": plain(self.inputs),
                **plain(self.extra)}
        write_json(self.path, full)
        return record

    def _options(self):
        return plain(dataclasses.asdict(self.options))

    def _kinds(self):
        return {item.name: item.metadata.get("kind", "result") for item in dataclasses.fields(self.options)}

    def _same_totals(self, earlier):
        totals = [name for name, kind in self._kinds().items() if kind == "total"]
        return all(earlier["options"].get(name) == self._options().get(name) for name in totals)


def _version(name):
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "not installed"
