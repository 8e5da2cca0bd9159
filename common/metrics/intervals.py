"""Uncertainty of distances: jackknife standard errors, and the bias of too few images.

Delete-a-group jackknife: the value is recomputed without each of G groups of rows, and
stderr^2 = (G - 1) / G sum_g (value_g - mean)^2. Rows with the same index modulo G form a group, so that groups do not
depend on batches, and both sides drop their group together: valid for independent sides, and for a side generated image
by image from the other.
"""

import numpy as np

from common.formats.rows import group_blocks
from common.metrics.frechet import FeatureStatistics, Gaussian, frechet_distance_between

PUBLISHED = 50_000  # images on each side of a published FID
FEW = 10_000  # the minimum that the authors of the FID recommend
INCEPTION = 2048  # number of features of the FID


def jackknife(values):
    """Return the standard error from the values (G,) without each of G groups, G at least 2."""
    values = np.asarray(values, dtype=np.float64)
    return float(np.sqrt((len(values) - 1) / len(values) * np.sum((values - values.mean()) ** 2)))


def usable_groups(num_groups, *counts):
    """Return how many groups, at most num_groups, `counts` rows allow (two rows must remain on each side), else 0."""
    groups = min(num_groups, *counts)
    return groups if groups >= 2 and all(count - -(-count // groups) >= 2 for count in counts) else 0


def frechet_error(statistics1, statistics2, num_groups=10):
    """Return the standard error of the Frechet distance between two `Statistics`, or None.

    It covers the sides that have rows (`features`); a side with only mean and covariance counts as exact.  None where
    neither has rows, or too few.  Rows are read again group by group and subtracted from the total, so memory is that
    of a few covariances; a side of at most D rows stays in memory as rows instead.
    Raises InputError as `frechet_distance` does.
    """
    counts = [side.count for side in (statistics1, statistics2) if side.features is not None]
    groups = usable_groups(num_groups, *counts) if counts else 0
    if not groups:
        return None
    sides = [_leave_out(side, groups) for side in (statistics1, statistics2)]
    return jackknife([frechet_distance_between(*(without(group) for without in sides)) for group in range(groups)])


def _leave_out(statistics, num_groups):
    """Return a function of the group number -> the Gaussian of a side without that group."""
    if statistics.features is None:
        whole = statistics.gaussian()
        return lambda group: whole
    if statistics.is_short:
        rows = np.asarray(statistics.features[: statistics.count])
        member = np.arange(len(rows)) % num_groups
        return lambda group: Gaussian.of_few(rows[member != group])
    total = statistics.moments()

    def without(group):
        part = FeatureStatistics(statistics.width)
        for block in group_blocks(statistics.features, group, num_groups):
            part.add(block)
        rest = total.without(part)
        return Gaussian(rest.mean, rest.covariance())

    return without


def frechet_excess(covariance, count1, count2=None):
    """Return the expected Frechet distance between two samples of one Gaussian, to first order.

    covariance: (D, D).  count1, count2: rows of the samples, many more than D; None: that side is known exactly.
    (1/n + 1/m) (tr S + sum_ij s_i s_j / (2 (s_i + s_j)) + sum_i s_i / 4), s the eigenvalues, from the second-order term
    of the distance about equal covariances and the Wishart variance of their entries.
    """
    values = np.linalg.eigvalsh(covariance)
    values = values[values > max(values[-1], 0.0) * len(values) * np.finfo(np.float64).eps]
    pairs = np.sum(values[:, None] * values / (values[:, None] + values))
    share = 1.0 / count1 + (1.0 / count2 if count2 else 0.0)
    return float(share * (values.sum() + pairs / 2.0 + values.sum() / 4.0))


def bias_note(count, width=INCEPTION, excess=None):
    """Return a warning when `count` images are too few for comparison with published values, else None.

    count: of the side with fewer images.  width: of the features; only 2048 is the FID.  excess: from
    `frechet_excess`, where known.
    """
    if count >= PUBLISHED:
        return None
    if count <= width:
        return (f"{count:,} images are not more than the {width:,} features: the covariance is singular and the "
                f"distance far too high; compare it only with distances of {count:,} other images, or use the KID")
    if width != INCEPTION:
        return None
    by = "" if excess is None else f", here by about {excess:.2g} (first order)"
    few = " are too few for comparison with published FIDs, which" if count < FEW else ": published FIDs"
    return f"{count:,} images{few} use {PUBLISHED:,}; with fewer the FID is too high{by}"
