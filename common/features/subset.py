"""A subset of a folder's images, as clean-fid chooses it (setup_fid's --n_imgs and --shuffle)."""

import random


def choose_subset(names_sorted, num=None, shuffle=False, seed=0):
    """Return the chosen names, in clean-fid's order.

    names_sorted: full paths sorted as plain strings (capitals first).  num: how many, -1 or None for all; then shuffle
    has no effect.  A private generator gives the order of `random.seed(seed); random.shuffle(names)`.
    """
    names = list(names_sorted)
    if num is None or num < 0:
        return names
    if shuffle:
        random.Random(seed).shuffle(names)
    return names[:num]
