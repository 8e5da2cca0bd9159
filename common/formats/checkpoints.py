"""Reading and writing checkpoints (.pt, .pth, .safetensors). No file that is read here can run code."""

import errno
import pickle
import re

from common.errors import InputError
from common.files import atomic_path, system_errors, write_bytes

ALIGNMENT = 64  # bytes, of torch's own allocator


def load_torch(path):
    """Return what torch.save stored, on the CPU; only tensors, plain containers and numpy scalars are rebuilt.

    Published checkpoints hold the learning rate as a numpy scalar, so numpy's scalar types are allowed. Raises
    InputError for a missing, truncated or foreign file, and names a global that the file would have to import.
    """
    import numpy as np
    import torch

    # numpy 2 moved its scalar constructor; files of both generations are about.
    legacy = [(np._core.multiarray.scalar, "numpy.core.multiarray.scalar")]
    allowed = [np._core.multiarray.scalar, np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType,
               np.dtypes.Int64DType]
    with system_errors(path), open(path, "rb") as stream:
        size = stream.seek(0, 2)
    try:
        with torch.serialization.safe_globals([*allowed, *legacy]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refusal(path, error) from error
    except Exception as error:  # torch's reader checks little: bytes that are no checkpoint end in errors of any kind
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # which torch meets beyond a truncated zip's end
            raise
        what = f"cannot be read as a checkpoint ({size:,} bytes): it is truncated or of another kind"
        raise InputError(what, where=path, do="Copy or download the file again") from error


def _refusal(path, error):
    """Return the InputError for an unpickling that was refused, naming the global when the message tells it."""
    found = re.search(r"GLOBAL (\S+)", str(error)) or re.search(r"class (\S+)", str(error))
    if found:
        what = f"the file asks for {found.group(1)}, which is no tensor or plain container; nothing of it was run"
        return InputError(what, where=path, do="Use a checkpoint from a source you trust")
    return InputError("cannot be read as a checkpoint: it is truncated or of another kind", where=path,
                      do="Copy or download the file again")


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

    with system_errors(path), open(path, "rb"):
        pass
    try:
        with safe_open(path, framework="pt") as stream:
            names = list(stream.keys())  # not a dictionary: it cannot be iterated itself
            return {name: stream.get_tensor(name).clone() for name in names}, stream.metadata() or {}
    except (SafetensorError, ValueError) as error:
        raise InputError("not a complete safetensors file", where=path, do="Copy or make the file again") from error


def save_safetensors(path, tensors, metadata):
    """Write named tensors and text metadata as .safetensors, atomically.

    The library's own `save_file` writes under a temporary name that nobody else knows: a kill would leave that file.
    """
    from safetensors.torch import save

    write_bytes(path, save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata=metadata))


def load_strictly(module, state, where, do="Give the checkpoint of this configuration, or another --config",
                  assign=False):
    """Load a state dict; missing, unexpected or misshapen entries and NaN weights are an InputError naming the first.

    do: the advice of that error.  assign: make the given tensors the module's own (which may be on the meta device).
    """
    own = module.state_dict()
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    if missing or unexpected:
        what = f"'{missing[0]}' is missing" if missing else f"'{unexpected[0]}' is not part of this network"
        what += f" ({len(missing)} missing, {len(unexpected)} unexpected of {len(own)} entries)"
        raise InputError(what, where=where, do=do)
    for name, tensor in state.items():
        if tuple(tensor.shape) != tuple(own[name].shape):
            what = f"'{name}' has shape {tuple(tensor.shape)}, expected {tuple(own[name].shape)}"
            raise InputError(what, where=where, do=do)
        check_finite(name, tensor, where)
    if assign:
        state = {name: aligned(tensor) for name, tensor in state.items()}
    module.load_state_dict(state, assign=assign)


def aligned(tensor):
    """Return a tensor that begins at a multiple of 64 bytes, as torch allocates memory: itself, or else a copy.

    Kernels are chosen by alignment: the same weights elsewhere are slower and give results of other last bits.
    """
    return tensor.clone() if tensor.data_ptr() % ALIGNMENT else tensor


def check_finite(name, tensor, where):
    """Raise InputError when a weight is NaN or infinite."""
    if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
        raise InputError(f"'{name}' holds NaN or infinite values", where=where, do="Use an earlier checkpoint")
