"""Calibration of prediction sets: bounds, and a whole published calibration, through what the command calls."""

import math

import numpy as np

from tests.golden.compare import Judged, within
from tests.golden.registry import check

BOUNDS = ("hoeffding", "kl", "bentkus", "hb", "bentkus")  # the runner's own "hb" is Bentkus' alone


@check("rcps/rcps_bounds")
def rcps_bounds(case):
    """A table (risk, n, delta) x bounds, with the published floor of n * risk; WSR bounds of sequences in order."""
    from common.rcps.bounds import capital_bound, counted_bound, predictable_bets

    table = case.arrays["table"].copy()
    for row in table:
        mean, number, delta = row[0], int(row[1]), row[2]
        row[3:] = [counted_bound(bound, mean, math.floor(mean * number), number, delta) for bound in BOUNDS]
    ends = np.cumsum(case.arrays["wsr_len"])
    sequences = np.split(case.arrays["wsr_x"], ends[:-1])
    bounds = [capital_bound(losses, predictable_bets(losses, delta), delta)
              for losses, delta in zip(sequences, case.arrays["wsr_delta"])]
    return {"table": table, "wsr": np.array(bounds)}
