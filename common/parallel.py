"""Several processes under torchrun: ranks, shards of work, and the few collectives the tools need.

Without torchrun there is one process, and every function here costs nothing. Its variables may come from elsewhere, as
those of a cluster's jobs do: a WORLD_SIZE above 1 makes a group of processes, without it none of the others counts.
"""

import os
import re
from contextlib import contextmanager

from common.errors import InputError

DO = "Start several processes with torchrun, which sets it, or unset WORLD_SIZE for one"


def rank():
    """Return this process's rank, 0 without torchrun."""
    return _number("RANK", 0) if world_size() > 1 else 0


def world_size():
    """Return the number of processes, 1 without torchrun."""
    return max(_number("WORLD_SIZE", 1), 1)


def local_rank():
    """Return this process's rank on its machine."""
    return _number("LOCAL_RANK", 0) if world_size() > 1 else 0


def _number(name, without):
    """Return a variable's whole number; `without` it, or for text that is none (see check_ranks)."""
    text = os.environ.get(name, "")
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else without


def check_ranks():
    """Raise InputError for variables of torchrun that are not numbers, or do not go together."""
    size = os.environ.get("WORLD_SIZE") or "1"
    if not re.fullmatch("0*[1-9][0-9]{0,8}", size):
        raise InputError("is not a number of processes", where=f"WORLD_SIZE={size}", do=DO)
    if world_size() == 1:
        return
    place = _number("RANK", None)
    if place is None or place >= world_size():
        given = os.environ.get("RANK") or "not set"
        raise InputError(f"is {given}, of {world_size()} processes (WORLD_SIZE)", where="RANK", do=DO)
    if os.environ.get("LOCAL_RANK") and _number("LOCAL_RANK", None) is None:
        raise InputError("is not a number", where=f"LOCAL_RANK={os.environ['LOCAL_RANK']}", do=DO)


def is_main():
    """True in the process that writes tables, records and messages."""
    return rank() == 0


@contextmanager
def process_group(device_type="cpu"):
    """Keep a process group (gloo on CPU, nccl on CUDA) for the duration of a command.

    Raises InputError where another process of the group has ended.
    """
    if world_size() == 1:
        yield
        return
    import torch.distributed as dist

    from common import console

    if dist.is_initialized():  # nested: the outer call owns the group
        yield
        return
    if not is_main():
        console.set_quiet(True)
    _check_meeting_place()
    try:
        dist.init_process_group("nccl" if device_type == "cuda" else "gloo")
        yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):  # gloo has no class of its own
            raise InputError(f"rank {rank()}: another process of this job has ended",
                             do="See its messages, then run the same command again: it resumes") from error
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _check_meeting_place():
    """Raise InputError where it is not set at which address and port the processes meet."""
    if not os.environ.get("MASTER_ADDR"):
        raise InputError(f"is not set, for {world_size()} processes (WORLD_SIZE)", where="MASTER_ADDR", do=DO)
    if not 0 < _number("MASTER_PORT", 0) < 65536:
        raise InputError(f"is {os.environ.get('MASTER_PORT') or 'not set'}, for {world_size()} processes (WORLD_SIZE)",
                         where="MASTER_PORT", do=DO)


def barrier():
    """Wait for every process."""
    if world_size() > 1:
        import torch.distributed as dist

        dist.barrier()


def shard(units):
    """Return this process's share of a list of units: every world_size-th, so that shares stay even."""
    return list(units)[rank() :: world_size()]


def own_rows(batch, accumulate=1):
    """Return [(first, last)]: this process's rows of a training batch, a pair for each accumulation step."""
    parts = world_size() * accumulate
    edges = [part * batch // parts for part in range(parts + 1)]  # sizes differ by at most one
    mine = range(rank() * accumulate, (rank() + 1) * accumulate)
    return [(edges[part], edges[part + 1]) for part in mine]


def sum_across(tensor):
    """Return the sum of a tensor over all processes (the tensor itself when there is one)."""
    if world_size() > 1:
        import torch.distributed as dist

        dist.all_reduce(tensor)
    return tensor


def gather_objects(value):
    """Return [value of rank 0, value of rank 1, ...] in every process, for small values."""
    if world_size() == 1:
        return [value]
    import torch.distributed as dist

    values = [None] * world_size()
    dist.all_gather_object(values, value)
    return values
