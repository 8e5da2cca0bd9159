"""Reading and writing checkpoints (.pt, .pth, .safetensors). No file that is read here can run code."""

import json
import os
from pathlib import PurePosixPath

from common.errors import InputError
from common.files import atomic_path, system_errors, write_bytes
from common.formats.pickles import PLAIN, plain_part
from common.formats.tensors import GLOBALS, STORAGE_TYPES, Tensor, Tensors, aligned
from common.formats.torch_files import open_torch, refuse_archive
from common.formats.unpickle import CONTAINERS, Global, Record, finish, known, reading

WRAPPERS = ("module", "_orig_mod")


def load_torch(path, part=None):
    """Return what torch.save stored, on the CPU: tensors, plain containers, numbers, paths (as text), numpy's
    scalars and arrays.

    part: a function of the file's value, in which tensors are stand-ins, that returns what of it to keep: the tensors
    of the rest are not read. An argparse.Namespace becomes a Record (`attributes`). Parameters become tensors, and no
    tensor requires gradients.
    Raises InputError for a missing, truncated or foreign file, and names a global that the file would have to import.
    """
    with system_errors(path), open(path, "rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        refuse_archive(stream, path)
        with reading(path, f"a checkpoint ({size:,} bytes)", "tensors and plain containers"):
            return read_torch(stream, size, part)


def read_torch(stream, size, part=None):
    """Return the value of a binary stream of torch.save; raises what `reading` turns into an InputError.

    part: see load_torch.
    """
    file = open_torch(stream, size)
    value = file.load(known(CHECKPOINT))
    return finish(part(value) if part else value, torch_part(Tensors(file.storage, size)))


TYPES = {f"{module}.{name}": None for module in ("builtins", "__builtin__")  # only named
         for name in ("bool", "dict", "float", "int", "list", "long", "object", "str", "tuple", "unicode")}
PATHS = {f"{module}.{kind}{system}Path": lambda *parts: str(PurePosixPath(*map(str, parts)))
         for module in ("pathlib", "pathlib._local") for kind in ("", "Pure") for system in ("Posix", "Windows")}
CHECKPOINT = {
    **GLOBALS, **TYPES, **PATHS, **PLAIN, **CONTAINERS, "torch.Size": lambda sizes: tuple(sizes),
    "torch.device": lambda *kind: ":".join(map(str, kind)),
    "argparse.Namespace": lambda *arguments: Record("Namespace"),
    **{f"torch.{dtype}": None for dtype in STORAGE_TYPES.values()},
}


def torch_part(tensors):
    """Return the function that `finish` takes: tensors, dtypes and plain values in place of their stand-ins."""
    def part_of(part, inner):
        if isinstance(part, Tensor):
            return tensors.make(part)
        if isinstance(part, Global) and part.name.removeprefix("torch.") in STORAGE_TYPES.values():
            import torch

            return getattr(torch, part.name.removeprefix("torch."))
        return plain_part(part, inner)

    return part_of


def save_torch(path, value):
    """Write a dictionary of tensors and plain values with torch.save, atomically."""
    import torch

    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        stream = _Remembering(file)
        try:
            torch.save(value, stream)
        except RuntimeError as error:  # torch's writer hides what the system said
            raise stream.error or error from error


class _Remembering:
    """A binary stream that keeps the OSError of a failed write."""

    def __init__(self, stream):
        self.stream, self.error = stream, None

    def write(self, data):
        try:
            return self.stream.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self):
        self.stream.flush()


def is_safetensors(path):
    """True when a file begins as safetensors do: the length of a header of less than 100 MB, then the header's
    brace."""
    with system_errors(path), open(path, "rb") as stream:
        head = stream.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") < 100_000_000


def load_safetensors(path):
    """Return ({name: tensor}, {key: text} metadata) of a .safetensors file; the tensors are copies of their own.

    The library gives views into the mapped file, which begin anywhere and change or fault when the file does.
    """
    from safetensors import SafetensorError, safe_open

    with system_errors(path):
        opened = open(path, "rb")
    try:
        with opened, safe_open(_utf8_name(path, opened), framework="pt") as stream:
            names = list(stream.keys())  # not a dictionary: it cannot be iterated itself
            return {name: stream.get_tensor(name).clone() for name in names}, stream.metadata() or {}
    except (SafetensorError, ValueError) as error:
        raise InputError("not a complete safetensors file", where=path, do="Copy or make the file again") from error


def _utf8_name(path, opened):
    """Return a name of an open file that a library can take which knows no others than UTF-8."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return f"/dev/fd/{opened.fileno()}"
    return path


def save_safetensors(path, tensors, metadata):
    """Write named tensors and text metadata as .safetensors, atomically.

    The library's own `save_file` writes under a temporary name that nobody else knows: a kill would leave that file.
    """
    from safetensors.torch import save

    data = save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata=metadata)
    write_bytes(path, _with_ordered_metadata(data, metadata))


def _with_ordered_metadata(data, metadata):
    """Return a serialised file with its metadata in the given order: the library's is another in each process."""
    if len(metadata) < 2:
        return data
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = metadata
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the data begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def unwrapped(name):
    """Return an entry's name without what DataParallel and torch.compile put into it, at its start or further in."""
    return ".".join(part for part in str(name).split(".") if part not in WRAPPERS)


def unwrapped_state(state, where, rename=unwrapped):
    """Return {renamed name: value} of a state dict; InputError where two of its names become the same."""
    plain = {}
    for name, value in state.items():
        if plain.setdefault(rename(name), value) is not value:
            raise InputError(f"'{rename(name)}' is in it under two names, such as '{name}'", where=where,
                             do="Give a file of one network's weights")
    return plain


def load_strictly(module, state, where, do="Give the checkpoint of this configuration, or another --config",
                  assign=False):
    """Load a state dict; missing, unexpected or misshapen entries, NaN weights and those of another kind (complex or
    whole numbers) are an InputError naming the first. Floats of other widths take the module's.

    do: the advice of that error.  assign: make the given tensors the module's own (which may be on the meta device).
    """
    if not isinstance(state, dict):
        raise InputError(f"expected the weights of a network by name, not {type(state).__name__}", where=where, do=do)
    own = module.state_dict()
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    if missing or unexpected:
        what = f"'{missing[0]}' is missing" if missing else f"'{unexpected[0]}' is not part of this network"
        what += f" ({len(missing)} missing, {len(unexpected)} unexpected of {len(own)} entries)"
        raise InputError(what, where=where, do=do)
    for name, tensor in state.items():
        if not hasattr(tensor, "is_floating_point"):
            raise InputError(f"'{name}' is of type {type(tensor).__name__}, not a tensor", where=where, do=do)
        if tuple(tensor.shape) != tuple(own[name].shape):
            what = f"'{name}' has shape {tuple(tensor.shape)}, expected {tuple(own[name].shape)}"
            raise InputError(what, where=where, do=do)
        if own[name].is_floating_point() and not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise InputError(f"'{name}' is of {kind}, expected floats", where=where, do=do)
    state = {name: tensor.to(own[name].dtype) for name, tensor in state.items()}
    for name, tensor in state.items():
        check_finite(name, tensor, where)
    module.load_state_dict({name: aligned(tensor) for name, tensor in state.items()} if assign else state,
                           assign=assign)


def as_float32(state, where):
    """Return the tensors {name: tensor} of a network as float32. Raises InputError for complex numbers."""
    for name, tensor in state.items():
        if tensor.is_complex():
            raise InputError(f"'{name}' holds complex numbers", where=where, do="Give a checkpoint of real weights")
    return {name: tensor.float() for name, tensor in state.items()}


def check_finite(name, tensor, where):
    """Raise InputError when a weight is NaN or infinite."""
    if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
        raise InputError(f"'{name}' holds NaN or infinite values", where=where, do="Use an earlier checkpoint")


def weights_hash(module):
    """Return the hex SHA-256 of a module's state dict: the same for the same weights from any container."""
    import hashlib

    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        tensor = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()
