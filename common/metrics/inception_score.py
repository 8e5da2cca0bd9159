"""Inception score (Salimans et al. 2016) from logits, streaming.

exp(mean_i KL(p_i || mean p)) = exp(mean_i sum_c p_ic log p_ic - sum_c mean_c log mean_c)

TF-GAN, and so QC-NCSN, takes all images as one split; the original code and torch-fidelity take ten and report mean
and deviation. One split gives the higher value.
"""

import numpy as np

from common.errors import InputError


class InceptionScore:
    """Running sums of the score over `num_images` rows of logits in `num_splits` consecutive parts, float64.

    Part i holds rows i * num_images // num_splits and on, as torch-fidelity's; permute the rows beforehand if wanted.
    """

    def __init__(self, num_images, num_splits=1):
        if not 1 <= num_splits <= num_images:
            raise InputError(f"{num_images} images cannot be cut into {num_splits} splits", do="Give more images or fewer splits")
        self.edges = [index * num_images // num_splits for index in range(num_splits + 1)]
        self.count = 0
        self.sums = None  # per split: sum of p (C,)
        self.negative_entropy = np.zeros(num_splits)  # per split: sum of p log p

    def add(self, logits):
        """Take in the next rows of logits (n, C), any float type. Raises InputError for NaN or infinity."""
        log_p, p = _log_softmax(logits)
        if self.sums is None:
            self.sums = np.zeros((len(self.negative_entropy), p.shape[1]))
        first = self.count
        self.count += len(p)
        for split, (start, stop) in enumerate(zip(self.edges[:-1], self.edges[1:])):
            part = slice(max(start - first, 0), max(stop - first, 0))
            self.sums[split] += p[part].sum(axis=0)
            self.negative_entropy[split] += np.sum(p[part] * log_p[part])

    def result(self):
        """Return (mean, standard deviation) over the splits. Raises InputError when rows are missing."""
        if self.count != self.edges[-1]:
            raise InputError(f"{self.count} rows of logits came, expected {self.edges[-1]}")
        sizes = np.diff(self.edges)
        marginal = self.sums / sizes[:, None]
        log_marginal = np.log(marginal, where=marginal > 0, out=np.zeros_like(marginal))
        scores = np.exp(self.negative_entropy / sizes - np.sum(marginal * log_marginal, axis=1))
        return float(scores.mean()), float(scores.std())


def inception_score(logits, num_splits=1):
    """Return (mean, standard deviation) of the Inception score of logits (n, C)."""
    score = InceptionScore(len(logits), num_splits)
    score.add(logits)
    return score.result()


def _log_softmax(logits):
    """Return log p and p (n, C) in float64."""
    logits = np.asarray(logits, dtype=np.float64)
    if not np.isfinite(logits).all():
        raise InputError("logits hold NaN or infinity", do="Find out which images gave them")
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_p, np.exp(log_p)
