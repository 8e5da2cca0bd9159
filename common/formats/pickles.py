"""Reading data pickles without running anything from them.

The file's instructions can rebuild lists, tuples, dicts, sets, text, bytes, numbers and plain numpy arrays. Arrays are
rebuilt by the functions below, never by numpy's own unpickling, so no array of Python objects and no inconsistent
array can come out of a file. Every other global (os.system, torch tensors, classes of the writer) is refused by name
before it is looked up. Pickles of Python 2 and of numpy 1 and 2 are understood.

The interpreter is the standard library's Python one: the one in C gives a few damaged bytes tens of GB of memory (its
table of references is as long as the highest number in the file), and these files have few instructions anyway.
"""

import io
import pickle
import re
import struct
import zipfile
import zlib

from common.errors import InputError

CORE = ("numpy.core.multiarray", "numpy._core.multiarray")
NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
# What the interpreter and the rebuilding functions raise on a pickle that is damaged, cut short, or made up.
DAMAGE = (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, NameError,
          AssertionError, OverflowError, MemoryError, RecursionError, BufferError, struct.error)
LARGEST_TORCH = 1 << 28  # bytes of a pickle inside a file of torch.save
AGAIN = "Make or copy the file again"


def read_pickle(path):
    """Return the value of a pickle file; see `loads_plain`. A missing or unreadable file is an InputError too."""
    from common.files import system_errors

    with system_errors(path), open(path, "rb") as stream:
        data = stream.read()
    return loads_plain(data, path)


def loads_plain(data, where, holders=()):
    """Return the value of the pickle `data` (bytes): plain containers, text, bytes, numbers and numpy arrays.

    where: the file's name for messages. Text written by Python 2 comes back as bytes, as its keys do.
    holders: names of classes, from whatever module, whose objects become bare holders of their attributes.
    Raises InputError when the pickle asks for any other global (named in the message), or is broken or cut short.
    """
    try:
        return _unwrap(PlainUnpickler(io.BytesIO(data), holders).load(), {})
    except Refused as refusal:
        raise InputError(
            f"this pickle asks for '{refusal}', which is not plain data; nothing of it was run",
            where=where, do="Use a file from its publisher; expected are numpy arrays, lists, dicts, text and numbers",
        ) from refusal
    except DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"cannot be read as a pickle ({reason})", where=where,
                         do="Make or copy the file again") from error


class Refused(Exception):
    """A global that the file asks for and does not get."""


class PlainUnpickler(pickle._Unpickler):
    """The interpreter with stand-ins for numpy's part in plain data; every other global is a `Refused`."""

    def __init__(self, stream, holders=()):
        super().__init__(stream, encoding="bytes")
        self.holders = holders

    def find_class(self, module, name):
        # Fresh functions for each file: what a file might set on them does not outlive it.
        if module in CORE and name == "_reconstruct":
            return lambda *arguments: _Array()
        if module in CORE and name == "scalar":
            return lambda dtype, raw: _from_bytes(dtype, _as_bytes(raw), ()).item()
        if module in NUMERIC and name == "_frombuffer":
            return lambda raw, dtype, shape, order: _Array(_from_bytes(dtype, raw, shape, order))
        if (module, name) == ("numpy", "ndarray"):
            return "numpy.ndarray"  # only ever an argument of _reconstruct, which ignores it
        if (module, name) == ("numpy", "dtype"):
            return lambda code, *flags: _Dtype(code)
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes in protocol 2
            return lambda text, encoding: _as_bytes(text)
        if module in ("builtins", "__builtin__") and name == "bytes":  # and empty bytes
            return lambda: b""
        if name in self.holders:
            return type(name, (), {"__doc__": "Holds what the file says of an object, without its class."})
        raise Refused(f"{module}.{name}")


class _Dtype:
    """A numeric or text dtype: its code, and the byte order that the file sets afterwards."""

    def __init__(self, code):
        self.code, self.order = _text(code), "|"

    def __setstate__(self, state):
        self.order = _text(state[1])

    def build(self):
        import numpy as np

        if not re.fullmatch(r"[<>|=]?[biufcSU]\d+", self.code) or self.order not in ("<", ">", "|", "="):
            raise ValueError(f"dtype {self.code} is not a number or text")
        dtype = np.dtype(self.code)
        return dtype if self.order == "|" else dtype.newbyteorder(self.order)


class _Array:
    """An array while it is read: numpy pickles an empty one first and then its state."""

    def __init__(self, array=None):
        self.array = array

    def __setstate__(self, state):
        _, shape, dtype, fortran, raw = state
        self.array = _from_bytes(dtype, _as_bytes(raw), shape, "F" if fortran else "C")


def _from_bytes(dtype, raw, shape, order="C"):
    """Return the array over `raw`; ValueError when the number of bytes is not that of the shape."""
    import numpy as np

    if not isinstance(dtype, _Dtype):
        raise ValueError("an array without a dtype")
    return np.frombuffer(raw, dtype=dtype.build()).reshape(shape, order=_text(order))


def _as_bytes(value):
    return value.encode("latin1") if isinstance(value, str) else bytes(value)


def _text(value):
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _unwrap(value, seen):
    """Return `value` with the arrays in its lists, tuples and dicts in place of their wrappers (each visited once)."""
    if isinstance(value, _Array):
        return value.array
    if id(value) in seen:
        return seen[id(value)]
    if isinstance(value, dict):
        seen[id(value)] = value
        for key in value:
            value[key] = _unwrap(value[key], seen)
    elif isinstance(value, list):
        seen[id(value)] = value
        if any(isinstance(item, (list, dict, tuple, _Array)) for item in value):
            value[:] = [_unwrap(item, seen) for item in value]
    elif isinstance(value, tuple):
        seen[id(value)] = tuple(_unwrap(item, seen) for item in value)
        return seen[id(value)]
    return value


def torch_pickle(data, where):
    """Return the pickle inside the bytes of a file of torch.save (zip form, or the older form of several pickles)."""
    if data[:2] != b"PK":
        return _legacy_pickle(data, where)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(names) != 1:
                raise InputError("not a file of torch.save: no data.pkl in it", where=where, do=AGAIN)
            # torch stores without compression; anything else could unfold to any size.
            info = archive.getinfo(names[0])
            if info.compress_type != zipfile.ZIP_STORED or info.file_size > min(LARGEST_TORCH, len(data)):
                raise InputError("not a file of torch.save: its data.pkl is compressed or oversized", where=where,
                                 do=AGAIN)
            return archive.read(info)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError,
            KeyError) as error:
        raise InputError(f"cannot be read as a file of torch.save ({error})", where=where, do=AGAIN) from error


def _legacy_pickle(data, where):
    """Return the rest of an old torch file (before 1.6) behind its first three pickles: magic number, protocol, system.

    The first two are numbers and so of fixed form; of the third, a dictionary, the end is found without running it.
    """
    import pickletools

    stream = io.BytesIO(data)
    try:
        for _ in range(3):
            for _ in pickletools.genops(stream):
                pass
    except Exception as error:  # pickletools raises whatever its argument readers raise; nothing is run
        raise InputError("not a file of torch.save", where=where, do=AGAIN) from error
    return data[stream.tell() :]
