"""What a computation leaves to the garbage collector: reference cycles keep tensors until it runs, maybe late."""

import contextlib
import gc


@contextlib.contextmanager
def left_over(kinds):
    """Yield a list that holds, after the body, the objects of some kinds that the body let go in reference cycles."""
    found = []
    gc.disable()
    gc.freeze()  # what was there before is not looked through: in a long run of tests that takes seconds
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found.extend(each for each in gc.garbage if isinstance(each, kinds))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.collect()
        gc.unfreeze()
        gc.enable()
