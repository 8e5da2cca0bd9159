"""The images of each division and round of a job, and which rounds are already stored."""

import numpy as np

from common.errors import InputError
from common.units import stored_arrays

MOST_SEEDS = 10**7
LARGEST_SEED = 2**63 - 1


def division_bounds(num_samples, num_divisions, division):
    """Return (first, last) global image numbers of a division: they cover all images, sizes differ by at most one."""
    return division * num_samples // num_divisions, (division + 1) * num_samples // num_divisions


def rounds_of(first, last, batch_size):
    """Return the global image numbers of each round of a division; the last round may be smaller."""
    return [np.arange(start, min(start + batch_size, last)) for start in range(first, last, batch_size)]


def parse_seeds(text):
    """Return the image numbers (n,) int64 of a list such as "0-63,100", in its order, each once."""
    numbers = []
    for part in text.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        good = first.isdecimal() and (last.isdecimal() if dash else True)
        first, last = (int(first), int(last or first)) if good else (1, 0)
        if last < first or last > LARGEST_SEED:
            raise InputError(f"'{part}' is neither a number nor a range of numbers", where=f"--seeds {text}",
                             do="Write for example 0-63,100")
        if last - first + len(numbers) >= MOST_SEEDS:
            raise InputError(f"more than {MOST_SEEDS:,} images", where=f"--seeds {text}", do="Ask for fewer")
        numbers += range(first, last + 1)
    return np.array(list(dict.fromkeys(numbers)), np.int64)


def seeds_text(numbers):
    """Return the shortest text that parse_seeds reads as these numbers: one for all ways to write them."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def is_complete(path, indices, made_by):
    """True when a stored round holds exactly these images, all of them readable, and nothing else made them."""
    stored = stored_arrays(path, ("samples", "nfe", "index"), ("made_by",))
    return stored is not None and np.array_equal(stored["index"], indices) \
        and len(stored["samples"]) == len(indices) and str(stored.get("made_by", made_by)) == made_by
