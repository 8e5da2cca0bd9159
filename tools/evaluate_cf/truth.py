"""What is known of the pictures: whether a flip is one that the truth agrees with, and which measures it moves."""

import numpy as np

from common import console
from common.numerals import counted


def add_truth(lines, truth, names):
    """Add to lines what a Truth knows: truth_started (the start is not as wanted), truth_flip, truth_kept (the other
    attributes are as before), and measure_NAME, the change of each further column towards the wanted decision, in units
    of the gap between both kinds of images. Pairs of which the table lacks a row are counted in a note."""
    gaps, missing = _gaps(truth), 0
    for line in lines:
        if line["outcome"] == "already":
            continue
        attribute, wanted = line["attribute"], line["target"] == 1
        before = truth.rows.get((line["image"], None, "0"))
        after = truth.rows.get((line["image"], attribute, str(line["number"])))
        if before is None or after is None:
            missing += 1
            continue
        line["truth_started"] = before[0][attribute] != wanted
        line["truth_flip"] = after[0][attribute] == wanted
        line["truth_kept"] = all(before[0][other] == after[0][other] for other in range(len(names))
                                 if other != attribute)
        for name, then, now, gap in zip(truth.measures, before[1], after[1], gaps):
            if gap:
                line[f"measure_{name}"] = (now - then) / gap * (1 if wanted else -1)
    if missing:
        console.say(f"note: the table of truth lacks {missing} of {counted(len(lines), 'pair')}")


def _gaps(truth):
    """Return for each measure the distance between the means of the images above and below the middle of its range."""
    values = np.array([measures for (_, attribute, _), (_, measures) in truth.rows.items() if attribute is None])
    found = []
    for column in values.reshape(len(values), -1).T if len(values) else ():
        above = column > (column.min() + column.max()) / 2
        found.append(float(column[above].mean() - column[~above].mean()) if above.any() else 0.0)
    return found
