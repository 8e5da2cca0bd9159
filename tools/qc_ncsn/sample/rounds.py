"""The images of each division and round of a job, and which rounds are already stored."""

import numpy as np

from common.units import stored_arrays


def division_bounds(num_samples, num_divisions, division):
    """Return (first, last) global image numbers of a division: they cover all images, sizes differ by at most one."""
    return division * num_samples // num_divisions, (division + 1) * num_samples // num_divisions


def rounds_of(first, last, batch_size):
    """Return the global image numbers of each round of a division; the last round may be smaller."""
    return [np.arange(start, min(start + batch_size, last)) for start in range(first, last, batch_size)]


def is_complete(path, indices):
    """True when a stored round holds exactly these images, all of them readable."""
    stored = stored_arrays(path, ("samples", "nfe", "index"))
    return stored is not None and np.array_equal(stored["index"], indices) and len(stored["samples"]) == len(indices)
