"""Units of work of a job (files, each complete or absent): which are missing, which are mine, making them."""

from collections import deque

from common import console, parallel
from common.cli import check_interrupted
from common.errors import InputError
from common.files import read_npz
from common.threads import Threads

PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
AHEAD, BEHIND = 2, 4  # units waiting for the computation, and for the disk


def make_missing(units, is_complete, make, label, size=len, unit="images"):
    """Make the units that are not complete, each in one of the processes; return the missing ones.

    make(unit, advance) writes a unit and counts its progress with advance(n), size(unit) in all.  On return all units
    are complete, whichever process made them.
    """
    missing = [each for each in units if not is_complete(each)]
    parallel.barrier()  # all have looked before any writes
    mine = parallel.shard(missing)
    with console.progress(label, sum(map(size, mine)), unit=unit) as advance:
        for each in mine:
            check_interrupted()  # an import within `make` may swallow an interruption
            make(each, advance)
    parallel.barrier()
    return missing


def make_pipelined(units, is_complete, load, compute, write, label, size=len, workers=2):
    """Make the missing units as `make_missing`, with threads around the computation; return the missing ones.

    load(unit) runs in a thread ahead, compute(loaded) here, write(made) in threads behind; units end in order.
    """
    missing = [each for each in units if not is_complete(each)]
    parallel.barrier()  # all have looked before any writes
    waiting, ahead, writing = deque(parallel.shard(missing)), deque(), deque()
    with Threads(1) as reader, Threads(max(1, workers)) as writers, \
            console.progress(label, sum(map(size, waiting)), unit="images") as advance:
        try:
            while waiting or ahead:
                check_interrupted()
                while waiting and len(ahead) < AHEAD:
                    each = waiting.popleft()
                    ahead.append((each, reader.submit(load, each)))
                each, loaded = ahead.popleft()
                writing.append((each, writers.submit(write, compute(loaded.result()))))
                while len(writing) > (BEHIND if waiting or ahead else 0):
                    each, written = writing.popleft()
                    written.result()
                    advance(size(each))
        finally:
            for _, loaded in ahead:
                loaded.cancel()
    parallel.barrier()
    return missing


def stored_arrays(path, required, optional=()):
    """Return {name: array} of a unit's npz file, None when it is missing, cut short, or lacks a required array."""
    if not path.exists():
        return None
    try:
        return read_npz(path, required=required, optional=optional)
    except InputError:
        return None


def is_whole_png(path):
    """True when a PNG is there with its end."""
    try:
        with open(path, "rb") as stream:
            stream.seek(-len(PNG_END), 2)
            return stream.read() == PNG_END
    except OSError:
        return False


def remove_numbered(folder, stem, count):
    """Remove the files <stem><number>.* of a folder from number `count` on, left by a larger job or smaller units."""
    for path in folder.glob(f"{stem}*.*"):
        number = path.stem.removeprefix(stem)
        if number.isdigit() and int(number) >= count:
            path.unlink()
