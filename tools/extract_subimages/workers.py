"""Worker processes that each do the whole of a photo's work; no image goes through a pipe.

Workers end when the main process does, however it ends: their pipe closes. A worker that dies is told with its photo.
"""

import contextlib
import multiprocessing
import os
import signal
import traceback
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Optional

from common.errors import InputError
from common.images.photos import SkippedPhoto

AHEAD = 2  # photos that a worker holds at once, so that it never waits; one at the end, so that none waits for it alone


class WorkerError(Exception):
    """What went wrong inside a worker, for a reason that is no fault of the photo."""


@dataclass
class Result:
    """How a photo ended: what the function returned, or why it was skipped, or what broke."""

    index: int
    value: Optional[dict] = None
    skipped: Optional[tuple] = None  # (reason, detail)
    broken: Optional[str] = None
    refused: Optional[tuple] = None  # (what, where, do) of an InputError: the run cannot go on


def attempt(function, options, unit):
    """Run function(options, unit) and return its Result."""
    try:
        return Result(unit.index, value=function(options, unit))
    except SkippedPhoto as error:
        return Result(unit.index, skipped=(error.reason, error.detail))
    except InputError as error:
        return Result(unit.index, refused=(error.what, str(error.where), error.do))
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename.rsplit('/', 1)[-1]}:{place.lineno}"
        return Result(unit.index, broken=f"{type(error).__name__}: {error} ({where})")


def _serve(connection):
    """A worker's loop: (function, options) sets the job, a PhotoUnit asks for a Result."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides what an interruption means
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    import cv2

    cv2.setNumThreads(1)
    _keep_memory()
    job, parent = None, os.getppid()
    try:
        while True:
            message = connection.recv()
            if os.getppid() != parent:  # killed; what it had sent before still lies in the pipe
                return
            if isinstance(message, tuple):
                job = message
                connection.send(None)
            else:
                connection.send(attempt(*job, message))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _keep_memory():
    """Have glibc reuse the memory of one photo for the next: 5 % less time with two workers."""
    import ctypes

    trim_threshold, mmap_threshold = -1, -3  # names in malloc.h; other C libraries have no mallopt, or ignore it
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(trim_threshold, 1 << 28)
        # of a photo's pixels, if that much is allowed
        mallopt(mmap_threshold, 1 << 28) or mallopt(mmap_threshold, 1 << 25)


class Workers:
    """A pool of processes that serves one run after the other. With a count of 0 all is done in this process."""

    def __init__(self, count):
        self.pipes, self.processes = [], []
        context = multiprocessing.get_context("spawn")  # nothing of this process, torch's threads among it, is copied
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self.pipes.append(ours)
            self.processes.append(process)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for pipe in self.pipes:
            pipe.close()
        for process in self.processes:
            if error[0] is not None:
                process.terminate()
            process.join(timeout=30)

    def run(self, function, options, units):
        """Yield the Result of function(options, unit) by unit, as they come in. function: of module level."""
        if not self.pipes:
            import cv2

            before = cv2.getNumThreads()
            cv2.setNumThreads(1)
            try:
                for unit in units:
                    yield attempt(function, options, unit)
            finally:
                cv2.setNumThreads(before)
            return
        yield from self._share_out(function, options, list(units))

    def _share_out(self, function, options, units):
        waiting, held = list(reversed(units)), {pipe: [] for pipe in self.pipes}
        for pipe in self.pipes:
            self._send(pipe, (function, options), held)
            self._receive(pipe, held)
        for _ in range(AHEAD):
            for pipe in self.pipes:
                self._next(pipe, waiting, held)
        while any(held.values()):
            for pipe in wait([pipe for pipe in self.pipes if held[pipe]]):
                result = self._receive(pipe, held)
                held[pipe].pop(0)
                self._next(pipe, waiting, held)
                yield result

    def _next(self, pipe, waiting, held):
        if len(waiting) > len(self.pipes) or (waiting and not held[pipe]):
            held[pipe].append(waiting.pop())
            self._send(pipe, held[pipe][-1], held)

    def _send(self, pipe, message, held):
        try:
            pipe.send(message)
        except (BrokenPipeError, ConnectionResetError):
            raise self._died(pipe, held) from None

    def _receive(self, pipe, held):
        try:
            return pipe.recv()
        except (EOFError, ConnectionResetError):
            raise self._died(pipe, held) from None

    def _died(self, pipe, held):
        """Return the error for a worker that ended by itself."""
        process = self.processes[self.pipes.index(pipe)]
        process.join(timeout=5)
        unit = held[pipe][0].source.path if held[pipe] else "its start"
        return WorkerError(f"{unit}: the worker died (exit status {process.exitcode}; a lack of memory, perhaps)")
