"""Worker processes that each do all the work on a photo; no image goes through a pipe.

Workers end when the main process does, however it ends: their pipe closes. A worker that dies is reported with its
photo.
"""

import multiprocessing
import os
import signal
import traceback
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Optional

from common.errors import InputError, as_input_error
from common.images.photos import SkippedPhoto
from common.memory import reuse_freed_memory

AHEAD = 2  # photos queued per worker, so that it never waits; one towards the end, to balance the load


class WorkerError(Exception):
    """An error inside a worker that is not the photo's fault."""


@dataclass
class Result:
    """The outcome of a photo: the function's value, or why it was skipped, or an error."""

    index: int
    value: Optional[dict] = None
    skipped: Optional[tuple] = None  # (reason, detail)
    broken: Optional[str] = None
    refused: Optional[tuple] = None  # (what, where, do) of an InputError: the run cannot continue


def attempt(function, options, unit):
    """Run function(options, unit) and return its Result."""
    try:
        return Result(unit.index, value=function(options, unit))
    except SkippedPhoto as error:
        return Result(unit.index, skipped=(error.reason, error.detail))
    except InputError as error:
        return Result(unit.index, refused=(error.what, str(error.where), error.do))
    except Exception as error:
        mended = as_input_error(error)
        if mended is not None:
            return Result(unit.index, refused=(mended.what, str(mended.where), mended.do))
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename.rsplit('/', 1)[-1]}:{place.lineno}"
        return Result(unit.index, broken=f"{type(error).__name__}: {error} ({where})")


def _serve(connection):
    """A worker's loop: (function, options) sets the job, a PhotoUnit asks for a Result."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process handles interruptions
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    import cv2

    cv2.setNumThreads(1)
    reuse_freed_memory(1 << 28)  # more than a photo's pixels: 5 % less time with two workers
    job, parent = None, os.getppid()
    try:
        while True:
            message = connection.recv()
            if os.getppid() != parent:  # it was killed, but messages are still in the pipe
                return
            if isinstance(message, tuple):
                job = message
                connection.send(None)
            else:
                connection.send(attempt(*job, message))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


class Workers:
    """A pool of processes that serves runs in turn. With a count of 0 this process does all the work."""

    def __init__(self, count):
        self.pipes, self.processes = [], []
        context = multiprocessing.get_context("spawn")  # forking beside torch's threads is unsafe
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
        """Yield the Results of function(options, unit) as they come in. function: at module level, to be pickled."""
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
        yield from self._distribute(function, options, list(units))

    def _distribute(self, function, options, units):
        waiting, queued = list(reversed(units)), {pipe: [] for pipe in self.pipes}
        for pipe in self.pipes:
            self._send(pipe, (function, options), queued)
            self._receive(pipe, queued)
        for _ in range(AHEAD):
            for pipe in self.pipes:
                self._next(pipe, waiting, queued)
        while any(queued.values()):
            for pipe in wait([pipe for pipe in self.pipes if queued[pipe]]):
                result = self._receive(pipe, queued)
                queued[pipe].pop(0)
                self._next(pipe, waiting, queued)
                yield result

    def _next(self, pipe, waiting, queued):
        if len(waiting) > len(self.pipes) or (waiting and not queued[pipe]):
            queued[pipe].append(waiting.pop())
            self._send(pipe, queued[pipe][-1], queued)

    def _send(self, pipe, message, queued):
        try:
            pipe.send(message)
        except (BrokenPipeError, ConnectionResetError):
            raise self._died(pipe, queued) from None

    def _receive(self, pipe, queued):
        try:
            return pipe.recv()
        except (EOFError, ConnectionResetError):
            raise self._died(pipe, queued) from None

    def _died(self, pipe, queued):
        """Return the error for a worker that died."""
        process = self.processes[self.pipes.index(pipe)]
        process.join(timeout=5)
        unit = queued[pipe][0].source.path if queued[pipe] else "its start"
        return WorkerError(f"{unit}: the worker died (exit status {process.exitcode}, perhaps out of memory)")
