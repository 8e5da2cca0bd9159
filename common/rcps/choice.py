"""The choice of lambda: the smallest from which on every larger one passes the test (Bates et al. 2021, eq. 5).

Where the test falls with every loss, lambda is exact: a bisection over the critical values. The others may fail again
above a lambda that passes, so a grid that was fixed beforehand is scanned from its largest lambda down.
"""

import numpy as np

from common.errors import InputError
from common.rcps.bounds import COUNTED, MONOTONE

FINE = np.geomspace(0.1, 10, 2304)  # steps of 0.2 %
PUBLISHED = np.concatenate([np.linspace(0, 1, 10, endpoint=False), np.linspace(1, 10, 100)])  # index 10 is exactly 1
COARSE = np.geomspace(0.1, 10, 233)  # steps of 2 %, for simulations
GRIDS = {"fine": FINE, "published": PUBLISHED, "coarse": COARSE}
BLOCK = 16  # lambdas tested at a time: what is computed of them stays in the processor's cache


class NoLambda(InputError):
    """No lambda passes; `reason` is "images" (too few), "floor" (truths no lambda covers) or "grid" (none of it)."""

    def __init__(self, reason, *args, **more):
        super().__init__(*args, **more)
        self.reason = reason


def choose_exact(critical, test):
    """Return the exact lambda of a monotone test for critical values (n, width), float64. Raises NoLambda."""
    assert test.bound in MONOTONE
    found = _exact_counted(critical, test) if test.bound in COUNTED else _exact_by_bisection(critical, test)
    if found is None:
        raise no_lambda(critical, test)
    return found


def choose_rigorous(misses, test):
    """Return the index of the smallest lambda from which all larger ones of the grid pass, None where none does.

    misses: (L, n) whole numbers at ascending lambdas, images in the order in which the test looks at them.
    """
    found = None
    changed = np.flatnonzero((misses[1:] != misses[:-1]).any(axis=1)) + 1
    first = np.concatenate([[0], changed])  # of each run of lambdas at which the same is missed: one answer for all
    for stop in range(len(first), 0, -BLOCK):
        start = max(stop - BLOCK, 0)
        failing = np.flatnonzero(~test.claims(misses[first[start:stop]]))
        if len(failing):
            place = start + int(failing[-1]) + 1
            return int(first[place]) if place < stop else found
        found = int(first[start])
    return found


def choose_first_hit(misses, rows, totals, test):
    """Return the index of the first lambda that passes with a mean loss of at most alpha, None where none does.

    So the published code does.  misses: (L, N).  rows: (n,) of them, in order.  totals: (L,) sums over the rows.
    """
    for index in np.flatnonzero(totals / (len(rows) * test.width) <= test.alpha):
        if test.claims(misses[index, rows]):
            return int(index)
    return None


def _exact_counted(critical, test):
    """Return the lambda at which no more than the allowed number of entries is missed, None where there is none."""
    allowed = test.allowed(len(critical))
    if allowed < 0:
        return None
    if allowed >= critical.size:
        return 0.0
    largest = np.partition(critical.ravel(), critical.size - 1 - allowed)[critical.size - 1 - allowed]
    return _beyond(largest)


def _exact_by_bisection(critical, test):
    """Return the smallest lambda beyond a critical value at which a monotone test passes, None where none does."""
    values = np.unique(critical[critical < np.inf])  # -inf too, of truths on the other side: lambda 0 may pass

    def passes(place):
        return bool(test.claims((critical > values[place]).sum(axis=1)))

    low, high = -1, len(values) - 1
    if high < 0 or not passes(high):
        return None
    while high - low > 1:  # passes at high, not at low
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return _beyond(values[high])


def _beyond(value):
    """Return the first lambda that covers a truth of this critical value: sets are open."""
    if value == np.inf:
        return None
    return 0.0 if value == -np.inf else float(np.nextafter(value, np.inf))


def no_lambda(critical, test, grid=None):
    """Return the NoLambda that says why none passes for critical values (n, width).  grid: lambdas, None for exact."""
    number, least = len(critical), test.least_images()
    if least is None or number < least:
        return too_few(test, number, number)
    beyond = critical == np.inf  # -inf is a truth on the other side, which this arm never misses
    floor = float(beyond.mean())
    if floor > 0 and not test.claims(beyond.sum(axis=1)):
        return NoLambda("floor", f"no lambda reaches alpha {test.alpha:g}: {floor:.4f} of the truths lie on a side "
                        "where the interval has no arm, which no lambda widens",
                        do="Look at the crossing quantiles (validate), or pass a larger --alpha")
    top = "" if grid is None else f" up to {grid[-1]:g}"
    return NoLambda("grid", f"no lambda{top} reaches alpha {test.alpha:g} with bound {test.bound}",
                    do="Pass a larger --alpha, or a monotone bound (bet, hb), whose lambda has no upper limit")


def too_few(test, images, losses, share=0.0):
    """Return the NoLambda of a test that cannot pass with so many losses, even if none of them is a miss.

    images: of the calibration.  losses: of the test, more where an image has one at each level, fewer where a share of
    the images was taken for another purpose.
    """
    least, delta = test.least_images(), "" if test.bound == "crc" else f" and delta {test.delta:g}"
    if least is None:
        needed, do = f"more than {test.most_images:,}", "more images"
    else:
        enough = -(-least * images // losses) if losses > images else least
        while losses < images and enough - int(share * enough) < least:
            enough += 1
        needed, do = f"at least {enough}", f"{enough} images or more"
    left = f" ({losses} of them are left to choose lambda)" if losses < images else ""
    return NoLambda("images", f"{images} {'image is' if images == 1 else 'images are'} too few{left}: with bound "
                    f"{test.bound}, alpha {test.alpha:g}{delta} {needed} are needed, without a single miss",
                    do=f"Calibrate with {do}, or with a larger alpha")
