"""Which files are images, by their names: one list for every reader of folders and archives."""

import os
from collections import Counter
from functools import cache

from common import console
from common.numerals import counted

SUFFIXES = (".avif", ".bmp", ".jpeg", ".jpg", ".pam", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")  # in any case
DATA_SETS = (*SUFFIXES, ".gif")  # of folders and zips that are a data set
RECORDS = (".json", ".jsonl")  # labels and run records, expected beside images
SHOWN = 6  # suffixes that a note lists


def is_image(name, suffixes=SUFFIXES):
    """Return whether a file name ends in one of the suffixes, in any case."""
    return name.lower().endswith(suffixes)


def file_stems(names):
    """Return a file's name without suffix for each image: its own, with its suffix where two would be alike, and with
    a number where they still are."""
    names = [str(name) for name in names]
    short = [os.path.splitext(name)[0] if is_image(name, DATA_SETS) else name for name in names]
    counts, found = Counter(short), {}
    for name, stem in zip(names, short):
        own = stem = stem if counts[stem] == 1 else name
        number = 1
        while own in found:
            number += 1
            own = f"{stem}_{number}"
        found[own] = None
    return list(found)


def images_among(names, where, suffixes=SUFFIXES):
    """Yield the file names that are images; at the end, note how many others were skipped.

    where: the folder or archive, for the note. Hidden files are for the caller to skip.
    """
    skipped = []
    for name in names:
        if is_image(name, suffixes):
            yield name
        else:
            skipped.append(name)
    note_skipped(skipped, where)


def note_skipped(names, where):
    """Print how many files are skipped, by suffix; labels and records are not counted."""
    counts = Counter(os.path.splitext(name)[1].lower() or "no suffix" for name in names if not is_image(name, RECORDS))
    if counts:
        listed = [f"{suffix} ({count:,})" for suffix, count in counts.most_common(SHOWN)]
        more = ", ..." if len(counts) > SHOWN else ""
        skipped = counted(counts.total(), "file")
        _say_once(f"{where}: skipped {skipped} without the suffix of an image: {', '.join(listed)}{more}")


@cache
def _say_once(text):
    """Print a note once, however often a folder is listed."""
    console.say(text)
