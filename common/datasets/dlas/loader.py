"""The DataLoader of a data set block, with the keys of the original: n_workers, batch_size, phase, pin_memory.

An item depends on (random_seed, epoch, index) alone (`items.ItemDataset`), and the order of the items on (random_seed,
epoch), so that batches do not depend on the number of workers.
"""

import random

import numpy as np
import torch

from common.datasets.dlas.option_values import SEEDS, OptionValues
from common.errors import InputError
from common.seeding import unit_numpy, unit_seed

MOST_WORKERS = 1024  # and batches that each prepares ahead


class EpochSampler(torch.utils.data.Sampler):
    """The positions of one epoch for one process: a permutation by (seed, epoch), every world-th from `rank`.

    ratio: an epoch has ceil(length * ratio / world) items per process, repeating the data set if that is more. Without
    shuffle the positions come in order. `set_epoch` sets the epoch of the next pass.
    """

    def __init__(self, length, seed=0, shuffle=True, rank=0, world=1, ratio=1):
        if length < 1 or not 0 <= rank < world or ratio <= 0:
            raise ValueError(f"no sampler of {length} items for process {rank} of {world}, ratio {ratio}")
        self.length, self.seed, self.shuffle, self.rank, self.world = length, seed, shuffle, rank, world
        self.each = -(-int(length * ratio) // world)
        self.epoch = 0

    def set_epoch(self, epoch):
        """Set the epoch of the next pass."""
        self.epoch = int(epoch)

    def __len__(self):
        return self.each

    def __iter__(self):
        total = self.each * self.world
        if self.shuffle:
            order = unit_numpy(self.seed, "order", self.epoch).permutation(total)
        else:
            order = np.arange(total)
        return iter((order[self.rank :: self.world] % self.length).tolist())


class EpochLoader(torch.utils.data.DataLoader):
    """A DataLoader that counts its passes: each `iter()` is the next epoch, from 0, for the data set and the sampler.

    `set_epoch(e)` makes the next pass epoch e, as after a resume. Two concurrent passes over one loader would share the
    later one's epoch. An InputError in a worker becomes one InputError with the same line.
    """

    _next_epoch = 0

    def set_epoch(self, epoch):
        """Make the next pass epoch `epoch`."""
        self._next_epoch = int(epoch)

    def __iter__(self):
        for part in (self.dataset, self.sampler):
            if hasattr(part, "set_epoch"):
                part.set_epoch(self._next_epoch)
        self._next_epoch += 1
        return _unwrapped(super().__iter__())


def _unwrapped(batches):
    """Yield the batches; an InputError from a worker, which includes its traceback, is reduced to its last line."""
    try:
        yield from batches
    except InputError as error:
        lines = error.what.strip().splitlines()
        if len(lines) < 2 or "Traceback" not in error.what:
            raise
        raise InputError(lines[-1].split("Error: ", 1)[-1]) from error


def create_dataloader(dataset, options=None, global_options=None, sampler=None, collate_fn=None, shuffle=True):
    """Return the `EpochLoader` of a data set.

    options: the data set's block. phase "train": batch_size (16), n_workers (0), the last incomplete batch dropped,
    shuffled unless a sampler is passed or shuffle is False. Any other phase (or no `phase`): batch_size or 1, in order,
    all items; its workers are n_workers_eval (0; the original has none).
    pin_memory (True): with an accelerator.  persistent_workers (False), prefetch_factor: as in DataLoader.
    global_options: with "dist" true, batch_size is divided among the processes and each gets its share of an epoch.
    Raises InputError for invalid values, and for a batch_size that is not divisible by the number of processes.
    """
    values = OptionValues(options or {}, (options or {}).get("mode") or "data loader")
    training = values.get("phase") == "train"
    workers = values.integer("n_workers" if training else "n_workers_eval", 0, low=0, high=MOST_WORKERS)
    batch = values.integer("batch_size", 16 if training else 1)
    seed = values.integer("random_seed", 0, low=-SEEDS, high=SEEDS)
    rank, world = _processes(global_options)
    if training and batch % world:
        raise InputError(f"batch_size {batch} is not divisible by {world} processes", where="batch_size",
                         do=f"Use {batch // world * world or world}")
    if training and sampler is None:
        sampler = EpochSampler(len(dataset), seed, shuffle, rank, world)
    more = {"prefetch_factor": values.integer("prefetch_factor", 2, high=MOST_WORKERS),
            "persistent_workers": values.flag("persistent_workers")}
    return EpochLoader(
        dataset, batch_size=batch // world if training else batch, sampler=sampler, shuffle=False, drop_last=training,
        num_workers=workers, collate_fn=collate_fn or getattr(dataset, "collate", None) or collate_items,
        pin_memory=values.flag("pin_memory", True) and torch.accelerator.is_available(),
        worker_init_fn=WorkerSeeds(seed), generator=torch.Generator().manual_seed(unit_seed(seed, "loader")),
        **(more if workers else {}),
    )


class WorkerSeeds:
    """Seeds the global generators of each worker differently, for user code that draws from them."""

    def __init__(self, seed):
        self.seed = seed

    def __call__(self, worker):
        # torch's worker seed changes every epoch; ours combines it with the seed of the options.
        own = unit_seed(self.seed, "worker", worker, torch.initial_seed())
        random.seed(own)
        np.random.seed(own % 2**32)


def collate_items(items):
    """Return one batch of a list of items (dictionaries): tensors and numbers stacked, strings as lists.

    A value that is None in every item stays None. Raises InputError when the items differ in their keys or shapes,
    naming the key.
    """
    from torch.utils.data import default_collate

    first = items[0]
    if not isinstance(first, dict):
        return default_collate(items)
    batch = {}
    for key in first:
        if any(key not in item for item in items):
            raise InputError(f"'{key}' is not in every item of a batch", where="collate", do="Set batch_size to 1")
        values = [item[key] for item in items]
        if all(value is None for value in values):
            batch[key] = None
            continue
        try:
            batch[key] = default_collate(values)
        except (RuntimeError, TypeError) as error:
            shapes = ", ".join(sorted({str(getattr(value, "shape", type(value).__name__)) for value in values}))
            raise InputError(f"'{key}' cannot be batched: {shapes}", where="collate",
                             do="Set batch_size to 1") from error
    return batch


def _processes(global_options):
    """Return (rank, number of processes) when the options request distributed training, else (0, 1)."""
    if not (global_options or {}).get("dist"):
        return 0, 1
    from common.parallel import rank, world_size

    return rank(), world_size()
