"""Reading the tensors of a TorchScript archive (torch.jit.save) without running anything of it.

The archive is a zip: `<name>/data.pkl` pickles a tree of module objects whose attributes are tensors, submodules and
plain values, and `<name>/data/<key>` holds the bytes of each storage. The code beside them is never read. The classes
of the archive (`__torch__...`) become bare attribute holders, tensors are rebuilt below with their bounds checked, and
any other global is refused by name. The pickle interpreter is the standard library's Python one, as in pickles.py.
"""

import io
import math
import pickle
import struct
import sys
import zipfile
import zlib

from common.errors import InputError
from common.files import system_errors
from common.formats.checkpoints import aligned

STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool",
}
LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")
MOST_NAMES = 100_000  # modules and tensors together; modules shared over and over could stand for any number


def is_torchscript(path):
    """Return True for a zip that torch.jit.save made (a torch.save zip has no constants.pkl)."""
    with system_errors(path), open(path, "rb") as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                return any(name.endswith("/constants.pkl") for name in archive.namelist())
        except (zipfile.BadZipFile, ValueError, struct.error):
            return False


def load_torchscript(path):
    """Return {dotted name: CPU tensor}: the parameters, buffers and other tensors that are attributes of the modules.

    Names are those of the scripted module's state_dict. Raises InputError for a missing, truncated or foreign file,
    and for one that asks for anything but modules, tensors and plain values.
    """
    with system_errors(path), open(path, "rb") as stream:
        size = stream.seek(0, 2)
        try:
            with zipfile.ZipFile(stream) as archive:
                records = _Records(archive, size)
                root = _ArchiveUnpickler(io.BytesIO(records.read("data.pkl"))).load()
                return _Collector(records).collect(root)
        except _Refused as refusal:
            do = "Use a file from its publisher; only modules, tensors and plain values are read"
            raise InputError(f"this archive {refusal}; nothing of it was run", where=path, do=do) from refusal
        except (pickle.UnpicklingError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, TypeError, KeyError,
                IndexError, AttributeError, NameError, AssertionError, OverflowError, MemoryError, RecursionError,
                BufferError, NotImplementedError, RuntimeError, struct.error) as error:
            reason = str(error) or type(error).__name__
            kind = f"it is truncated or of another kind ({reason})"
            what = f"cannot be read as a TorchScript archive ({size:,} bytes): {kind}"
            raise InputError(what, where=path, do="Copy or download the file again") from error


class _Refused(Exception):
    """Something that the archive asks for and does not get."""


class _Records:
    """The members of the zip that are read: data.pkl and the storages, all stored as they are."""

    def __init__(self, archive, size):
        self.archive, self.entries = archive, {entry.filename: entry for entry in archive.infolist()}
        pickles = [name for name in self.entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("no data.pkl in it")
        self.folder = pickles[0].partition("/")[0]
        if sum(entry.compress_size for entry in self.entries.values()) > size:
            raise ValueError("its members overlap")
        order = self.read("byteorder").decode("ascii") if f"{self.folder}/byteorder" in self.entries else "little"
        if order != sys.byteorder:
            raise ValueError(f"byte order {order!r}")

    def read(self, name):
        """Return the bytes of one member; KeyError when there is none, ValueError when it is compressed.

        torch compresses only the code, so no small file can unpack to a huge one.
        """
        entry = self.entries[f"{self.folder}/{name}"]
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"its {name} is compressed")
        return self.archive.read(entry)


# What the file's instructions see of modules, tensors and storages are bare objects: a file may set any attribute on
# them, so everything is checked after the last instruction, in `_Collector`.


class _Module:
    """An object of one of the archive's classes: its attributes, nothing else."""

    attributes = {}

    def __setstate__(self, state):
        self.attributes = state


class _Described:
    """A storage or tensor as the file describes it: the arguments from which torch would make it."""

    def __init__(self, *arguments):
        self.arguments = arguments


class _Storage(_Described):
    """("storage", type, key, device, number of elements)."""


class _Tensor(_Described):
    """(storage, offset, sizes, strides, requires_grad, hooks, metadata)."""


class _ArchiveUnpickler(pickle._Unpickler):
    def find_class(self, module, name):
        # Fresh functions and classes for each global: what a file might set on them does not outlive it.
        if module == "__torch__" or module.startswith("__torch__."):
            return type("Module", (_Module,), {})
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *arguments: _Tensor(*arguments)
        if module == "torch" and name in STORAGES:
            return name  # only ever a part of a storage's persistent id
        if module == "torch.jit._pickle" and name in LISTS:
            return lambda values: list(values)
        if (module, name) == ("torch.jit._pickle", "restore_type_tag"):
            return lambda value, type_name: value
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        raise _Refused(f"asks for '{module}.{name}', which is no module, tensor or plain value")

    def persistent_load(self, identity):
        return _Storage(*identity)


class _Collector:
    """Makes the tensors of a tree of _Module objects."""

    def __init__(self, records):
        self.records, self.storages = records, {}

    def collect(self, root):
        """Return {dotted name: tensor}, in the order of the attributes."""
        if not isinstance(root, _Module):
            raise ValueError("it holds no module")
        found, visited, pending = {}, 0, [("", root, 0)]
        while pending:
            prefix, value, depth = pending.pop()
            visited += 1
            if isinstance(value, _Tensor):
                found[prefix] = self.tensor(*value.arguments)
                continue
            if depth > 100 or visited + len(pending) > MOST_NAMES:
                raise ValueError("its modules hold one another in a circle, or are far too many")
            if not all(isinstance(name, str) for name in value.attributes):
                raise ValueError("a module with an attribute that has no name")
            parts = {name: part for name, part in value.attributes.items() if isinstance(part, (_Module, _Tensor))}
            pending += [(f"{prefix}.{name}" if prefix else name, parts[name], depth + 1) for name in reversed(parts)]
        return found

    def tensor(self, storage, offset, sizes, strides, requires_grad=False, hooks=None, metadata=None):
        """Return the tensor of the described place in a storage, whose memory it shares if that place is aligned."""
        if not isinstance(storage, _Storage) or len(sizes) != len(strides) or hooks or metadata:
            raise ValueError("a tensor of a form that torch.jit.save does not write")
        if any(type(number) is not int or not 0 <= number < 2**62 for number in [offset, *sizes, *strides]):
            raise ValueError("a tensor whose sizes and strides are no numbers from 0")
        flat = self.storage(*storage.arguments)
        last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides))
        if math.prod(sizes) > len(flat) or offset > len(flat) or (math.prod(sizes) and last >= len(flat)):
            raise ValueError(f"a tensor of shape {tuple(sizes)} reaches outside its {len(flat)} stored elements")
        return aligned(flat.as_strided(tuple(sizes), tuple(strides), offset))

    def storage(self, kind, storage, key, device, count):
        """Return a storage's elements as a flat tensor; the device on which it was saved does not matter."""
        import torch

        if kind != "storage" or storage not in STORAGES or not isinstance(key, str):
            raise ValueError("a storage of no known kind")
        if (storage, key) not in self.storages:
            dtype, data = getattr(torch, STORAGES[storage]), bytearray(self.records.read(f"data/{key}"))
            self.storages[storage, key] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        if len(self.storages[storage, key]) != count:
            raise ValueError(f"storage {key} has {len(self.storages[storage, key])} elements, expected {count}")
        return self.storages[storage, key]
