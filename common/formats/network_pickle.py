"""Reading the network pickles of NVlabs/edm (and its relatives) without running anything from them.

Such a file pickles every module as a call of `torch_utils.persistence._reconstruct_persistent_obj` with the whole text
of the Python module that defined its class; ordinary unpickling executes that text. Here the call makes a record of
the class's name and the object's attributes, and the text is dropped. Storages are streams of old torch inside the
pickle, read by the same interpreter (see unpickle.py).
"""

import io
import os

from common.files import system_errors
from common.formats.pickles import NUMPY, plain_part
from common.formats.tensors import GLOBALS, STORAGE_TYPES, Tensor, Tensors
from common.formats.torch_files import Stream
from common.formats.unpickle import CONTAINERS, Global, Interpreter, Record, Refused, StandIn, finish, known, reading

MOST_NAMES = 100_000  # modules and tensors together; modules shared over and over could stand for any number
KIND, EXPECTED = "a network pickle", "modules, tensors and plain values"


def read_edm_pickle(path):
    """Return the top-level value of a network pickle: dicts, lists, numbers, text, and `Record`s for objects.

    Raises InputError when the file is missing, truncated or no pickle, and when it asks for anything else than such
    networks need (named in the message).
    """
    with system_errors(path), open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        with reading(path, KIND, EXPECTED):
            return finish(Interpreter(stream, size, known(NETWORK)).load(), _part, circles=True)


def network_state(record, where):
    """Return {dotted name: CPU tensor}, the state dict of a module's Record: parameters and buffers, depth first.

    Raises InputError when records, storages or shapes do not fit together.
    """
    with reading(where, KIND, EXPECTED):
        return _collect(record)


class _Stored(StandIn):
    """A storage's stream, parsed when its first tensor is made."""

    __slots__ = ()


def _reconstructed(meta):
    """Return the Record of a persistent object: `meta` has its type, its class's name and its attributes."""
    if meta["type"] != "class" or not isinstance(meta["class_name"], str) or not isinstance(meta["state"], dict):
        raise ValueError("a persistent object of a form that is not known")
    return Record(meta["class_name"], meta["state"])


def _container(name):
    return lambda: Record(name)


NETWORK = {
    "torch_utils.persistence._reconstruct_persistent_obj": _reconstructed,
    **{f"torch.nn.modules.container.{name}": _container(name) for name in ("ModuleDict", "ModuleList", "Sequential")},
    **GLOBALS, "torch.storage._load_from_bytes": _Stored,
    **CONTAINERS, **dict.fromkeys(("dnnlib.util.EasyDict", "dnnlib.EasyDict"), CONTAINERS["collections.OrderedDict"]),
    **{f"torch.{name}": None for name in STORAGE_TYPES.values()},
    **{name: make for name, make in NUMPY.items() if "_reconstruct" not in name and "_frombuffer" not in name},
}


def _part(part, inner):
    """Return a Record with its attributes finished, a number, a dtype's name, or a tensor's stand-in as it is."""
    if isinstance(part, Global):
        return part.name.removeprefix("torch.")
    return part if isinstance(part, (Tensor, _Stored)) else plain_part(part, inner)


def _collect(root):
    """Return {dotted name: tensor} of a tree of Records, parameters before buffers before children at every level."""
    if not isinstance(root, Record):
        raise ValueError("it holds no network")
    found, visited, pending, tensors = {}, 0, [("", root, 0)], _StreamTensors()
    while pending:
        prefix, record, depth = pending.pop()
        members = {kind: _members(record, kind) for kind in ("_parameters", "_buffers", "_modules")}
        hidden = record.attributes.get("_non_persistent_buffers_set") or ()
        visited += 1 + sum(map(len, members.values()))
        if depth > 100 or visited + len(pending) > MOST_NAMES:
            raise ValueError("its modules hold one another in a circle, or are far too many")
        for name, tensor in [*members["_parameters"].items(), *members["_buffers"].items()]:
            if tensor is not None and name not in hidden:
                found[prefix + name] = tensors.make(tensor, f"'{prefix}{name}'")
        children = [(f"{prefix}{name}.", child, depth + 1)
                    for name, child in members["_modules"].items() if child is not None]
        pending += reversed(children)
    return found


def _members(record, kind):
    """Return one of a module's three dictionaries {name: member}."""
    if not isinstance(record, Record):
        raise ValueError("a module of another kind")
    members = record.attributes.get(kind, {})
    if not isinstance(members, dict) or not all(isinstance(name, str) for name in members):
        raise ValueError(f"a module whose {kind} is not a dictionary of names")
    return members


class _StreamTensors(Tensors):
    """Makes tensors over storages that each are a stream of their own."""

    def __init__(self):
        super().__init__(None, 0)

    def storage(self, described):
        """Return the elements of a storage's stream as a flat tensor."""
        data = described.arguments[0] if isinstance(described, _Stored) else None
        if not isinstance(data, (bytes, bytearray)):
            raise ValueError("a tensor without a storage")
        if id(described) not in self.storages:
            self.storages[id(described)] = parse_storage(data)
            self.allowance += 2 * len(data)
        return self.storages[id(described)]


def parse_storage(data):
    """Return the elements of a stream of one storage as a flat tensor."""
    stream = Stream(io.BytesIO(data), len(data))
    value = stream.load(_storage_type)
    return Tensors(stream.storage, len(data)).storage(value)


def _storage_type(name):
    if name.removeprefix("torch.") not in STORAGE_TYPES:
        raise Refused(f"'{name}' inside a storage, where only storage types belong")
    return Global(name)
