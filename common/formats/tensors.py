"""Tensors that a file describes, made here: nothing outside their storages is reached, and all stand aligned."""

import math

from common.formats.unpickle import Global, StandIn

ALIGNMENT = 64  # bytes, of torch's own allocator
STORAGE_TYPES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
LARGEST = 1 << 30  # bytes that a small file's tensors may stand for, as one stored zero does for a whole array


def aligned(tensor):
    """Return a tensor that begins at a multiple of 64 bytes, as torch allocates memory: itself, or else a copy.

    Kernels are chosen by alignment: the same weights elsewhere are slower and give results of other last bits.
    """
    return tensor.clone() if tensor.data_ptr() % ALIGNMENT else tensor


class Storage(StandIn):
    """("storage", type, key, device, number of elements, ...)."""

    __slots__ = ()


class Tensor(StandIn):
    """(storage, offset, sizes, strides, requires_grad, hooks, metadata)."""

    __slots__ = ()


def rebuilt_parameter(data, *flags):
    """Stand for a parameter: its tensor."""
    return data


def outside(identity):
    """Return the stand-in of a persistent id, which is a storage's."""
    if not isinstance(identity, tuple) or len(identity) < 5:
        raise ValueError("an object outside the file that is not a storage")
    return Storage(*identity)


# The globals of tensors; a storage's type is only named.
GLOBALS = {
    "torch._utils._rebuild_tensor_v2": Tensor, "torch._utils._rebuild_tensor": Tensor,
    "torch._utils._rebuild_parameter": rebuilt_parameter,
    "torch._utils._rebuild_parameter_with_state": rebuilt_parameter,
    **{f"torch.{name}": None for name in STORAGE_TYPES},
}


class Tensors:
    """Makes the tensors of one file.

    read: a function of (key, dtype, count) that returns a storage's elements as a flat tensor.  size: the file's.
    """

    def __init__(self, read, size):
        self.read, self.storages, self.allowance = read, {}, 2 * size + LARGEST

    def make(self, described, name="a tensor"):
        """Return the tensor of the described strided place in a storage, whose memory it shares if it is aligned."""
        if not isinstance(described, Tensor):
            raise ValueError(f"{name} is not a tensor")
        storage, offset, sizes, strides = (*described.arguments, None, None, None, None)[:4]
        if not isinstance(sizes, tuple) or not isinstance(strides, tuple) or len(sizes) != len(strides):
            raise ValueError(f"{name} has no shape")
        if any(type(number) is not int or not 0 <= number < 2**62 for number in (offset, *sizes, *strides)):
            raise ValueError(f"{name} has sizes and strides that are not numbers from 0")
        flat = self.storage(storage)
        count, stored = math.prod(sizes), flat.numel()
        last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides))
        self.allowance -= count * flat.element_size()
        if self.allowance < 0 or offset > stored or (count and last >= stored):
            raise ValueError(f"{name} of shape {sizes} reaches outside its {stored} stored elements")
        return aligned(flat.as_strided(sizes, strides, offset))

    def storage(self, described):
        """Return a storage's elements as a flat tensor; the device on which it was saved does not matter."""
        dtype, key, count = checked_storage(described)
        if key not in self.storages:
            self.storages[key] = dtype, self.read(key, dtype, count)
        known, flat = self.storages[key]
        if known != dtype or flat.numel() != count:
            raise ValueError(f"storage {key} has {flat.numel()} elements of {known}, expected {count} of {dtype}")
        return flat


def checked_storage(described):
    """Return (dtype of torch, key, number of elements) of a Storage; ValueError when it is not of that form."""
    import torch

    if not isinstance(described, Storage):
        raise ValueError("a tensor without a storage")
    kind, dtype, key, _, count, *view = described.arguments
    name = dtype.name.removeprefix("torch.") if isinstance(dtype, Global) else None
    if kind != "storage" or name not in STORAGE_TYPES or not isinstance(key, str) or any(view):
        raise ValueError("a storage of no known kind")
    if type(count) is not int or not 0 <= count < 2**62:
        raise ValueError("a storage whose number of elements is none")
    return getattr(torch, STORAGE_TYPES[name]), key, count


def read_flat(stream, dtype, count):
    """Return so many elements of a binary stream as a flat tensor; EOFError when there are fewer, or more bytes."""
    import torch

    flat = torch.empty(count, dtype=dtype)
    if count and stream.readinto(memory(flat)) != flat.nbytes:
        raise EOFError(f"a storage has not the {count:,} elements that it claims")
    return flat


def memory(flat):
    """Return the bytes of a flat tensor as a writable numpy array."""
    import torch

    return flat.view(torch.uint8).numpy()
