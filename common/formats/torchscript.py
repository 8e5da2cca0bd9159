"""Reading the tensors of a TorchScript archive (torch.jit.save) without running anything of it.

The archive is a zip: `<name>/data.pkl` pickles a tree of module objects whose attributes are tensors, submodules and
plain values, and `<name>/data/<key>` holds the bytes of each storage. The code beside them is never read. Objects of
the archive's classes (`__torch__...`) become records, and any other global is refused by name (see unpickle.py).
"""

from common.errors import InputError
from common.files import system_errors
from common.formats.tensors import GLOBALS, Tensor, Tensors
from common.formats.torch_files import Archive
from common.formats.unpickle import CONTAINERS, Record, known, reading
from common.formats.zips import open_zip

LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")
MOST_NAMES = 100_000  # modules and tensors together; modules shared over and over could stand for any number
SCRIPT = {**GLOBALS, **CONTAINERS, **{f"torch.jit._pickle.{name}": lambda values: values for name in LISTS},
          "torch.jit._pickle.restore_type_tag": lambda value, type_name: value}


def is_torchscript(path):
    """Return True for a zip that torch.jit.save made (a torch.save zip has no constants.pkl)."""
    with system_errors(path), open(path, "rb"):
        pass
    try:
        with open_zip(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except InputError:
        return False


def load_torchscript(path):
    """Return {dotted name: CPU tensor}: the parameters, buffers and other tensors that are attributes of the modules.

    Names are those of the scripted module's state_dict. Raises InputError for a missing, truncated or foreign file,
    and for one that asks for anything but modules, tensors and plain values.
    """
    with system_errors(path), open(path, "rb") as stream:
        size = stream.seek(0, 2)
        with reading(path, f"a TorchScript archive ({size:,} bytes)", "modules, tensors and plain values"):
            archive = Archive(stream)
            return _collect(archive.load(known(SCRIPT, also=own_class)), Tensors(archive.storage, size))


def own_class(name):
    """Return what makes an object of one of the archive's own classes, None for another name."""
    own = name.startswith("__torch__.") and not name.startswith("__torch__.torch.classes.")
    return (lambda: Record(name)) if own else None


def _collect(root, tensors):
    """Return {dotted name: tensor} of a tree of Records, in the order of the attributes."""
    if not isinstance(root, Record):
        raise ValueError("it holds no module")
    found, visited, pending = {}, 0, [("", root, 0)]
    while pending:
        prefix, value, depth = pending.pop()
        visited += 1
        if isinstance(value, Tensor):
            found[prefix] = tensors.make(value, prefix)
            continue
        if depth > 100 or visited + len(pending) > MOST_NAMES:
            raise ValueError("its modules hold one another in a circle, or are far too many")
        if not all(isinstance(name, str) for name in value.attributes):
            raise ValueError("a module with an attribute that has no name")
        parts = {name: part for name, part in value.attributes.items() if isinstance(part, (Record, Tensor))}
        pending += [(f"{prefix}.{name}" if prefix else name, parts[name], depth + 1) for name in reversed(parts)]
    return found
