"""Which images calibrate and which test, run by run."""

import math

import numpy as np

from common.errors import InputError, Parameter
from common.numerals import counted
from common.rcps.bounds import as_fraction
from common.seeding import unit_numpy

PUBLISHED_SEED = 2021


def published_seeds(runs):
    """Return the seeds of the published runs, int64 (runs,): 116, 341, 57, 128, 621, ...; some repeat."""
    return np.random.RandomState(PUBLISHED_SEED).randint(0, 1000, runs)


def split_images(number, runs, share, kind="seeded", seed=0):
    """Yield (calibration, test) of each run: int64 indices, the calibration's in random order, the test's ascending.

    kind: "published" draws as the published runner does (numpy's legacy generator), "seeded" from (seed, run).
    Raises InputError where a share is less than one image.
    """
    count = int(share * number) if kind == "published" else math.floor(as_fraction(share) * number)
    if count < 1:
        raise InputError(f"is less than one of {counted(number, 'image')}", where=Parameter("calibration_share", share),
                         do="Pass a larger share, or calibrate with more images")
    seeds = published_seeds(runs) if kind == "published" else None
    for run in range(runs):
        if kind == "published":
            calibration = np.random.RandomState(seeds[run]).choice(number, count, replace=False)
        else:
            calibration = unit_numpy(seed, "split", run).permutation(number)[:count]
        test = np.ones(number, bool)
        test[calibration] = False
        yield calibration, np.flatnonzero(test)


def image_order(number, seed=0):
    """Return the order in which all images calibrate: one seeded permutation, int64 (number,)."""
    return unit_numpy(seed, "order").permutation(number)
