"""Measures of counterfactual explanations that use decisions: shares with intervals, MNAC, CD, COUT, sFID, yNN.

Scores are probabilities (N, A); a decision is yes above 1/2. Pairs are rows: a picture and its counterfactual.
"""

import math

import numpy as np

QUANTILE = 1.959963984540054  # of the normal distribution, for 95 %
HALVINGS = 10  # of sFID
NEIGHBOURS = 5  # of yNN
STEPS = 50  # of COUT


def wilson(count, total):
    """Return (low, high) of the 95 % interval of a share count / total (Wilson 1927); (0, 1) of nothing."""
    if not total:
        return 0.0, 1.0
    share, square = count / total, QUANTILE**2
    centre = (share + square / (2 * total)) / (1 + square / total)
    half = QUANTILE / (1 + square / total) * math.sqrt(share * (1 - share) / total + square / (4 * total**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_and_error(values, groups):
    """Return (mean over all values, half the 95 % interval) where values of one group, an image's, go together.

    values, groups: (N,). The error is 1.96 standard errors of the mean of independent groups; None for a single one.
    """
    values = np.asarray(values, dtype=np.float64)
    if not len(values):
        return None, None
    mean = float(values.mean())
    names, place = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        return mean, None
    sums = np.bincount(place, weights=values - mean)
    count = len(names)
    variance = (sums**2).sum() * count / (count - 1) / len(values) ** 2
    return mean, float(QUANTILE * math.sqrt(variance))


def changed_attributes(before, after):
    """Return for each pair how many of the oracle's decisions changed (N,), the wanted one included.

    The mean is the MNAC, mean number of attributes changed (STEEX); 1 is best.
    """
    return ((np.asarray(before) > 0.5) != (np.asarray(after) > 0.5)).sum(axis=1)


def correlations(changes, queried):
    """Return the correlations (A,) of the columns of (N, A) with column `queried`; 0 where one is constant."""
    changes = np.asarray(changes, dtype=np.float64)
    centred = changes - changes.mean(axis=0)
    spread = np.sqrt((centred**2).mean(axis=0))
    product = (centred * centred[:, queried : queried + 1]).mean(axis=0)
    scale = spread * spread[queried]
    return np.divide(product, scale, out=np.zeros_like(product), where=scale > 0)


def correlation_difference(labels, before, after, queried):
    """Return the CD of an attribute (DiME, ACE): the sum over attributes of |c - r|.

    labels: (M, A) of the data, whose correlation with the queried attribute is c.  before, after: (N, A) of the oracle;
    r is the correlation over the pairs of the changes of decisions.
    """
    changes = (np.asarray(after) > 0.5).astype(np.float64) - (np.asarray(before) > 0.5)
    expected = correlations(np.asarray(labels, dtype=np.float64), queried)
    return float(np.abs(expected - correlations(changes, queried)).sum())


def cout(probability, images, counterfactuals, steps=STEPS):
    """Return the COUT (N,) of pairs, in [-1, 1], higher is better (Khorram and Fuxin 2022).

    probability: function of images (N, 3, H, W) -> (N, 2): of the target's decision, and of the start's.
    Pixels of the counterfactual enter the image in `steps` equal parts, the most changed first, ties by position; the
    areas under both curves are subtracted. Identical pictures give p_target - p_source.
    """
    import torch

    count, _, height, width = images.shape
    change = (counterfactuals - images).abs().sum(dim=1).flatten(1)
    rank = torch.empty_like(change, dtype=torch.int64)
    order = torch.sort(change, dim=1, descending=True, stable=True).indices
    places = torch.arange(height * width, device=images.device).expand(count, -1)
    rank.scatter_(1, order, places)
    rank = rank.reshape(count, 1, height, width)
    curve = []
    for step in range(steps + 1):
        shown = torch.where(rank < step * height * width // steps, counterfactuals, images)
        curve.append(probability(shown).double())
    curve = torch.stack(curve)  # (steps + 1, N, 2)
    area = (curve[:-1] + curve[1:]).sum(dim=0) / (2 * steps)
    return (area[:, 0] - area[:, 1]).cpu().numpy()


def split_distance(real, counterfactual, seed=0, halvings=HALVINGS, groups=None):
    """Return (mean, standard deviation over halvings) of the sFID of ACE: the Frechet distance between the features of
    one half of the images and those of the other half's counterfactuals, both ways.

    real, counterfactual: (N, D), row by row pairs. It removes the bias that a counterfactual is nearly its own image.
    groups: (N,) the image of each row, where an image has several counterfactuals: they stay in one half.
    """
    from common.metrics.frechet import frechet_distance_between

    real, counterfactual = (np.asarray(rows, dtype=np.float64) for rows in (real, counterfactual))
    generator, found = np.random.default_rng(seed), []
    images, place = np.unique(np.arange(len(real)) if groups is None else groups, return_inverse=True)
    for _ in range(halvings):
        first = np.isin(place, generator.permutation(len(images))[: len(images) // 2])
        halves = np.flatnonzero(first), np.flatnonzero(~first)
        distances = [frechet_distance_between(_gaussian(real[one]), _gaussian(counterfactual[two]))
                     for one, two in (halves, halves[::-1])]
        found.append(sum(distances) / 2)
    return float(np.mean(found)), float(np.std(found))


def _gaussian(rows):
    from common.metrics.frechet import Gaussian

    return Gaussian.of_few(rows) if len(rows) <= rows.shape[1] else Gaussian(rows.mean(axis=0), np.cov(rows.T))


def neighbours_agree(features, real_features, real_decisions, targets, k=NEIGHBOURS):
    """Return for each counterfactual (N,) the share of its k nearest real images, in a model's features, whose decision
    is the target: the yNN of CARLA is their mean.

    features: (N, D).  real_features: (M, D).  real_decisions: (M,) bool.  targets: (N,) bool.
    """
    features, real_features = (np.asarray(rows, dtype=np.float64) for rows in (features, real_features))
    k = min(k, len(real_features))
    squared = (real_features**2).sum(axis=1)
    found = np.empty(len(features))
    for row, (own, target) in enumerate(zip(features, targets)):
        nearest = np.argsort(squared - 2 * real_features @ own, kind="stable")[:k]
        found[row] = (np.asarray(real_decisions)[nearest] == target).mean()
    return found
