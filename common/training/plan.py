"""What a training run is to do, and what it had to leave out: plain values, read by the loop and by the tools."""

from dataclasses import dataclass
from typing import Optional


@dataclass
class Plan:
    """The steps of a training run, from `first` to `last` inclusive, and when it logs and saves; the last does both.

    batch: rows of a step over all processes.  accumulate: gradient-accumulation steps.
    save_every: the state is saved at multiples of any of these (0: never).
    patience: steps in a row with a loss or gradient that is not finite, which change nothing, before one more ends the
    run with the state saved; None: the first ends it at once.
    """

    first: int
    last: int
    batch: int
    log_every: int
    save_every: tuple
    accumulate: int = 1
    num_workers: int = 0
    log_speed: bool = True
    log_memory: bool = False
    patience: Optional[int] = None


@dataclass
class Skipped:
    """Steps that were skipped because a loss or a gradient was not finite: in all, and the last ones in a row."""

    total: int = 0
    in_a_row: int = 0
