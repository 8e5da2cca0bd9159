"""The Frechet distance of infinitely many images (FID-infinity, Chong & Forsyth 2020), from that of parts of the rows.

The distance of n rows is too high by a series in 1/n. Its means over the whole, over two halves and over three thirds
are the values at 1/n, 2/n and 3/n, and the parabola through them gives the value at 0. The authors fit a line through
random subsets from 5,000 images on; the parabola needs no draws and follows the curve that few images show.
"""

import numpy as np

from common.errors import InputError
from common.features.statistics import Statistics, frechet
from common.formats.rows import blocks
from common.metrics.frechet import FeatureStatistics

PARTS = (1, 2, 3)


def frechet_infinity(statistics1, statistics2, error=None):
    """Return (the distance at infinitely many rows, its standard error or None) of two `Statistics`.

    A side without rows counts as exact.  error: that of the distance itself (`intervals.frechet_error`); the parabola
    less the line through whole and halves is added to it, as what the extrapolation may be off.
    Raises InputError where neither side has rows, or the thirds are not larger than the width.
    """
    sides = [statistics1, statistics2]
    counts = [side.count for side in sides if side.features is not None]
    least = PARTS[-1] * (statistics1.width + 1)
    if not counts or min(counts) < least:
        raise InputError(f"the distance of infinitely many images needs {least:,} images with their features, there "
                         f"are {min(counts, default=0):,}", do="Use more images, or leave fid_infinity out")
    means = []
    for number in PARTS:
        parts = [_parts(side, number) for side in sides]
        means.append(np.mean([frechet(*pair) for pair in zip(*parts)]))
    line, parabola = 2 * means[0] - means[1], 3 * means[0] - 3 * means[1] + means[2]
    return float(parabola), None if error is None else float(np.hypot(error, parabola - line))


def _parts(side, number):
    """Return the Statistics of `number` parts of a side's rows, by index modulo number; of a side without rows, itself
    for each."""
    if side.features is None:
        return [side] * number
    parts, first = [FeatureStatistics(side.width) for _ in range(number)], 0
    for block in blocks(side.features):
        for part in range(number):
            parts[part].add(block[(part - first) % number :: number])
        first += len(block)
    return [Statistics(part.mean, part.covariance(), part.count) for part in parts]
