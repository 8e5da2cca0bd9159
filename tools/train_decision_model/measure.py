"""How good probabilities are, an attribute at a time; the numbers are those of scikit-learn's functions of these names.

scores: (N, A) probabilities.  truth: (N, A) of 0 and 1.
"""

import numpy as np

THRESHOLD = 0.5  # above it an attribute counts as seen
BINS = 15  # of the calibration error, of equal width
STEEPEST = 1 / 0.05  # bounds of 1 / temperature
FLATTEST = 1 / 20.0
HALVINGS = 60
MEASURES = ("prevalence", "accuracy", "balanced_accuracy", "f1", "auroc", "ece")


def measure(scores, truth):
    """Return {measure: list over the attributes}; None where an attribute has one value only."""
    columns = [measure_one(scores[:, place], truth[:, place].astype(bool)) for place in range(scores.shape[1])]
    return {name: [column[name] for column in columns] for name in MEASURES}


def measure_one(scores, truth):
    """Return {measure: number} of one attribute, scores (N,) and truth (N,) bool."""
    seen, both = scores > THRESHOLD, bool(truth.any() and not truth.all())
    hits, false, missed = (seen & truth).sum(), (seen & ~truth).sum(), (~seen & truth).sum()
    balanced = (hits / truth.sum() + (~seen & ~truth).sum() / (~truth).sum()) / 2 if both else None
    numbers = {"prevalence": truth.mean(), "accuracy": (seen == truth).mean(), "balanced_accuracy": balanced,
               "f1": 2 * hits / max(2 * hits + false + missed, 1), "auroc": auroc(scores, truth) if both else None,
               "ece": calibration_error(scores, truth)}
    return {name: None if value is None else float(value) for name, value in numbers.items()}


def auroc(scores, truth):
    """Return the share of pairs of a positive and a negative in which the positive scores higher; ties count half."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[place]  # from 1, equal scores share the mean of theirs
    positives = int(truth.sum())
    return (ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * (len(truth) - positives))


def calibration_error(scores, truth):
    """Return the mean over BINS of probability, weighted by their counts, of |mean probability - share of
    positives|."""
    bins = reliability(scores, truth)
    return float(np.abs(bins[:, 1] - bins[:, 2]) @ bins[:, 0] / len(scores))


def reliability(scores, truth):
    """Return (count, mean probability, share of positives) of each of BINS that is not empty, float64 (b, 3)."""
    numbers = np.minimum((scores * BINS).astype(int), BINS - 1)
    counts = np.bincount(numbers, minlength=BINS)
    kept = counts > 0
    sums = [np.bincount(numbers, weights, BINS)[kept] / counts[kept] for weights in (scores, truth.astype(float))]
    return np.stack([counts[kept], *sums], axis=1)


def temperatures(logits, truth, kind):
    """Return (A,) temperatures, or (1,) for classes, that minimise the cross-entropy of logits / temperature.

    The cross-entropy is convex in 1 / temperature: its derivative has one zero, which is bisected; where all decisions
    are right there is none, and the least temperature is returned. A sharper or flatter one than 0.05 or 20 is not
    taken.
    """
    logits, truth = logits.astype(np.float64), truth.astype(np.float64)
    if kind == "classes":
        def slope(scale):
            shifted = np.exp(scale * (logits - logits.max(axis=1, keepdims=True)))
            return ((shifted / shifted.sum(axis=1, keepdims=True) - truth) * logits).sum()

        return np.array([1 / bisected(slope)])
    return np.array([1 / bisected(lambda scale, z=z, y=y: ((1 / (1 + np.exp(-np.clip(scale * z, -700, 700))) - y)
                                                           * z).sum()) for z, y in zip(logits.T, truth.T)])


def bisected(slope):
    """Return the zero of a rising function between the bounds of 1 / temperature, or the bound that is nearer."""
    low, high = np.log(FLATTEST), np.log(STEEPEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(np.exp(middle)) < 0 else (low, middle)
    return float(np.exp((low + high) / 2))
