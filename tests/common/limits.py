"""Bounds of time and memory for what a test runs."""

import contextlib
import resource
import signal
from pathlib import Path


@contextlib.contextmanager
def within_bounds(seconds=5, size=2 << 30):
    """Fail what takes more processor seconds, or ten times that on the clock; more memory than now and `size` is
    refused by the system, as a MemoryError."""
    def stop(*_):
        raise TimeoutError(f"more than {seconds} s")

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    handlers = {number: signal.signal(number, stop) for number in (signal.SIGALRM, signal.SIGPROF)}
    resource.setrlimit(resource.RLIMIT_AS, (used + size, limits[1]))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.alarm(10 * seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        resource.setrlimit(resource.RLIMIT_AS, limits)


@contextlib.contextmanager
def using_at_most(size):
    """Fail what touches more memory at one time than so many bytes beyond what is in use now."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _peak()
    yield
    used = _peak() - before
    assert used <= size, f"{used:,} bytes, at most {size:,} were allowed"


def _peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
