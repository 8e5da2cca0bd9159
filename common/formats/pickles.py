"""Reading data pickles without running anything from them (see unpickle.py).

The file's instructions can rebuild lists, tuples, dicts, sets, text, bytes, numbers and plain numpy arrays. Arrays are
rebuilt by the functions below, never by numpy's own unpickling, so no array of Python objects and no inconsistent
array can come out of a file. Pickles of Python 2 and of numpy 1 and 2 are understood.
"""

import io
import re

from common.formats.torch_files import open_torch
from common.formats.unpickle import Global, Interpreter, Record, StandIn, finish, known, reading
from common.formats.zips import AGAIN

EXPECTED = "numpy arrays, lists, dicts, text and numbers"


def read_pickle(path):
    """Return the value of a pickle file; see `loads_plain`. A missing or unreadable file is an InputError too."""
    from common.files import system_errors

    with system_errors(path), open(path, "rb") as stream:
        data = stream.read()
    return loads_plain(data, path)


def loads_plain(data, where):
    """Return the value of the pickle `data` (bytes): plain containers, text, bytes, numbers and numpy arrays.

    where: the file's name for messages. Text written by Python 2 comes back as bytes, as its keys do.
    Raises InputError when the pickle asks for any other global (named in the message), or is broken or cut short.
    """
    with reading(where, "a pickle", EXPECTED, AGAIN):
        interpreter = Interpreter(io.BytesIO(data), len(data), known(PLAIN), encoding="bytes")
        value = interpreter.load()
        return value if interpreter.is_finished else finish(value, plain_part, circles=True)


def loads_objects(data, where):
    """Return the list of an array of Python objects, as numpy.save pickles one behind its header; see `loads_plain`."""
    def part_of(part, inner):
        if isinstance(part, _Array) and isinstance(part.state[4], list):
            return inner(part.state[4])
        return plain_part(part, inner)

    with reading(where, "an array of Python objects", EXPECTED, AGAIN):
        return finish(Interpreter(io.BytesIO(data), len(data), known(PLAIN), encoding="bytes").load(), part_of,
                      circles=True)


def loads_plain_torch(data, where, holders=()):
    """Return the value in the bytes of a file of torch.save that holds no tensor.

    holders: names of classes, from whatever module, whose objects become Records.  Errors: see `loads_plain`.
    """
    def holder(name):
        kind = name.rpartition(".")[2]
        return (lambda: Record(kind)) if kind in holders else None

    with reading(where, "a file of torch.save", EXPECTED, AGAIN):
        file = open_torch(io.BytesIO(data), len(data))
        value = file.load(known(PLAIN, also=holder))
        return value if file.is_finished else finish(value, plain_part)


class _Dtype(StandIn):
    """A numeric or text dtype: (code, ...), and the byte order that the file sets afterwards."""

    __slots__ = ()
    takes_state = True

    def build(self):
        import numpy as np

        code, order = _text(self.arguments[0]), "|" if self.state is None else _text(self.state[1])
        if not re.fullmatch(r"[<>|=]?[biufcSU]\d{1,9}", code) or order not in ("<", ">", "|", "="):
            raise ValueError(f"dtype {code[:40]} is not a number or text")
        dtype = np.dtype(code)
        return dtype if order == "|" else dtype.newbyteorder(order)


class _Array(StandIn):
    """An array while it is read: numpy pickles an empty one first and then its state (version, shape, ...)."""

    __slots__ = ()
    takes_state = True

    def build(self):
        _, shape, dtype, fortran, raw = self.state
        return _from_bytes(dtype, raw, shape, "F" if fortran else "C")


class _Scalar(StandIn):
    """A numpy scalar (dtype, bytes)."""

    __slots__ = ()

    def build(self):
        return _from_bytes(*self.arguments, ()).item()


class _Buffer(StandIn):
    """An array of protocol 5 (bytes, dtype, shape, order)."""

    __slots__ = ()

    def build(self):
        raw, dtype, shape, order = self.arguments
        return _from_bytes(dtype, raw, shape, _text(order))


def plain_part(part, inner):
    """Return the array or number of a stand-in, a Record with its attributes finished, else a name. See `finish`."""
    if isinstance(part, (_Array, _Scalar, _Buffer)):
        return part.build()
    if isinstance(part, Record):
        part.state = inner(part.attributes)
        return part
    return part.name if isinstance(part, Global) else str(part.build())


def _from_bytes(dtype, raw, shape, order="C"):
    """Return the array over `raw`; ValueError when the number of bytes is not that of the shape."""
    import numpy as np

    if not isinstance(dtype, _Dtype):
        raise ValueError("an array without a dtype")
    return np.frombuffer(_as_bytes(raw), dtype=dtype.build()).reshape(shape, order=order)


def _as_bytes(value):
    return value.encode("latin1") if isinstance(value, str) else value


def _text(value):
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


NUMPY = {
    **{f"{core}.multiarray.{name}": make for core in ("numpy.core", "numpy._core")
       for name, make in (("_reconstruct", _Array), ("scalar", _Scalar))},
    **{f"{core}.numeric._frombuffer": _Buffer for core in ("numpy.core", "numpy._core")},
    "numpy.ndarray": None,  # only ever an argument of _reconstruct, which ignores it
    "numpy.dtype": _Dtype,
    "_codecs.encode": lambda text, encoding: _as_bytes(text),  # how Python 3 writes bytes in protocol 2
}
PLAIN = {**NUMPY, **{f"{module}.bytes": lambda: b"" for module in ("builtins", "__builtin__")}}  # empty bytes
