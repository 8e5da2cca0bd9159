"""Lock files: one process at a time, and no lock that outlives its process."""

import os
from contextlib import contextmanager, suppress
from pathlib import Path

from common.errors import InputError
from common.files import system_errors


@contextmanager
def exclusive(path, waiting):
    """Hold a lock file while the body runs; print `waiting` and wait while another process holds it.

    The system releases the lock when its process ends, however it ends.
    """
    import fcntl

    path = Path(path)
    with system_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = open(path, "wb")
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            from common import console

            console.say(f"{waiting}; waiting for it")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def lock_file(path, folder):
    """Return the open lock file of a job's folder; InputError when another process holds it.

    The system releases the lock when its process ends, however it ends. Remove the file before closing it.
    """
    import fcntl

    while True:
        with system_errors(path):
            stream = open(path, "ab")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.close()
            raise _busy(folder) from error
        if holds(stream, path):
            return stream
        stream.close()  # removed by its last owner between opening and locking


def refuse_locked(path, folder):
    """Raise InputError when another process holds the lock file of a job's folder; makes none."""
    import fcntl

    with suppress(FileNotFoundError), open(path, "rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _busy(folder) from error


def _busy(folder):
    return InputError("another process is writing into this folder", where=folder,
                      do="Wait for it to finish, or choose another folder")


def holds(stream, path):
    """True when an open lock file is the one that is there under its name."""
    try:
        return os.stat(path).st_ino == os.fstat(stream.fileno()).st_ino
    except OSError:
        return False
