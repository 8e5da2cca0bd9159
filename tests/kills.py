"""Commands in processes of their own that are killed at random moments."""

import random
import signal
import time


def end(process):
    """Wait for a quiet command, which must end well and say nothing."""
    _, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")


def kill(start, seconds, times, span, seed):
    """Start a command and kill it, again and again, until `times` kills came before its end; yield whether each did.

    start: begins it and returns its Popen.  seconds: how long it takes from its beginning.  span: the shares of that
    time between which a kill comes.  A run that ends first is not a kill: let the next begin anew.
    """
    moments, met = random.Random(seed), 0
    for _ in range(5 * times):
        process = start()
        time.sleep(moments.uniform(*span) * seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        before = process.returncode == -signal.SIGKILL
        met += before
        yield before
        if met == times:
            return
    raise AssertionError(f"only {met} of {5 * times} kills came before the end")
