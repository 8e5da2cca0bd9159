"""A Python that runs each step as a fork of itself and, once a step has work to do, imports what most need, so that the
next begin at once.

    python -m docs.chains.parts.prepared SOCKET    (until its standard input ends)

A step sends its three streams, then its words, folder and variables; the answers are the pid of the fork and, at its
end, [exit status, processor seconds].
"""

import gc
import importlib
import json
import os
import pkgutil
import resource
import runpy
import selectors
import signal
import socket
import sys
import time

LIGHT = ("common.cli", "common.console", "common.record", "common.files")
HEAVY = ("torch", "torch._dynamo", "PIL.Image", "rich.console", "rich.progress", "rich.table", "safetensors.torch",
         "scipy.linalg", "sklearn.datasets", "sklearn.neighbors", "sklearn.decomposition", "matplotlib.pyplot", "yaml")
HEAVIER = {"tools.process_embeddings": ("umap",)}  # imported when a step asks for the tool
SOON = 2.0  # seconds within which a step that finds its results has ended


def main(place):
    """Serve steps; in a fork, run the step."""
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(place)
        door.listen(64)
        for name in LIGHT:
            importlib.import_module(name)
        step = serve(door)
    if step is not None:
        sys.argv = step[1:]
        runpy.run_module(step[1], run_name="__main__", alter_sys=True)


def serve(door):
    """Return a step's words in a fork that is to run it, None when standard input has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nothing is left of the forks that watch the steps
    watchers, known = {}, set()
    with selectors.DefaultSelector() as ready:
        ready.register(door, selectors.EVENT_READ)
        ready.register(sys.stdin, selectors.EVENT_READ)
        while True:
            asked = [key.fileobj for key, _ in ready.select(0.5)]
            if sys.stdin in asked:
                return None
            if not known and works(watchers):
                import_all(HEAVY, known)
            if door in asked and (words := fork(door, watchers, known)):
                return words


def works(watchers):
    """Return whether a step does more than look whether its results are there."""
    for pid in list(watchers):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            del watchers[pid]
    return any(time.monotonic() - began > SOON for began in watchers.values())


def fork(door, watchers, known):
    """Fork for the step that asks; return its words in the fork that is to run it."""
    line, _ = door.accept()
    with line:
        streams = socket.recv_fds(line, 1, 3)[1]
        words, folder, variables = json.loads(line.makefile("rb").readline())
        if known and words[1].startswith("tools."):
            import_all([words[1]], known)
        pid = os.fork()
        if not pid and watch(line):
            become(folder, variables, streams)
            return words
        watchers[pid] = time.monotonic()
    for stream in streams:
        os.close(stream)
    return None


def import_all(names, known):
    """Import modules, and all that is in the packages of tools, once."""
    for name in set(names) - known:
        module = importlib.import_module(name)
        for each in pkgutil.walk_packages(module.__path__, f"{name}.") if name.startswith("tools.") else ():
            if not each.name.endswith("__main__"):
                importlib.import_module(each.name)
        for each in HEAVIER.get(name, ()):
            importlib.import_module(each)
    known.update(names)
    gc.freeze()  # a collection in a fork would copy what it looks at


def watch(line):
    """Fork once more and return True in the step; the other one says on the line how it ends, and ends itself."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    step = os.fork()
    if step == 0:
        return True
    try:
        line.sendall(json.dumps(step).encode() + b"\n")
        status = os.waitstatus_to_exitcode(os.waitpid(step, 0)[1])
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        line.sendall(json.dumps([status, used.ru_utime + used.ru_stime]).encode() + b"\n")
    finally:
        os._exit(0)


def become(folder, variables, streams):
    """Take a step's folder, variables and streams."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.path[0] = folder  # as `python -m` has it
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdout.reconfigure(line_buffering=True)  # the chain's log shows how far it is


if __name__ == "__main__":
    main(sys.argv[1])
