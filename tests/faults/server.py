"""Starts commands at once, in forks of one process that has imported everything: python -m tests.faults.server [TOOL]

Reads lines of JSON: {"start": {...}} is answered with the pid of a fork that is the command, {"wait": [pid, seconds]}
with its return code, or null where it took longer and was killed, after a traceback of all its threads. What a start
may hold, beside `tool`, `words`, `folder` and `out`, `err` (files that take what it prints):

variables: {name: value, or None to remove it} of the environment.
stdout: "closed", "gone" (a pipe that nobody reads) or "full" (/dev/full).
signal: [number, k]: sent by the command to itself before its k-th step.
error: [errno, k]: the k-th step and all later ones that need room fail with it.
vanish: [folder, k]: the folder is moved away before the k-th step, and the working folder "." removed.
steps: a file to which each step adds a byte.
file_bytes, memory: limits of the system, in bytes; memory beyond what the server has. stderr is then a pipe, which may
grow, and `err` is written at the end.
clock: "past", "future" or "back" (an hour earlier at each reading).

A step changes what lies below the folder: a file is opened for writing, renamed or removed, a folder made or removed.
"""

import atexit
import ctypes
import faulthandler
import gc
import importlib
import itertools
import json
import os
import pkgutil
import resource
import shutil
import signal
import sys
import time
import traceback

HEAVY = ("torch", "torch._dynamo", "cv2", "matplotlib.pyplot", "scipy.linalg", "scipy.stats",
         "scipy.spatial", "sklearn.decomposition", "sklearn.neighbors", "sklearn.datasets", "yaml", "safetensors.torch",
         "rich.console", "rich.progress", "rich.table", "argparse_dataclass", "matplotlib.backends.backend_agg",
         "torch.utils.serialization", "torch.profiler._cupti_monitor", "encodings.cp437", "encodings.utf_8_sig",
         *(f"PIL.{name}" for name in ("BmpImagePlugin", "GifImagePlugin", "JpegImagePlugin", "PpmImagePlugin",
                                      "ImageDraw", "ImageFont", "features")))
FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
NEEDS_ROOM = ("open", "os.mkdir", "os.rename")
STEPS = (*NEEDS_ROOM, "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate")


def main(*names):
    """Import everything, or these tools alone, then serve."""
    import common
    import tools

    for name in () if names else HEAVY:
        importlib.import_module(name)
    for package in (tools,) if names else (common, tools):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not names or module.name.split(".")[1] in names:
                importlib.import_module(module.name)
    if not names:
        map_by_principal_components()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # as tools/__init__.py leaves it
    for line in sys.stdin:
        request = json.loads(line)
        answer = start(request["start"]) if "start" in request else wait(*request["wait"])
        print(json.dumps(answer), flush=True)


def map_by_principal_components():
    """Let process_embeddings leave out UMAP, whose compilation takes a minute: the map itself does not matter here."""
    import numpy as np

    from tools.process_embeddings import embed

    embed.fit_map = lambda features, *rest: (None, np.ascontiguousarray(features[:, : rest[3]]))


PIPES = {}  # {pid: (what to read, file to write it to)}


def start(request):
    """Fork a command and return its pid."""
    reading, writing = os.pipe() if "file_bytes" in request else (None, None)
    pid = os.fork()
    if pid:
        if reading is not None:
            os.close(writing)
            PIPES[pid] = (reading, request["err"])
        return pid
    status = 1
    try:
        prepare(request, writing)
        status = be(request["tool"], request["words"])
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def wait(pid, seconds):
    """Return the code of an ended process, as subprocess gives it; None after killing one that takes too long."""
    end = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            if pid in PIPES:
                reading, path = PIPES.pop(pid)
                with open(reading, "rb") as pipe, open(path, "wb") as err:
                    err.write(pipe.read())
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.kill(pid, signal.SIGUSR1)
            time.sleep(0.5)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(0.003)


def prepare(request, stderr):
    """Make this process what a shell would start. stderr: a pipe for it, or None."""
    os.chdir(request["folder"])
    for name, value in request.get("variables", {}).items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    open_streams(request)
    if stderr is not None:
        os.dup2(stderr, 2)
    if "file_bytes" in request:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_bytes"],) * 2)
    if "memory" in request:
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + request["memory"],) * 2)
    faulthandler.register(signal.SIGUSR1, file=2)
    turn_clock(request.get("clock"))
    sys.addaudithook(Steps(request))


def open_streams(request):
    """Lead the standard streams to files, or to where `stdout` says."""
    kind = request.get("stdout")
    for number, name in ((0, os.devnull), (1, "/dev/full" if kind == "full" else request["out"]), (2, request["err"])):
        place = os.open(name, os.O_RDWR | (os.O_CREAT | os.O_TRUNC if number else 0), 0o644)
        os.dup2(place, number)
        os.close(place)
    if kind == "gone":
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, 1)
        os.close(writing)
    sys.stdin = open(0, closefd=False)
    sys.stdout = open(1, "w", closefd=False)
    sys.stderr = open(2, "w", closefd=False, errors="backslashreplace", buffering=1)
    if kind == "closed":
        os.close(1)
        sys.stdout = None


def turn_clock(kind):
    """Let time.time() give another time."""
    true, hours = time.time, itertools.count(1)
    shift = {None: lambda: 0, "past": lambda: -true() - 86400.0, "future": lambda: 300 * 365 * 86400.0,
             "back": lambda: -3600.0 * next(hours)}[kind]
    if kind:
        time.time = lambda: true() + shift()
        time.time_ns = lambda: int((true() + shift()) * 1e9)


class Steps:
    """An audit hook that counts the steps of a command and does at one of them what the request says."""

    def __init__(self, request):
        self.request, self.count, self.root = request, 0, os.getcwd() + "/"
        self.log = os.open(request["steps"], os.O_WRONLY | os.O_CREAT | os.O_APPEND) if "steps" in request else None

    def __call__(self, event, arguments):
        if event not in STEPS or not isinstance(arguments[0], (str, bytes, os.PathLike)):
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & FOR_WRITING):
            return
        try:
            place = os.path.abspath(os.fsdecode(arguments[0]))
        except OSError:  # the current folder is gone
            return
        if place.startswith(self.root):
            self.take(event, place)

    def take(self, event, place):
        """Count a step, and let happen what is due."""
        self.count += 1
        if self.log is not None:
            os.write(self.log, b".")
        number, due = self.request.get("signal", (0, 0))
        if self.count == due:
            os.kill(os.getpid(), number)
            ctypes.pythonapi.PyErr_CheckSignals()  # the handler runs between two steps, not at the end of this one
        folder, due = self.request.get("vanish", ("", 0))
        if self.count == due and os.path.isdir(folder):
            gone = f"{self.root.rstrip('/')}.gone.{os.getpid()}"
            os.rename(os.path.abspath(folder), gone)
            if folder == ".":  # moved alone, it would still be the working folder
                shutil.rmtree(gone)
        number, due = self.request.get("error", (0, 0))
        if due and self.count >= due and event in NEEDS_ROOM:
            raise OSError(number, os.strerror(number), place)


def be(tool, words):
    """Run a command to its end and return its status."""
    from common.cli import leave

    module = importlib.import_module(f"tools.{tool}.__main__")
    sys.argv = [module.__file__, *(os.fsdecode(word.encode("utf-8", "surrogateescape")) for word in words)]
    try:
        leave(module.cli)
    except SystemExit as error:
        status = error.code or 0
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except OSError:
        return 120  # as the interpreter's own last flush
    return status


if __name__ == "__main__":
    main(*sys.argv[1:])
