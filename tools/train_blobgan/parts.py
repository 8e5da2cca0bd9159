"""How a batch is split over parts, one after the other, and processes, at the same time.

The discriminator looks at the deviation of whole sets of rows. A part holds whole sets; of a part, each process has a
share, and shares of one set are gathered where the deviation is taken (common/nn/minibatch_stddev.py).
"""

from math import isqrt

from common import parallel
from common.errors import InputError

LARGEST = 65_536  # rows of a batch


def split_rows(batch, parts, rows):
    """Return [(first, last)]: this process's rows of each part; rows: of a set."""
    sets, size, rank = batch // rows, parallel.world_size(), parallel.rank()
    found = []
    for part in range(parts):
        first, last = (edge * sets // parts * rows for edge in (part, part + 1))
        found.append((first + rank * (last - first) // size, first + (rank + 1) * (last - first) // size))
    return found


def check_split(batch, parts, rows, processes):
    """Raise InputError naming the splits that fit, unless sets of `rows` fill the batch and each process has rows of
    every part."""
    if batch % rows:
        raise InputError(f"a batch of {batch:,} rows is not whole sets of {rows:,}", where=f"--stddev_rows {rows}",
                         do=f"Use one of {_listed(divisors(batch))}, or another --batch_size")
    fitting = fitting_parts(batch, rows, processes)
    if not fitting:
        raise InputError(f"{processes} processes for a batch of {batch:,} rows", where=f"--batch_size {batch}",
                         do=f"Use at least {processes}")
    if parts not in fitting:
        some = f"Use one of {_listed(fitting)}, or smaller --stddev_rows, which gives another result"
        raise InputError(f"a batch of {batch:,} rows in sets of {rows:,} is not {parts} parts of whole sets",
                         where=f"--accumulate {parts}", do=some)


def fitting_parts(batch, rows, processes=1):
    """Return the range of numbers of parts that a batch of whole sets of `rows` can be split into: each part has at
    least a row for each process."""
    return range(1, batch // rows // -(-processes // rows) + 1)


def divisors(number):
    """Return the divisors of a number."""
    small = [divisor for divisor in range(1, isqrt(number) + 1) if number % divisor == 0]
    return sorted({*small, *(number // divisor for divisor in small)})


def _listed(numbers):
    shown = numbers if len(numbers) <= 12 else [*numbers[:11], "...", numbers[-1]]
    return ", ".join(map(str, shown))
