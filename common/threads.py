"""Threads that write files, which an interruption does not leave half written."""

from concurrent.futures import ThreadPoolExecutor

from common.cli import held_interruptions


class Threads(ThreadPoolExecutor):
    """A pool that knows of each of its threads, and so waits for it, whenever an interruption comes.

    ThreadPoolExecutor takes note of a thread once it runs: one that an interruption met before that would go on alone,
    and the process end in the middle of its writing.
    """

    def submit(self, *arguments, **named):
        """Schedule a call and return its future; an interruption waits until it is scheduled."""
        with held_interruptions():
            return super().submit(*arguments, **named)
