"""Which images of a labelled set are chosen, in which order: reproducible from the seed, in any process.

The order of seed S is numpy's RandomState(S).permutation(N), as in the original; a plain selection is its beginning.
Any other selection follows the same order, so that a larger number of samples extends a smaller one.
"""

from dataclasses import dataclass, field

from common.errors import InputError

ORDERS = ("random", "storage")


@dataclass
class Selection:
    """The chosen images in their order, and what is reported about them."""

    indices: object  # (n,) int64
    classes: list = field(default_factory=list)  # drawn or named, ascending; empty for all
    short: dict = field(default_factory=dict)  # {class: (wanted, available)} of classes with too few images
    candidates: int = 0  # images that could be chosen
    scores: object = None  # (N,) float64 of all images, with --percentiles
    extends: bool = True  # a larger number of samples begins with the same ones


def sample_order(seed, count):
    """Return RandomState(seed).permutation(count), (count,) int64: the order of a seed."""
    import numpy as np

    return np.random.RandomState(seed).permutation(count)


def draw_classes(seed, num_classes, known):
    """Return sorted classes: RandomState(seed).choice(known, num_classes, replace=False), or all."""
    import numpy as np

    count = len(known)
    if not 1 <= num_classes <= count:
        raise InputError(f"there are {count} classes", where=f"--num_classes {num_classes}", do=f"Use 1 .. {count}")
    if num_classes == count:
        return list(known)
    return sorted(known[place] for place in np.random.RandomState(seed).choice(count, num_classes, replace=False))


def quotas(num_samples, classes):
    """Return {class: number}, which add up to num_samples: equal, the first (num_samples mod classes) one more."""
    each, more = divmod(num_samples, len(classes))
    return {number: each + (place < more) for place, number in enumerate(classes)}


def check_percentiles(low, high):
    """Raise InputError unless 0 <= low < high <= 100."""
    if not 0 <= low < high <= 100:
        raise InputError("expected two percentiles from 0 to 100, in ascending order",
                         where=f"--percentiles {low:g} {high:g}", do="Correct the values")


def keep_percentiles(scores, low, high, classes=None):
    """Return a mask (n,) of the images whose score lies between two percentiles, both ends included.

    scores: (n,) float; NaN is never kept.  low, high: 0..100.  classes: (n,), then each class has its own percentiles.
    """
    import numpy as np

    check_percentiles(low, high)
    mask, scored = np.zeros(len(scores), bool), np.isfinite(scores)
    groups = [np.flatnonzero(scored)] if classes is None else [np.flatnonzero(scored & (classes == c))
                                                               for c in np.unique(classes)]
    for members in groups:
        if len(members):
            bounds = np.percentile(scores[members], [low, high])
            mask[members] = (scores[members] >= bounds[0]) & (scores[members] <= bounds[1])
    return mask


def select(classes, num_samples, seed, wanted=None, balanced=False, order="random", mask=None):
    """Return the Selection of at most num_samples images.

    classes: (N,) class of each image, -1 for images never chosen.  wanted: classes to choose from, None for all.
    balanced: as many of each class (`quotas`), random within it by the seed.  mask: (N,) bool of allowed images.
    order: random, or storage: the same set in the order in which it is stored.
    Raises InputError when no image qualifies.
    """
    import numpy as np

    classes = np.asarray(classes)
    if num_samples < 1:
        raise InputError("expected at least 1", where=f"--num_samples {num_samples}", do="Correct the value")
    allowed = classes >= 0
    if wanted is not None:
        allowed &= np.isin(classes, wanted)
    if mask is not None:
        allowed &= mask
    candidates = int(allowed.sum())
    if not candidates:
        raise InputError("no image is selected", do="Choose other classes or percentiles, or check the source")
    visit = sample_order(seed, len(classes))
    visit = visit[allowed[visit]]
    short = {}
    if balanced:
        kinds = sorted(wanted if wanted is not None else np.unique(classes[allowed]).tolist())
        visit, short = within_quotas(visit, classes, quotas(num_samples, kinds))
    chosen = visit[:num_samples].astype(np.int64)
    chosen = np.sort(chosen) if order == "storage" else chosen
    return Selection(chosen, sorted(wanted or []), short, candidates, extends=not balanced and order == "random")


def within_quotas(visit, classes, wanted):
    """Return (the part of `visit` within each class's quota, {class: (wanted, available)} of those that ran short).

    visit: image numbers in order of preference.  classes: (N,) of all images.  wanted: {class: quota}.
    """
    import numpy as np

    labels = classes[visit]
    grouped = np.argsort(labels, kind="stable")  # by class, in the order of visit within each
    kinds, starts, counts = np.unique(labels[grouped], return_index=True, return_counts=True)
    counted = dict(zip(kinds.tolist(), counts.tolist()))
    taken = [grouped[start : start + min(count, wanted.get(kind, 0))]
             for kind, start, count in zip(kinds.tolist(), starts.tolist(), counts.tolist())]
    short = {kind: (number, counted.get(kind, 0)) for kind, number in wanted.items() if counted.get(kind, 0) < number}
    return visit[np.sort(np.concatenate(taken))], short
