"""Stored statistics that a generator's pictures are compared with: are they of the same features, and of images that
were prepared as those that the generator was trained on?"""

import numpy as np

from common import console, parallel
from common.errors import InputError
from common.features.comparable import check_comparable
from common.features.preparation import compare_preparations
from common.features.statistics import Statistics, read_statistics
from common.features.stats_store import find_stats


def find_reference(space_name, place=None, name=None, folder=None, mode="clean"):
    """Return the path of stored statistics: a file, or those of a name (see stats_store).

    space_name: the feature space's, "" for Inception's.
    """
    return place if place is not None else str(find_stats(name, folder, mode, space_name))


def read_reference(path, space, shape, fit, who, any_stats=False):
    """Return the Statistics of a file, compared with what a generator makes, and say what may matter.

    shape, fit: how the images that it was trained on were brought to its size.  who: the generator, for messages.
    any_stats: accept those of images that were prepared in another way.  Raises InputError for statistics of other
    features, and without any_stats for those.
    """
    reference = read_statistics(path)
    check_comparable(Statistics(np.zeros(space.width), np.eye(space.width), meta=space.meta), reference)
    meta = {**space.meta, "resolution": list(shape), "generated": True, "resolution_fit": fit}
    notes = compare_preparations((meta, who), (reference.meta, str(path)))
    if notes and "resolution" in reference.meta and not any_stats:
        height, width = shape
        raise InputError(notes[0], where=path, do=f"Make them with setup_fid --fit "
                         f"{'squash' if height == width else fit} and the same resolution, or pass --any_stats")
    for note in notes if parallel.is_main() else ():
        console.say(f"note: {note}")
    return reference
