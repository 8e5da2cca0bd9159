"""Devices (auto, cpu, cuda, cuda:1, mps) and precision (fp32, tf32, bf16)."""

from contextlib import nullcontext

from common.errors import InputError, Parameter

PRECISIONS = ("fp32", "tf32", "bf16")


def pick_device(name="auto", local_rank=0):
    """Return the torch.device of a name; `auto` is the first of cuda, mps, cpu that is available."""
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", local_rank % torch.cuda.device_count())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"unknown device '{name}'", where=Parameter("device"),
                         do="Use auto, cpu, cuda, cuda:1 or mps") from error
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise InputError(f"'{name}' is not available ({count} CUDA devices)", where=Parameter("device"),
                             do="Use cpu or auto")
        return torch.device("cuda", local_rank % count if device.index is None else device.index)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError("'mps' is not available", where=Parameter("device"), do="Use cpu or auto")
    if device.type not in ("cpu", "mps"):
        raise InputError(f"'{name}' is not supported", where=Parameter("device"),
                         do="Use auto, cpu, cuda, cuda:1 or mps")
    return device


def set_precision(precision):
    """Allow TensorFloat-32 in CUDA's matrix products and convolutions for tf32 alone (inputs rounded to ten bits)."""
    import torch

    if precision not in PRECISIONS:
        raise InputError(f"unknown precision '{precision}'", where=Parameter("precision"),
                         do=f"Use {', '.join(PRECISIONS)}")
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def autocast(device, precision):
    """Return the context that a network runs in: bf16 autocast for bf16, else a null context."""
    import torch

    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


def peak_memory(device):
    """Return the most bytes that this process has had so far: of a CUDA device's memory, else of the machine's."""
    import resource
    import sys

    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def describe(device):
    """Return the hardware for a run record: device model, threads, torch version."""
    import platform

    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name() or platform.processor()
    return {"device": str(device), "name": name, "threads": torch.get_num_threads(), "torch": torch.__version__}


def _cpu_name():
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        return ""
