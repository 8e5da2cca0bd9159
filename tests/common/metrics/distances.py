"""The product's streaming metrics on whole arrays, as tests call them."""

from common.features.statistics import Statistics, frechet
from common.metrics.inception_score import InceptionScore


def frechet_distance_of_rows(rows1, rows2):
    """Return the squared Frechet distance between two sets of features, (n1, D) and (n2, D)."""
    return frechet(Statistics(features=rows1), Statistics(features=rows2))


def inception_score_of(logits, num_splits=1, permutation_seed=None):
    """Return (mean, standard deviation) of the Inception score of logits (n, C)."""
    score = InceptionScore(len(logits), num_splits, permutation_seed)
    score.add(logits)
    return score.result()
