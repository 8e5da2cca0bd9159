"""Arrays in .npy form (numpy.lib.format), of which nothing is believed before it is checked."""

import io
import math
import time
from functools import lru_cache

DAMAGE = (ValueError, EOFError)  # what the functions below raise
LONGEST = 1 << 16  # bytes of a header; numpy takes 10,000 characters
USUAL = 256  # bytes of a header that is remembered
ATTEMPTS = 50


def npy_header(stream):
    """Return (shape, columns first, dtype) of a .npy stream, which then stands at the first value.

    Raises ValueError or EOFError when it does not begin as one, whatever its header is instead of Python.
    """
    import tokenize

    import numpy as np

    try:
        first = np.lib.format.read_magic(stream) == (1, 0)
        length = stream.read(2 if first else 4)
        text = length + stream.read(min(int.from_bytes(length, "little"), LONGEST))
        shape, columns_first, dtype = (_known if len(text) <= USUAL else _parsed)(first, text)
    except (tokenize.TokenError, SyntaxError, TypeError, LookupError, OverflowError, MemoryError,
            RecursionError) as error:
        raise ValueError(f"its header cannot be read ({error})") from error
    if any(side < 0 for side in shape):
        raise ValueError(f"its header says shape {shape}")
    return shape, columns_first, dtype


def _parsed(first, text):
    """Return what numpy's reader makes of a header, of its first version or of a later one.

    It uses ast.parse, which CPython 3.11 may end with a SystemError while another thread parses: it is tried again.
    """
    import numpy as np

    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    for _ in range(ATTEMPTS):
        try:
            return read(io.BytesIO(text))
        except SystemError:
            time.sleep(0.001)
    return read(io.BytesIO(text))


_known = lru_cache(maxsize=512)(_parsed)  # the arrays of many files have the same few headers


def check_length(shape, dtype, size):
    """Raise EOFError or ValueError unless `size` bytes behind a header are those of the array that it describes.

    For arrays that are read in place: what is too short there goes on into whatever the file has next.
    """
    expected = math.prod(shape) * dtype.itemsize
    if size < expected:
        raise EOFError(f"an array {dtype} {tuple(shape)} has {size:,} of {expected:,} bytes")
    if size > expected:
        raise ValueError(f"an array {dtype} {tuple(shape)} has {size:,} bytes, its header says {expected:,}")


def read_npy(stream, size):
    """Return the array of a .npy stream of `size` bytes, read to its end.

    Raises ValueError or EOFError for a damaged one, for one of Python objects, and for a shape beyond its bytes.
    """
    import numpy as np

    shape, columns_first, dtype = npy_header(stream)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which only a pickle can")
    count = math.prod(shape) * dtype.itemsize
    if count > size:
        raise EOFError(f"{size:,} bytes are too few for {dtype} of shape {shape}")
    data = np.empty(count, np.uint8)
    if stream.readinto(data) != count:
        raise EOFError(f"it ends before an array of shape {shape} is complete")
    if stream.read(1):  # also makes zipfile compare the check sum
        raise ValueError("it is longer than its header says")
    return np.ndarray(shape, dtype, data if count else None, order="F" if columns_first else "C")
