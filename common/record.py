"""run.json, the record of a job: reading it, and answering from it without importing anything heavy."""

import dataclasses
import hashlib
import os
import re
from pathlib import Path

from common.errors import InputError
from common.files import check_fields, plain, read_json

RECORD = "run.json"
LOCK = f".{RECORD}.lock"
ADVICE = "Restore or remove the file, or choose another folder"
FIELDS = {  # of a run.json, where they are there
    "tool": str, "command": str, "status": str, "options": dict, "results": dict, "derived": dict, "outputs": list,
    "files": list, "owns": list, "seconds": (int, float), "versions": dict, "machine": dict, "request": dict,
    "stamps": dict, "sizes": dict, "words": list, "folder": str,
}
SCREEN = ("overwrite", "dry_run", "json", "quiet", "debug")  # flags that a command is compared without


def quick_answer(folder, command, request):
    """Return the record of a finished job when a command repeats it to the letter on inputs untouched since, else None.

    Nothing heavy is imported for it: the words, the environment and the stamps of the inputs are compared as they are.
    """
    path = Path(folder) / RECORD
    if getattr(request, "overwrite", False) or getattr(request, "dry_run", False) or not path.is_file():
        return None
    try:
        earlier = read_record(path)
    except InputError:  # the job itself says what is wrong with it
        return None
    same = command_of(earlier) == command and earlier.get("request") == request_of(request)
    if not same or earlier.get("stamps") is None or not is_whole(earlier, Path(folder)):
        return None
    return earlier if stamps_of(earlier["stamps"]) == earlier["stamps"] else None


def command_of(record):
    """Return the command that a record is of; records of runs that did not end hold the tool's name alone in places."""
    return str(record.get("command") or record["tool"])


def request_of(options):
    """Return {name: value} of a command as it was given, the variables of the environment that are read among it."""
    words = {name: value for name, value in plain(dataclasses.asdict(options)).items() if name not in SCREEN}
    variables = {name: value for name, value in sorted(os.environ.items())
                 if name.startswith("GENPROBE_") and name != "GENPROBE_CACHE"}
    return {**words, **variables}


def stamps_of(paths):
    """Return {path: what changes when the file, or a file below the folder, is replaced or written}."""
    return {str(path): _stamp(Path(path)) for path in paths}


def _stamp(path):
    """Return a file's [bytes, times of modification and of the inode's change], a digest of these for a folder."""
    if not path.is_dir():
        return _times(path)
    digest = hashlib.sha256()
    for folder, folders, names in os.walk(path, followlinks=True):
        folders.sort()
        below = os.path.relpath(folder, path)
        for name in sorted(names):
            if name != LOCK:
                shown = name if below == os.curdir else os.path.join(below, name)
                digest.update(f"{shown}\0{_times(os.path.join(folder, name))}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _times(path):
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def read_record(path):
    """Return a run.json; InputError when it is broken or no record of a genprobe run.

    Where its folder was moved, the paths in it that were moved along name their new places, so that a tree of runs and
    their inputs can be moved as a whole.
    """
    try:
        record = read_json(path)
    except InputError as error:
        raise InputError(error.what, where=path, do=ADVICE) from error
    try:
        check_fields(record, FIELDS, path)
    except InputError as error:
        raise InputError(f"not the record of a run: {error.what}", where=path, do=ADVICE) from error
    if not all(isinstance(record.get(name), FIELDS[name]) for name in ("tool", "options")):
        raise InputError("not the record of a run", where=path, do=ADVICE)
    was, here = record.get("folder") or "", os.path.abspath(Path(path).parent)
    if not os.path.isabs(was) or was == here or os.path.lexists(was):
        return record
    was, here = _roots(Path(was), Path(here))
    old = re.compile(rf"(?<![^\s=:,'\"(\[]){re.escape(str(was))}(?=[/:\s,'\")\]]|$)")
    try:
        return _moved(record, old, str(here))
    except RecursionError as error:
        raise InputError("not the record of a run: nested too deeply", where=path, do=ADVICE) from error


def _roots(was, here):
    """Return the old and the new path of the topmost folder that was moved, from those of a folder in it."""
    while was.name == here.name and not os.path.lexists(was.parent):
        was, here = was.parent, here.parent
    return was, here


def _moved(value, old, here):
    """Return an entry of a record with `here` in place of the path that the pattern `old` finds."""
    if isinstance(value, dict):
        return {_moved(name, old, here): _moved(item, old, here) for name, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, old, here) for item in value]
    return old.sub(lambda _: here, value) if isinstance(value, str) else value


def sizes_of(folder, paths):
    """Return {path relative to the folder: bytes of the file, or a digest of all names and sizes below the folder}."""
    return {os.path.relpath(path, folder): _sizes(Path(path)) for path in paths}


def _sizes(path):
    if not path.is_dir():
        return path.stat().st_size if path.exists() else None
    digest = hashlib.sha256()
    for folder, folders, names in os.walk(path):
        folders.sort()
        sizes = [(name, os.lstat(os.path.join(folder, name)).st_size) for name in sorted(names) if name != LOCK]
        digest.update(f"{os.path.relpath(folder, path)} {sizes}".encode(errors="surrogateescape"))
    return digest.hexdigest()


def is_whole(record, folder):
    """True when a record is of a finished run and all that it wrote is there, each file as long as it was."""
    files, sizes = record.get("files"), record.get("sizes") or {}
    return record.get("status") == "done" and isinstance(files, list) and isinstance(record.get("results"), dict) \
        and all((folder / name).exists() for name in files) \
        and sizes_of(folder, [folder / name for name in sizes]) == sizes


def first_difference(name, before, value):
    """Return (name, before, value) of the first entry in which two objects of the same entries differ, else of both."""
    if isinstance(before, dict) and isinstance(value, dict) and before.keys() == value.keys():
        inner = next(key for key in value if before[key] != value[key])
        return first_difference(f"{name}: {inner}", before[inner], value[inner])
    return name, before, value


def changes(before, after):
    """Return the names of entries that differ between two dictionaries, those of numbers with both values."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    values = [(before.get(name), after.get(name)) for name in names]
    return [f"{name} ({pair[0]}, now {pair[1]})" if all(isinstance(value, int) for value in pair) else name
            for name, pair in zip(names, values)]


def short(value):
    """Return a value for people: of a SHA-256 the first eight digits."""
    return f"{value[:8]}..." if re.fullmatch("[0-9a-f]{64}", str(value)) else value
