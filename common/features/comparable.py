"""Whether two `Statistics` may be compared, and whether two files are of the same images."""

import numpy as np

from common.errors import InputError
from common.features.preparation import compare_preparations
from common.formats.rows import blocks

MEAN_ERROR = 1e-4  # of a float32 mean of float32 rows, relative to mean and deviation; clean-fid's are 6e-6 off


def check_comparable(statistics1, statistics2, allow=()):
    """Return notes (texts) on what is unknown or may matter when two Statistics are compared.

    Raises InputError naming both when widths differ, or metas tell of another extractor or resize.  allow: names of
    entries, of these two, whose difference is only noted.  Other weights, antialias or metric entries are noted.
    """
    names = [_name(side) for side in (statistics1, statistics2)]
    if statistics1.width != statistics2.width:
        raise InputError(f"{names[0]} has {statistics1.width} features, {names[1]} {statistics2.width}",
                         do="Compare features of the same network")
    notes, extractors = [], {str(side.meta.get("extractor", "inception")) for side in (statistics1, statistics2)}
    for key in ("extractor", "resize", "metric", "weights", "antialias"):
        values = [side.meta.get(key) for side in (statistics1, statistics2)]
        told = f"{names[0]} has {key} {values[0]}, {names[1]} {values[1]}"
        if key == "resize" and values == [None, None] and not all(name.startswith("inception") for name in extractors):
            continue  # other spaces have a single one
        if None in values:
            unknown = " and ".join(name for name, value in zip(names, values) if value is None)
            notes += [f"{key} of {unknown} is unknown: assumed equal"] if key in ("extractor", "resize") else []
        elif values[0] != values[1]:
            if key in ("extractor", "resize") and key not in allow:
                raise InputError(told, do=f"Make both with the same {key}")
            notes.append(f"{told}: the distance tells of this difference too")
    return notes + preparation_notes(statistics1, statistics2)


def preparation_notes(statistics1, statistics2):
    """Return a note where two Statistics tell that their images were brought to different sizes, or in other ways."""
    return compare_preparations(*((side.meta, _name(side)) for side in (statistics1, statistics2)))


def check_same_images(moments, rows):
    """Raise InputError unless the rows (Statistics) of a file have the count and mean that another file tells.

    Any writer's pair is checked so, without a hash in the files: the means of two samples of 50,000 images of one
    distribution already differ by sqrt(2 / 50,000) deviations, sixty times MEAN_ERROR.
    """
    total = sum(block.sum(axis=0, dtype=np.float64) for block in blocks(rows.features))
    apart = np.linalg.norm(moments.mean - total / rows.count)
    scale = np.linalg.norm(moments.mean) + np.sqrt(max(np.trace(moments.covariance), 0.0))
    if moments.count not in (None, rows.count) or apart > MEAN_ERROR * scale:
        raise InputError(f"these are not the features of the images of {moments.path}", where=rows.path,
                         do="Remove the file, or make both again with setup_fid --kid")


def _name(statistics):
    return "these features" if statistics.path is None else str(statistics.path)
