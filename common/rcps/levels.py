"""Difficulty levels: whether they hold the same images, and which of them share a lambda."""

from common.errors import InputError
from common.numerals import counted

WAYS = ("mean", "each", "each_together", "pooled")


def level_groups(names, counts, way, delta):
    """Return [(name, members, delta)]: levels (by place) that share one lambda, and the delta of its test.

    way: "mean", one loss per image, its mean over the levels; "pooled", the losses of all levels behind one another;
    "each", every level alone; "each_together", every level alone at delta / levels, so that all hold at once.
    Raises InputError when "mean" or "pooled" is asked for levels of unlike sizes.
    """
    if way in ("mean", "pooled"):
        for name, count in zip(names, counts):
            if count != counts[0]:
                raise InputError(f"level {name} has {count} images, {names[0]} {counts[0]}", where=f"--levels_as {way}",
                                 do="Pass outputs of the same images, or --levels_as each")
        return [(way, list(range(len(names))), delta)]
    share = delta / len(names) if way == "each_together" else delta
    return [(name, [place], share) for place, name in enumerate(names)]


def check_same_images(outputs, truths, names):
    """Raise InputError unless all levels hold the same images in the same order.

    outputs: [Outputs]; image names must agree where both files have them, and truth rows (N, K) where both have one:
    names repeat from folder to folder.  names: of the levels.
    """
    first = outputs[0]
    for place, other in enumerate(outputs[1:], 1):
        if other.count != first.count:
            raise InputError(f"level {names[place]} has {counted(other.count, 'image')}, {names[0]} {first.count}",
                             where=other.path, do="Pass outputs of the same images, or --levels_as each")
        unlike = unlike_rows(truths[0], truths[place]) & first.has_truth() & other.has_truth()
        if first.names is not None and other.names is not None:
            unlike |= first.names != other.names
        if unlike.any():
            raise InputError(f"image {int(unlike.argmax())} of level {names[place]} is not that of {names[0]}",
                             where=other.path, do="Write both with generate_outputs_npz from the same images in one "
                             "order, or pass --levels_as each")


def unlike_rows(first, second):
    """Return bools (N,): rows of two arrays (N, K) that differ by more than half floats round."""
    import numpy as np

    first, second = np.float64(first), np.float64(second)
    with np.errstate(invalid="ignore"):
        return (np.abs(first - second) > 1e-3 * np.abs(first) + 1e-6).any(axis=1)
