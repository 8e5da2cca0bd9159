"""Root for whom modes hold, as for an ordinary user: without the capabilities that pass over them."""

import contextlib
import ctypes
import os

OVERRIDE, READ = 1, 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
VERSION_3 = 0x20080522


@contextlib.contextmanager
def modes_that_hold():
    """Yield True where the modes of files hold for this thread meanwhile."""
    if os.getuid() != 0:
        yield True
        return
    libc = ctypes.CDLL(None, use_errno=True)
    head, data = (ctypes.c_uint32 * 2)(VERSION_3, 0), (ctypes.c_uint32 * 6)()
    if libc.capget(head, data):
        yield False
        return
    before = data[0]
    data[0] &= ~(1 << OVERRIDE | 1 << READ)
    changed = libc.capset(head, data) == 0
    try:
        yield changed
    finally:
        data[0] = before
        libc.capset(head, data)
