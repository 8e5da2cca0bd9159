"""One recorded job in one folder: compared with what ran there before, locked, resumed, answered when it is done.

The record is the folder's run.json: which options shaped the job, whether it is done, what came out. The same command
on the same folder resumes; a finished one answers. Another value of an option that changes results is an InputError
that names the first such option, and so is a folder that another tool's record or foreign files hold.
"""

import contextlib
import dataclasses
import json
import os
import platform
import shutil
from pathlib import Path

from common import console, parallel
from common.cli import Outcome, cause_of, check_interrupted
from common.errors import InputError
from common.files import check_writable, matches, plain, remove_empty, remove_leftovers, write_bytes, write_json
from common.locks import holds, lock_file, refuse_locked
from common.memory import reuse_freed_memory
from common.record import (
    LOCK,
    RECORD,
    changes,
    command_of,
    first_difference,
    is_whole,
    read_record,
    request_of,
    short,
    sizes_of,
    stamps_of,
)

START_ANEW = "Use the same value, another folder, or --overwrite to start over"


class Job:
    """What a command does in a folder.

    command: its name, such as "qc_ncsn eval nll".  options: its options dataclass, settled (presets filled in); a
    field's `kind` (common.options) says whether another value is another job ("result"), an extension when larger
    ("total") or of no consequence ("how").  request: the options as the user gave them.
    derived: {name: value} of what shapes results but is not a flag (the contents of a preset, hashes of inputs).
    content: {name: value} of what is read and may change: the job is done again then, where `derived` refuses.
    inputs: paths of all files and folders that are read; None where they cannot all be named.  about: what the record
    says of them.
    extent: which part of a larger job this is, as a division's first and last unit: another one is not a conflict, but
    not finished either.
    owns: names and patterns, relative to the folder, or Paths, of all that the job writes. --overwrite removes what
    an earlier run of the same command owned, and nothing else.
    show: called with the results of the job, done now or before, in the main process.
    accepted: names of options that may differ from the record's, which is then of the new values.
    summary: results -> what people read first of them, as common.summary makes it.
    """

    def __init__(self, folder, command, options, *, request=None, derived=None, content=None, inputs=None, about=(),
                 extent=None, owns=(), show=None, accepted=(), summary=None):
        self.folder = Path(folder)
        self.path = self.folder / RECORD
        self.command, self.options, self.request = command, options, request or options
        self.derived, self.content, self.extent = plain(derived or {}), plain(content or {}), plain(extent)
        self.inputs = inputs
        self.owns, self.show, self.about = [str(name) for name in owns], show, plain(list(about))
        self.accepted, self.summary = frozenset(accepted), summary
        self.words = None  # of the command line
        self.finished = None  # the earlier record that answers
        self.overwrite = bool(getattr(options, "overwrite", False))  # earlier outputs are to go
        self.extra = {}  # more entries of the finished record, such as the machine
        self.resumes = False  # a run of this command was stopped here
        self.says_up_to_date = True  # when the earlier record answers
        self.stamps = None if inputs is None else stamps_of(inputs)
        self._lock, self._made = None, []
        self._earlier = None  # the bytes of the record of a finished run that this one does again

    def run(self, work, rehearse, device=None):
        """Do the job and return its Outcome.

        work() -> (results, outputs) does what is missing, in every process.  rehearse() -> (line, results) answers
        --dry_run.  device: the torch.device of the work, for the process group and the record.
        """
        check_interrupted()
        if parallel.is_main():
            check_writable(self.folder)
            self.compare()
        if getattr(self.options, "dry_run", False):
            return self._rehearse(rehearse)
        with parallel.process_group(device.type if device else "cpu"):
            earlier = parallel.gather_objects(self.begin() if parallel.is_main() else None)[0]
            if earlier is not None:
                return self._answered(earlier)
            reuse_freed_memory()
            try:
                results, outputs = work()
            except BaseException as error:
                self._end_early(cause_of(error))
                self.release()
                raise
        if device is not None:
            from common.device import describe

            self.extra.setdefault("machine", describe(device))
        if self.show and parallel.is_main():
            self.show(results)
        return Outcome(results, [str(path) for path in outputs], self)

    def _rehearse(self, rehearse):
        line, results = rehearse()
        console.say(line)
        for path in self._owned() if self.overwrite else ():
            console.say(f"--overwrite would remove {path}")
        return Outcome(results)

    def _answered(self, results):
        if self.says_up_to_date:
            console.say(f"{self.folder}: up to date")
        if self.show and parallel.is_main():
            self.show(results)
        return Outcome(results, record=self)

    def begin(self):
        """Return the results of this very job when it is finished, else None with the folder locked and marked.

        With --overwrite what the job owns goes first.
        """
        self._made = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = lock_file(self._lock_path, self.folder)
            results = self.answer()
            if results is not None:
                self.release()
                return results
            self.resumes = self._status() not in (None, "done")
            self._earlier = self.path.read_bytes() if self.path.exists() and not self.overwrite else None
            owned = self._owned()
            remove_leftovers(self.folder, [path for path in owned if path.is_dir()], self.owns)
            if self.overwrite:  # killed meanwhile, it leaves a record that says so, and the next run goes on clearing
                self._mark("clearing")
                for path in owned:
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
            self._mark("running")
        except BaseException:
            self.release()
            self._remove_empty()
            raise
        return None

    def release(self):
        """Let another process write into the folder."""
        if self._lock is not None:
            if holds(self._lock, self._lock_path):
                self._lock_path.unlink()
            self._lock.close()
            self._lock = None

    def _owned(self, owns=None):
        """Return the paths that bear the job's names, sorted."""
        names = self.owns if owns is None else owns
        found = {path for name in names for path in matches(self.folder, name)}
        return sorted(found - {self.path, self._lock_path})

    @property
    def _lock_path(self):
        return self.folder / LOCK

    def _mark(self, status, **more):
        write_json(self.path, {"status": status, "tool": self.command.split()[0], "command": self.command,
                               "folder": os.path.abspath(self.folder), "options": self._options(),
                               "derived": self.derived, "owns": self.owns, **more})

    def _end_early(self, error):
        """Say in the record how the work ended: interrupted, or failed and why."""
        if not parallel.is_main():
            return
        with contextlib.suppress(InputError, OSError):  # where nothing can be written it stands as running
            if isinstance(error, InputError):
                self._withdraw()
            if self._lock is None or not (self._was_removed() or self._status() == "running"):
                return
            if isinstance(error, Exception):
                self._mark("failed", why=f"{type(error).__name__}: {error}" if not isinstance(error, InputError)
                           else str(error))
            else:
                self._mark("interrupted")

    def _status(self):
        return read_record(self.path).get("status") if self.path.exists() else None

    def _was_removed(self):
        """True when the folder was removed during the run, with the record, and the run wrote into a new one."""
        return not self.path.exists() and not self._lock_path.exists() and bool(self._owned())

    def _withdraw(self):
        """Take back the record of a run that bad input ended before it wrote anything, so that it blocks no other.

        What a finished run left untouched is finished still.
        """
        for path in self._owned():
            remove_empty(path)  # made for what was never written
        if self._earlier is not None and is_whole(json.loads(self._earlier), self.folder):
            write_bytes(self.path, self._earlier)
        elif not self._owned():
            self.path.unlink(missing_ok=True)
            self._lock_path.unlink(missing_ok=True)
            self._remove_empty()

    def _remove_empty(self):
        """Remove the folder, and those around it, that this job made, where nothing was put into them."""
        for folder in self._made:
            if any(folder.iterdir()):
                break
            folder.rmdir()

    def answer(self):
        """Return the results of this very job when it is finished and its files are there, else None; writes
        nothing."""
        earlier = self.compare()
        if earlier is None or not is_whole(earlier, self.folder) or not self._same_totals(earlier):
            return None
        if earlier.get("extent") != self.extent:
            return None
        changed = changes(earlier.get("content", self.content), self.content)
        if changed:
            console.say(f"{self.folder}: changed since the last run: {', '.join(changed)}; running again")
            return None
        self.finished = earlier
        return earlier["results"]

    def compare(self, again=False):
        """Return the earlier record or None. Raises InputError where the folder holds another job's or foreign files,
        and where an option that shapes results differs."""
        earlier = read_record(self.path) if self.path.exists() else None
        if earlier is not None and command_of(earlier) != self.command:
            raise InputError(f"this folder holds the outputs of {command_of(earlier)}", where=self.folder,
                             do="Choose another folder")
        try:
            self._refuse_foreign(earlier)
        except InputError:
            if earlier is None and self.path.exists():  # another process has begun this job meanwhile
                return self.compare()
            if self._lock is not None or again:
                raise
            refuse_locked(self._lock_path, self.folder)
            return self.compare(again=True)  # nobody writes now, who could have come between two listings
        if earlier is None:
            return None
        self.owns += [name for name in earlier.get("owns") or () if name not in self.owns]
        if self.overwrite:
            return None
        self.overwrite = earlier.get("status") == "clearing"
        before = {**earlier["options"], **(earlier.get("derived") or {})}
        for name, value in {**self._options(), **self.derived}.items():
            kind = self._kinds().get(name, "result")
            if kind == "how" or name in self.accepted:
                continue
            if name not in before:  # the run is older than the option, which had no effect then
                usual = self._usual(name)
                if usual is dataclasses.MISSING or plain(usual) == plain(getattr(self.request, name)):
                    continue
                before[name] = plain(usual)
            if before[name] == value or _same_place(before[name], value):
                continue
            if kind == "total" and value is not None and before[name] is not None and value > before[name]:
                continue
            named, there, here = first_difference(name, before[name], value)
            raise InputError(f"the run in this folder has {named} {short(there)}, this command has {short(here)}",
                             where=self.path, do=START_ANEW)
        return earlier

    def _refuse_foreign(self, earlier):
        """Raise InputError when something under the job's names was there before any run of it, or is its input."""
        names = earlier.get("owns") if earlier else []
        mine = {*self._owned()}  # before those of the earlier run: another process may be making more of them
        foreign = [] if names is None else sorted(filter(os.path.lexists, mine - {*self._owned(names)}))
        if self.overwrite and earlier is None:  # asked to replace files; folders may hold anything
            foreign = [path for path in foreign if path.is_dir()]
        if foreign:
            may_replace = not foreign[0].is_dir() and earlier is None
            advice = "move it away, or --overwrite to replace it" if may_replace else "or move it away"
            raise InputError("is in the way: no record says what wrote it", where=foreign[0],
                             do=f"Choose another folder, {advice}")
        owned = {path.resolve() for path in self._owned()}
        for place in self.inputs or ():
            if owned & {Path(place).resolve(), *Path(place).resolve().parents}:
                raise InputError("this input lies among the outputs", where=place, do="Choose another output folder")

    def finish(self, record):
        """Write the finished record (`record` as --json shows it) and return it; an answered job keeps its own."""
        if self.finished is not None:
            return {**record, "results": self.finished["results"], "outputs": self.finished["outputs"]}
        self._refuse_lost()
        versions = {"python": platform.python_version()}
        versions |= {name: _version(name) for name in ("genprobe", "torch", "numpy")}
        files = [os.path.relpath(path, self.folder) for path in record["outputs"]]  # so that the folder can be moved
        record = {**record, "options": self._options()}
        write_json(self.path, {
            "status": "done", **record, "folder": os.path.abspath(self.folder), "files": files, "owns": self.owns,
            "derived": self.derived, "content": self.content, "extent": self.extent, "versions": versions,
            "inputs": self.about, "request": request_of(self.request), "stamps": self.stamps,
            "sizes": sizes_of(self.folder, self._owned()),
            **({"summary": self.summary(record["results"])} if self.summary else {}),
            **({"words": self.words} if self.words is not None else {}), **plain(self.extra)})
        self.release()
        return record

    def _refuse_lost(self):
        """Raise InputError when the folder was removed during the run, with what was written until then."""
        if self._lock is None or holds(self._lock, self._lock_path):
            return
        if not self._lock_path.exists():  # else another process began there
            self._mark("failed", why="the folder was removed during the run")
        self.release()
        raise InputError("was removed during the run", where=self.folder, do="Run the same command again")

    def _options(self):
        return plain(dataclasses.asdict(self.options))

    def _usual(self, name):
        """Return the default of an option that the request has, MISSING for anything else and for one without."""
        item = getattr(self.request, "__dataclass_fields__", {}).get(name)
        if item is None or item.default is not dataclasses.MISSING:
            return dataclasses.MISSING if item is None else item.default
        return item.default_factory() if item.default_factory is not dataclasses.MISSING else dataclasses.MISSING

    def _kinds(self):
        return {item.name: item.metadata.get("kind", "result") for item in dataclasses.fields(self.options)}

    def _same_totals(self, earlier):
        totals = [name for name, kind in self._kinds().items() if kind == "total"]
        return all(earlier["options"].get(name) == self._options().get(name) for name in totals)


def _same_place(before, value):
    """True for two spellings of one path, such as in/a and in/a/; what is there is compared apart."""
    return isinstance(before, str) and isinstance(value, str) and os.path.exists(value) \
        and os.path.realpath(before) == os.path.realpath(value)


def _version(name):
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "not installed"
