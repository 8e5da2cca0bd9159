"""Reading checkpoints of PyTorch Lightning (.ckpt): weights, and hyper-parameters as plain values.

Published ones pickle their hyper-parameters as omegaconf nodes, each with a pointer to its parent and so with the
whole experiment behind it. The nodes are read as records, omegaconf is not imported, and interpolations
(`${model.dim}`, `${.dim}`) are resolved here. Those that ask for a resolver (`${oc.env:HOME}`) stay text.
"""

import re

from common.errors import InputError
from common.files import system_errors
from common.formats.checkpoints import CHECKPOINT, load_torch, torch_part
from common.formats.tensors import Tensors
from common.formats.torch_files import open_torch, refuse_archive
from common.formats.unpickle import Record, finish, known, mapping, reading

WANTED = ("state_dict", "hyper_parameters", "epoch", "global_step", "pytorch-lightning_version")
PACKAGES = ("omegaconf.", "pytorch_lightning.", "lightning.", "lightning_fabric.", "typing.")
REFERENCE = re.compile(r"\$\{(\.*)([^${}:]+)\}")  # dots of a relative one, and a path: a.b.0 or a.b[0]
DEEPEST = 100  # levels of a configuration
LONGEST = 10_000  # letters of a text with interpolations


def load_lightning(path, part=None):
    """Return {"state_dict": {name: tensor}, "hyper_parameters": {name: plain value}, ...} of a checkpoint.

    Of a file's entries WANTED are read; hyper_parameters is {} where there are none.
    part: a function of the state dict, in which tensors are stand-ins, that returns what of it to keep: the tensors of
    the rest are not read.
    Raises InputError for a missing, truncated or foreign file, and names a global that the file would have to import.
    """
    with system_errors(path), open(path, "rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        refuse_archive(stream, path)
        kind = f"a Lightning checkpoint ({size:,} bytes)"
        with reading(path, kind, "tensors, plain values and configurations"):
            file = open_torch(stream, size)
            value = file.load(known(CHECKPOINT, also=_named))
            if not isinstance(value, dict) or not isinstance(value.get("state_dict"), dict):
                raise InputError("no 'state_dict' in it", where=path, do="Give a checkpoint of PyTorch Lightning")
            chosen = {name: value[name] for name in WANTED if name in value}
            if part:
                chosen["state_dict"] = part(chosen["state_dict"])
            return {"hyper_parameters": {}, **finish(chosen, _Parts(Tensors(file.storage, size)))}


def load_container(path):
    """Return what load_torch gives of a file, or load_lightning where configurations are in it.

    Raises InputError for a missing, truncated or foreign file, and names a global that the file would have to import.
    """
    try:
        return load_torch(path)
    except InputError as error:
        try:
            return load_lightning(path)
        except InputError:
            raise error from None


def _named(name):
    """Return what makes an object of the packages around such files: a dictionary or a Record."""
    if not name.startswith(PACKAGES):
        return None
    return mapping if name.endswith(".AttributeDict") else lambda *arguments: Record(name)


class _Parts:
    """Turns stand-ins into values; see unpickle.finish."""

    def __init__(self, tensors):
        self.part = torch_part(tensors)

    def __call__(self, part, inner):
        if not isinstance(part, Record) or not part.class_name.startswith("omegaconf."):
            return self.part(part, inner)
        content = _content(part)
        return self.resolved(content, part, inner) if isinstance(content, str) else inner(content)

    def resolved(self, text, node, inner):
        """Return a text with its interpolations resolved, or what the one that it consists of stands for."""
        whole = REFERENCE.fullmatch(text)
        if whole:
            found, target = _select(node, *whole.groups())
            return inner(target) if found else text
        return REFERENCE.sub(lambda match: self.inserted(match, node, inner), text)

    def inserted(self, match, node, inner):
        found, target = _select(node, *match.groups())
        value = inner(target) if found else match.group()
        if not isinstance(value, (str, int, float, bool, type(None))) or len(str(value)) > LONGEST:
            raise ValueError("an interpolation of something that is not a short text")
        return str(value)


def _content(node):
    """Return what a node of omegaconf holds: a dict or list of nodes (or already of values), or a value."""
    state = node.attributes
    if not isinstance(state, dict):
        raise ValueError("a node of a configuration without a state")
    return state.get("_content", state.get("_val"))


def _select(node, dots, path):
    """Return (whether there is one, node or value) of the path of an interpolation that stands in a node."""
    place = node
    for _ in range(len(dots) or DEEPEST):  # upwards: to the root, or by the number of dots
        parent = place.attributes.get("_parent")
        if not isinstance(parent, Record):
            break
        place = parent
    for key in re.findall(r"[^.\[\]]+", path):
        content = _content(place) if isinstance(place, Record) else place
        if isinstance(content, dict) and key in content:
            place = content[key]
        elif isinstance(content, list) and key.isdigit() and int(key) < len(content):
            place = content[int(key)]
        else:
            return False, None
    return True, place
