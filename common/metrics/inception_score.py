"""Inception score (Salimans et al. 2016) from logits, streaming.

exp(mean_i KL(p_i || mean p)) = exp(mean_i sum_c p_ic log p_ic - sum_c mean_c log mean_c)

TF-GAN, and so QC-NCSN, uses all images as one split; the original code and torch-fidelity use ten and report mean and
standard deviation. One split gives the higher value.
"""

import numpy as np

from common.errors import InputError
from common.metrics.intervals import jackknife, usable_groups
from common.numerals import counted

TORCH_FIDELITY_SEED = 2020  # of torch-fidelity's permutation before it splits into ten


class InceptionScore:
    """Running sums of the score over `num_images` rows of logits in `num_splits` splits, float64.

    Split i starts at row i * num_images // num_splits, as torch-fidelity's, of the rows in order or, with a
    permutation_seed, permuted by numpy's legacy generator.  num_groups: groups of rows for the standard error, 1: none.
    """

    def __init__(self, num_images, num_splits=1, permutation_seed=None, num_groups=1):
        if not 1 <= num_splits <= num_images:
            raise InputError(f"too few images for {counted(num_splits, 'split')}: {num_images:,}",
                             do="Use more images or fewer splits")
        self.num_images, self.num_splits = num_images, num_splits
        self.num_groups = max(usable_groups(num_groups, num_images // num_splits), 1)
        self.edges = np.array([index * num_images // num_splits for index in range(num_splits + 1)])
        self.places = None  # without a permutation memory does not grow with the number of images
        if permutation_seed is not None:  # row permutation[j] goes to place j
            self.places = np.empty(num_images, np.int64)
            self.places[np.random.RandomState(permutation_seed).permutation(num_images)] = np.arange(num_images)
        self.count = 0
        self.sizes = np.zeros(num_splits * self.num_groups, np.int64)  # per cell: rows
        self.sums = None  # per cell: sum of p (C,)
        self.negative_entropy = np.zeros(num_splits * self.num_groups)  # per cell: sum of p log p

    def add(self, logits):
        """Add the next rows of logits (n, C), any float type. Raises InputError for NaN or infinity."""
        p, negative_entropy = _softmax(logits)
        rows = np.arange(self.count, min(self.count + len(p), self.num_images))
        self.count += len(p)
        place = rows if self.places is None else self.places[rows]
        split = np.searchsorted(self.edges, place, side="right") - 1
        cells = split * self.num_groups + place % self.num_groups  # the sums that a row belongs to
        self.sizes += np.bincount(cells, minlength=len(self.sizes))
        if self.sums is None:
            self.sums = np.zeros((len(self.negative_entropy), p.shape[1]))
        present, index = np.unique(cells, return_inverse=True)
        member = np.eye(len(present))[:, index]  # (cells present, n)
        self.sums[present] += member @ p[: len(cells)]
        self.negative_entropy[present] += member @ negative_entropy[: len(cells)]

    def result(self):
        """Return (mean, standard deviation) over the splits. Raises InputError when rows are missing."""
        scores = self._scores()
        return float(scores.mean()), float(scores.std())

    def standard_error(self):
        """Return the delete-a-group jackknife standard error of the mean over the splits, None without groups."""
        if self.num_groups == 1:
            return None
        return jackknife([self._scores(without=group).mean() for group in range(self.num_groups)])

    def _scores(self, without=None):
        """Return the score of each split (num_splits,), all rows or those outside one group."""
        if self.count != self.num_images:
            raise InputError(f"{self.count} rows of logits, expected {self.num_images}")
        groups = [group for group in range(self.num_groups) if group != without]
        sizes, negative_entropy = (
            cells.reshape(self.num_splits, self.num_groups)[:, groups].sum(axis=1)
            for cells in (self.sizes, self.negative_entropy)
        )
        sums = self.sums.reshape(self.num_splits, self.num_groups, -1)[:, groups].sum(axis=1)
        marginal = sums / sizes[:, None]
        log_marginal = np.log(marginal, where=marginal > 0, out=np.zeros_like(marginal))
        return np.exp(negative_entropy / sizes - np.sum(marginal * log_marginal, axis=1))


def _softmax(logits):
    """Return p (n, C) and sum p log p (n,), float64, by one exponential an entry."""
    shifted = np.array(logits, dtype=np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    if not np.isfinite(shifted.sum()):
        raise InputError("logits hold NaN or infinity", do="Find the images that produce them")
    p = np.exp(shifted)
    total = p.sum(axis=1)
    negative_entropy = np.einsum("nc,nc->n", p, shifted) / total - np.log(total)
    p /= total[:, None]
    return p, negative_entropy
