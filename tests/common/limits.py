"""Bounds of time and memory for what a test runs."""

import contextlib
import resource
import signal


@contextlib.contextmanager
def within_bounds(seconds=5, size=2 << 30):
    """Fail what takes longer; more memory than now and `size` is refused by the system, as a MemoryError."""
    def stop(*_):
        raise TimeoutError(f"more than {seconds} s")

    with open("/proc/self/statm") as stream:
        used = int(stream.read().split()[0]) * resource.getpagesize()
    limits, handler = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (used + size, limits[1]))
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, limits)
