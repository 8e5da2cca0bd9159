"""Reading the network pickles of NVlabs/edm (and its relatives) without running anything from them.

Such a file pickles every module as a call of `torch_utils.persistence._reconstruct_persistent_obj` with the whole text
of the Python module that defined its class; ordinary unpickling executes that text. Here the call makes a record of
the class's name and the object's attributes, and the text is dropped. A short list of other globals has stand-ins
too; any other one is refused by name before it is looked up. Storages are legacy torch streams inside the pickle,
read by the same restricted reader. The pickle interpreter is the standard library's Python one, as in pickles.py.
"""

import io
import math
import os
import pickle
import sys
from contextlib import contextmanager

from common.errors import InputError
from common.files import system_errors
from common.formats.pickles import CORE, DAMAGE, PlainUnpickler, Refused

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of torch's legacy streams
STORAGES = {"FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
            "DoubleStorage": "float64",
            "LongStorage": "int64", "IntStorage": "int32", "BoolStorage": "bool"}
DTYPES = frozenset(STORAGES.values())
CONTAINERS = ("ModuleDict", "ModuleList", "Sequential")
TENSORS = ("_rebuild_tensor_v2", "_rebuild_tensor")
PARAMETERS = ("_rebuild_parameter", "_rebuild_parameter_with_state")
DICTS = (("collections", "OrderedDict"), ("dnnlib.util", "EasyDict"), ("dnnlib", "EasyDict"))
NUMPY = (*((module, "scalar") for module in CORE), ("numpy", "dtype"), ("_codecs", "encode"))
MOST_NAMES = 100_000  # modules and tensors together; modules shared over and over could stand for any number
LARGE = 1 << 16  # byte strings from here on are read into writable memory at once, which the tensors then share


def read_edm_pickle(path):
    """Return the top-level value of a network pickle: dicts, lists, numbers, text, and `Record`s for objects.

    Raises InputError when the file is missing, truncated or no pickle, and when it asks for anything else than such
    networks need (named in the message).
    """
    with system_errors(path), open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        with _input_errors(path):
            return _NetworkUnpickler(_Bounded(stream, size)).load()


def network_state(record, where):
    """Return {dotted name: CPU tensor}, the state dict of a module's Record: parameters and buffers, depth first.

    The tensors are copies of their own. Raises InputError when records, storages or shapes do not fit together.
    """
    with _input_errors(where):
        return _Collector().collect(record)


@contextmanager
def _input_errors(where):
    """Turn a refusal, and whatever a damaged file raises, into an InputError about `where`."""
    try:
        yield
    except Refused as refusal:
        do = "Use a file from its publisher; only modules, tensors and plain values are read"
        raise InputError(f"this pickle asks for {refusal}; nothing of it was run", where=where, do=do) from refusal
    except DAMAGE as error:
        what = f"cannot be read as a network pickle: it is truncated or damaged ({str(error) or type(error).__name__})"
        raise InputError(what, where=where, do="Copy or download the file again") from error


# What the file's instructions see are bare objects made from fresh classes: a file may set any attribute on them, so
# everything is checked after the last instruction, in `_Collector`.


class Record:
    """An object of the file: `attributes` as its instance dictionary has them, `class_name` where the file tells it."""

    class_name, attributes = None, {}

    def __init__(self, *described):
        if described:  # the one argument of _reconstruct_persistent_obj
            (meta,) = described
            if meta["type"] != "class" or not isinstance(meta["class_name"], str) or not isinstance(meta["state"], dict):
                raise ValueError("a persistent object of a form that is not known")
            self.class_name, self.attributes = meta["class_name"], meta["state"]

    def __setstate__(self, state):
        self.attributes = state


class _Tensor:
    """A tensor as the file describes it: (storage, offset, sizes, strides, ...)."""

    def __init__(self, *arguments):
        self.arguments = arguments


class _Storage:
    """A storage's stream, parsed when its first tensor is made."""

    def __init__(self, data):
        self.data = data


class _Bounded:
    """A stream that refuses to read more than the file has left, so that a false length cannot ask for any memory."""

    def __init__(self, stream, size):
        self.stream, self.size, self.readline = stream, size, stream.readline

    def read(self, count):
        if count > self.size - self.stream.tell():
            raise EOFError(f"{count:,} more bytes expected than there are")
        return self.stream.read(count)

    def readinto(self, buffer):
        if self.stream.readinto(buffer) != len(buffer):
            raise EOFError("it ends early")
        return len(buffer)

    def left(self):
        return self.size - self.stream.tell()


class _NetworkUnpickler(PlainUnpickler):
    """The interpreter of the file itself."""

    dispatch = dict(pickle._Unpickler.dispatch)

    def __init__(self, stream):
        super().__init__(stream)
        self.stream, self.items = stream, 0

    def find_class(self, module, name):
        # Fresh functions and classes for each global: what a file might set on them does not outlive it.
        if (module, name) == ("torch_utils.persistence", "_reconstruct_persistent_obj"):
            return lambda meta: Record(meta)
        if module == "torch.nn.modules.container" and name in CONTAINERS:
            return type(name, (Record,), {})
        if module == "torch._utils" and name in TENSORS:
            return lambda *arguments: _Tensor(*arguments)
        if module == "torch._utils" and name in PARAMETERS:
            return lambda data, *flags: data
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return lambda data: _Storage(data)
        if name == "EasyDict" and (module, name) in DICTS:
            return type(name, (dict,), {})
        if (module, name) in DICTS:
            return lambda *items: dict(self.counted(items))
        if (module, name) in (("builtins", "set"), ("__builtin__", "set")):
            return lambda *items: set(self.counted(items))
        if module == "torch" and name in DTYPES | STORAGES.keys():
            return name
        if (module, name) in NUMPY:
            return super().find_class(module, name)
        raise Refused(f"'{module}.{name}', which is no part of such a network")

    def persistent_load(self, identity):
        raise Refused("an object outside the file (a persistent id)")

    def counted(self, items):
        """Return the one argument of a container's call (() without one), within the number that a file may copy."""
        (values,) = items or ((),)
        self.items += len(values)
        if self.items > MOST_NAMES:
            raise ValueError("its containers are copied over and over")
        return values

    def load_large_bytes(self):
        """Read a byte string; a large one (a storage) into memory that its tensors can be made over."""
        count = int.from_bytes(self.read(4), "little")
        frame = self._unframer.current_frame  # writers put no large string into a frame
        if count < LARGE or (frame and frame.tell() < len(frame.getbuffer())):
            self.append(self.read(count))
            return
        if count > self.stream.left():
            raise EOFError(f"{count:,} more bytes expected than there are")
        data = bytearray(count)
        self.readinto(data)
        self.append(data)

    def load_byte_array(self):
        """The interpreter would make room for any length before it reads."""
        raise ValueError("a byte array, which such files do not hold")

    dispatch[pickle.BINBYTES[0]] = load_large_bytes
    dispatch[pickle.BYTEARRAY8[0]] = load_byte_array


class _StorageUnpickler(PlainUnpickler):
    """The interpreter of the five pickles at the head of a storage's stream, which need no global but storage types."""

    def find_class(self, module, name):
        if module == "torch" and name in STORAGES:
            return name
        raise Refused(f"'{module}.{name}' inside a storage, where only storage types belong")

    def persistent_load(self, identity):
        return identity


class _Collector:
    """Makes the tensors of a tree of Records."""

    def __init__(self):
        self.flat, self.stored, self.copied = {}, 0, 0

    def collect(self, root):
        """Return {dotted name: tensor}, parameters before buffers before children at every level."""
        if not isinstance(root, Record):
            raise ValueError("it holds no network")
        found, visited, pending = {}, 0, [("", root, 0)]
        while pending:
            prefix, record, depth = pending.pop()
            members = {kind: self.members(record, kind) for kind in ("_parameters", "_buffers", "_modules")}
            hidden = record.attributes.get("_non_persistent_buffers_set") or ()
            visited += 1 + sum(map(len, members.values()))
            if depth > 100 or visited + len(pending) > MOST_NAMES:
                raise ValueError("its modules hold one another in a circle, or are far too many")
            for name, tensor in [*members["_parameters"].items(), *members["_buffers"].items()]:
                if tensor is not None and name not in hidden:
                    found[prefix + name] = self.tensor(prefix + name, tensor)
            children = [(f"{prefix}{name}.", child, depth + 1) for name,
                        child in members["_modules"].items() if child is not None]
            pending += reversed(children)
        return found

    def members(self, record, kind):
        """Return one of a module's three dictionaries {name: member}."""
        if not isinstance(record, Record) or not isinstance(record.attributes, dict):
            raise ValueError("a module that is no module")
        members = record.attributes.get(kind, {})
        if not isinstance(members, dict) or not all(isinstance(name, str) for name in members):
            raise ValueError(f"a module whose {kind} is no dictionary of names")
        return members

    def tensor(self, name, described):
        """Return a copy of the described strided place in a storage."""
        if not isinstance(described, _Tensor):
            raise ValueError(f"'{name}' is no tensor")
        storage, offset, sizes, strides = described.arguments[:4]
        if not isinstance(sizes, tuple) or not isinstance(strides, tuple) or len(sizes) != len(strides):
            raise ValueError(f"'{name}' has no shape")
        if any(type(number) is not int or not 0 <= number < 2**62 for number in (offset, *sizes, *strides)):
            raise ValueError(f"'{name}' has sizes and strides that are no numbers from 0")
        flat = self.storage(storage)
        count = math.prod(sizes)
        last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides))
        if count > len(flat) or offset > len(flat) or (count and last >= len(flat)):
            raise ValueError(f"'{name}' of shape {sizes} reaches outside its {len(flat)} stored elements")
        self.copied += count * flat.element_size()
        if self.copied > 2 * self.stored + LARGE:
            raise ValueError("its tensors share their memory over and over")
        return flat.as_strided(sizes, strides, offset).clone().contiguous()

    def storage(self, storage):
        """Return a storage's elements as a flat tensor."""
        if not isinstance(storage, _Storage) or not isinstance(storage.data, (bytes, bytearray)):
            raise ValueError("a tensor without a storage")
        if id(storage) not in self.flat:
            self.flat[id(storage)] = parse_storage(storage.data)
            self.stored += len(storage.data)
        return self.flat[id(storage)]


def parse_storage(data):
    """Return the elements of a legacy torch stream of one storage as a flat tensor that may share `data`'s memory.

    The stream: pickles of a magic number, the protocol, the writer's system, the storage as a persistent id and the
    list of keys, then for the one key a little-endian 8-byte count and the raw values.
    """
    import torch

    stream = io.BytesIO(data)
    magic, protocol, system, identity, keys = (_StorageUnpickler(stream).load() for _ in range(5))
    if (magic, protocol) != (MAGIC, PROTOCOL) or not isinstance(system, dict):
        raise ValueError("a storage that is no torch stream")
    if not system.get("little_endian", system.get(b"little_endian", True)) or sys.byteorder != "little":
        raise ValueError("a storage of another byte order")
    kind, dtype, key, _, count = identity[:5]
    if kind not in ("storage", b"storage") or dtype not in STORAGES or keys != [key] or type(count) is not int:
        raise ValueError("a storage of no known kind")
    if len(identity) > 5 and identity[5] is not None:
        raise ValueError("a storage that is a part of another")
    dtype = getattr(torch, STORAGES[dtype])
    head, size = stream.read(8), torch.empty((), dtype=dtype).element_size()
    if len(head) != 8 or int.from_bytes(head, "little") != count:
        raise ValueError(f"a storage of {int.from_bytes(head, 'little'):,} elements that claims {count:,}")
    start = stream.tell()
    if len(data) - start != count * size:
        raise ValueError(f"a storage of {count:,} elements has {len(data) - start:,} bytes of them")
    if count == 0:
        return torch.empty(0, dtype=dtype)
    writable = data if isinstance(data, bytearray) else bytearray(data)  # torch warns of memory it may not write
    return torch.frombuffer(writable, dtype=dtype, count=count, offset=start)
