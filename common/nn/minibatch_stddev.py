"""Minibatch standard deviation (Karras et al. 2018): one more channel says how much the images of a set differ.

As in StyleGAN2's discriminator, for sets of any size and for batches whose rows lie in several processes.
"""

import torch

from common import parallel
from common.nn.across import SumAcross

GROUP, EPSILON = 4, 1e-8


def minibatch_stddev(x, rows=None):
    """Return x (B, C, H, W) with a channel more, (B, C + 1, H, W): the mean standard deviation of the row's group.

    rows: how many rows of the batch are looked at together, [0, rows), [rows, 2 rows), ...; default the whole batch. A
    set whose size is below 4 or no multiple of 4 is one group; of any other, row i goes with the rows that equal it
    modulo size / 4, four to a group.
    Under torchrun the batch consists of the rows of all processes, in the order of their ranks; where a process's share
    is not whole sets, shares are gathered. Every process must call this.
    Raises ValueError when the batch is not whole sets.
    """
    counts = _counts(x)
    size = rows or sum(counts)
    if sum(counts) % size:
        raise ValueError(f"a batch of {sum(counts)} rows is not whole sets of {size}")
    values = x if x.dtype == torch.float64 else x.float()
    if all(count % size == 0 for count in counts):
        deviations = _deviations(values, size)  # (B,)
    else:
        first = sum(counts[: parallel.rank()])
        after = sum(counts) - first - len(x)
        # Zeros where the other processes' rows are: the sum is exact, and its gradient is that of gathering.
        everyone = SumAcross.apply(torch.cat([values.new_zeros(first, *x.shape[1:]), values,
                                              values.new_zeros(after, *x.shape[1:])]))
        deviations = _deviations(everyone, size)[first : first + len(x)]
    channel = deviations.to(x.dtype).reshape(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
    return torch.cat([x, channel], dim=1)


def _counts(x):
    """Return the number of rows of each process."""
    if parallel.world_size() == 1:
        return [len(x)]
    counts = torch.zeros(parallel.world_size(), device=x.device)
    counts[parallel.rank()] = len(x)
    return [int(count) for count in parallel.sum_across(counts).tolist()]


def _deviations(values, size):
    """Return (B,): for each row of (B, C, H, W) the mean over C, H, W of its group's standard deviation."""
    group = GROUP if size % GROUP == 0 else size
    sets = values.unflatten(0, (-1, group, size // group))  # (sets, group, size / group, C, H, W)
    centred = sets - sets.mean(dim=1, keepdim=True)
    deviation = (centred.square().mean(dim=1) + EPSILON).sqrt().mean(dim=(2, 3, 4))  # (sets, size / group)
    return deviation[:, None].expand(-1, group, -1).reshape(-1)
