"""Reads damaged files of some kinds and prints what breaks: python -m tests.readers.survey FOLDER FIRST COUNT KIND ...

In a process of its own, so that its memory can be bounded and a hang can be ended: a line of JSON for each broken
reading, and one at the end of each kind.
"""

import contextlib
import faulthandler
import io
import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

from common.errors import InputError
from common.paths import cache_dir
from tests.readers.kinds import KINDS, readings

SECONDS = 10  # of one reading, of the processor; ten times that on the clock, as others may keep it busy
MEMORY = 2 << 30  # bytes more than after the imports
STARTS = ("os.system", "os.exec", "os.fork", "os.posix_spawn", "subprocess.Popen", "socket.connect", "socket.bind")
WRITES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.symlink", "os.link", "os.chmod", "os.truncate")
FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
DONE = []  # what a reading must not do: start programs, call anybody, write or remove files that are not its own


def _watch(folder):
    """Note in DONE what is started anywhere, and what is written outside the folder and the cache."""
    own = (os.path.abspath(folder), os.path.abspath(cache_dir()), "/dev/", "/proc/self/")

    def note(event, arguments):
        writes = event in WRITES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & FOR_WRITING)
        if event in ("os.remove", "os.rmdir") and arguments[-1] != -1:
            return  # below a folder that shutil.rmtree holds open
        if event in STARTS:
            DONE.append(f"{event} {arguments}")
        elif writes and isinstance(arguments[0], (str, bytes)):
            place = os.path.abspath(os.fsdecode(arguments[0]))
            nameless = event == "open" and os.path.isdir(place)  # tempfile asks for a file without a name in it
            if not place.startswith(own) and "__pycache__" not in place and not nameless:
                DONE.append(f"{event} {place}")

    sys.addaudithook(note)


def main(folder, first, count, *kinds):
    """Read `count` mutations of each kind, from seed `first` on."""
    warnings.simplefilter("ignore")
    folder = os.path.abspath(folder)
    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)  # commands that are only rehearsed look whether their usual place can be written
    _watch(folder)
    for kind in kinds:
        place = Path(folder) / kind.replace(" ", "_")
        place.mkdir(parents=True)
        path = KINDS[kind].make(place)
        whole = path.read_bytes()
        broken = [said for said in _read_all(kind, path, 0) if said]  # also imports everything
        DONE.clear()
        refused, count_read, began = 0, 0, time.monotonic()
        for seed in range(int(first), int(first) + int(count)):
            path.unlink()
            path.write_bytes(KINDS[kind].damage(whole, seed))
            _forget(place)
            for said in _read_all(kind, path, MEMORY):
                refused += said is False
                count_read += 1
                broken += [f"seed {seed}: {said}"] if said else []
            broken += [f"seed {seed}: it did {done}" for done in DONE]
            DONE.clear()
        print(json.dumps({"kind": kind, "broken": broken, "refused": refused, "readings": count_read,
                          "seconds": time.monotonic() - began}), flush=True)
        shutil.rmtree(place)


def _forget(place):
    """Remove what earlier readings left beside the files."""
    for name in ("genprobe_index.json", "index.npz"):
        for path in place.rglob(name):
            path.unlink()
    shutil.rmtree(place / "page", ignore_errors=True)


def _read_all(kind, path, memory):
    """Yield for each reading None (it was read), False (refused in one line) or what broke."""
    try:
        for read in readings(kind, path):
            yield _outcome(read, memory)
    except Exception:
        yield traceback.format_exc()[-1500:]


def _outcome(read, memory):
    def stop(*_):
        raise TimeoutError(f"more than {SECONDS} s")

    seconds = SECONDS if memory else 10 * SECONDS  # the first one imports
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.alarm(10 * seconds)
    faulthandler.dump_traceback_later(12 * seconds, exit=True)  # where the system's code hangs
    limits = resource.getrlimit(resource.RLIMIT_AS)
    if memory:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, limits[1]))
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            read()
        return None
    except InputError as error:
        line = str(error)
        return False if "\n" not in line and len(line) < 1500 else f"not one line: {line!r}"
    except BaseException:
        return traceback.format_exc()[-1500:]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        resource.setrlimit(resource.RLIMIT_AS, limits)


if __name__ == "__main__":
    main(*sys.argv[1:])
