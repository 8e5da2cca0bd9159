"""Measures of how far two sets of activations overlap, which the trustworthiness of a map is not.

All are computed in the input space of UMAP (the principal components); the share of own neighbours also on the map.
"""

from itertools import combinations

import numpy as np

from common.errors import InputError
from tools.process_embeddings.neighbours import nearest_neighbours

LIMIT = 5000  # points per set; more change the third digit, at quadratic cost
FOLDS = 5
RESAMPLES = 500
LEAST = 10  # points that each set needs
COVERAGE_K = 5  # as in Naeem et al. 2020
ALIKE = ("input_mode", "label_mode", "conditioning_sigma", "layers", "pool", "checkpoint", "adapter", "preprocess")


def compare_sets(names, group, features, embedding, seed):
    """Return a dictionary for each pair of sets.

    names: of the sets.  group: (N,) set of each point.  features (N, k), embedding (N, d).
    auc: of a classifier, 0.5 when the sets are indistinguishable.  own_neighbours, own_neighbours_map: share of points,
    as many of each set, whose nearest neighbour is of their own set, 0.5 when mixed.  coverage_of_a_by_b: share of a's
    points with one of b within the distance to their fifth neighbour in a.  *_low, *_high: 95 % interval.
    """
    pairs = []
    for a, b in combinations(range(len(names)), 2):
        sides = [np.flatnonzero(group == number) for number in (a, b)]
        generator = np.random.default_rng([seed, a, b])
        sides = [np.sort(generator.permutation(side)[:LIMIT]) for side in sides]
        entry = {"a": names[a], "b": names[b], "num_a": len(sides[0]), "num_b": len(sides[1])}
        if min(map(len, sides)) >= LEAST:
            entry |= _interval("auc", *classifier_auc(features[sides[0]], features[sides[1]], seed))
            count = min(map(len, sides))
            even = [np.sort(generator.permutation(side)[:count]) for side in sides]
            for name, space in (("own_neighbours", features), ("own_neighbours_map", embedding)):
                entry |= _interval(name, *same_set_fraction(space[even[0]], space[even[1]]))
            entry["coverage_of_a_by_b"] = coverage(features[sides[0]], features[sides[1]])
            entry["coverage_of_b_by_a"] = coverage(features[sides[1]], features[sides[0]])
        pairs.append(entry)
    return pairs


def _interval(name, value, low, high):
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def classifier_auc(first, second, seed, resamples=RESAMPLES):
    """Return (AUC, low, high) of 5-fold logistic regression between two sets of rows, 95 % by bootstrap of the points.

    Each point is scored by the classifier that was not trained on it; scores are ranks within the fold, because the
    scales of the folds' classifiers differ.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = np.concatenate([first, second]).astype(np.float64)
    kind = np.repeat([0, 1], [len(first), len(second)])
    scores = np.empty(len(rows))
    for trained, tested in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(rows, kind):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, class_weight="balanced"))
        margin = model.fit(rows[trained], kind[trained]).decision_function(rows[tested])
        scores[tested] = _ranks(margin) / (len(margin) + 1)
    generator = np.random.default_rng(seed)
    sides = scores[kind == 0], scores[kind == 1]
    drawn = [auc(*(side[generator.integers(0, len(side), len(side))] for side in sides)) for _ in range(resamples)]
    return auc(*sides), *(float(bound) for bound in np.quantile(drawn, [0.025, 0.975]))


def auc(low, high):
    """Return the share of pairs in which the second side's score is the larger, ties counting half."""
    ranks = _ranks(np.concatenate([low, high]))
    excess = ranks[len(low) :].sum() - len(high) * (len(high) + 1) / 2
    return float(excess / (len(low) * len(high)))


def _ranks(values):
    """Return ranks from 1, ties sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2.0)[inverse]


def same_set_fraction(first, second):
    """Return (share, low, high): points whose nearest neighbour is of their own set, with Wilson's interval."""
    index, _ = nearest_neighbours(np.concatenate([first, second]), 1)
    own = (index[:, 0] < len(first)) == (np.arange(len(index)) < len(first))
    return wilson(int(own.sum()), len(own))


def wilson(hits, count, z=1.959964):
    """Return (share, low, high), Wilson's 95 % interval of a share."""
    share = hits / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return share, float(centre - half), float(centre + half)


def coverage(real, other, k=COVERAGE_K):
    """Return the share of `real` rows with a row of `other` nearer than their k-th nearest real one."""
    from tools.process_embeddings.embed import TILE, squared_distances

    _, distance = nearest_neighbours(real, k)
    radii, middle = distance[:, -1] ** 2, real.mean(axis=0)
    hits = 0
    for start in range(0, len(real), TILE):
        tile = squared_distances(real[start : start + TILE] - middle, other - middle)
        hits += int((tile.min(axis=1) < radii[start : start + TILE]).sum())
    return hits / len(real)


def same_set_fraction_around(index, group):
    """Return float32 (N,): the share of each point's neighbours index (N, k) that are of its own set."""
    return (group[index] == group[:, None]).mean(axis=1, dtype=np.float32)


def class_purity(embedding, classes, k=15):
    """Return the share of map neighbours of a point's own class (1: the map shows labels, not images).

    classes: the Classes of the samples; those of no known class are left out.  None for fewer than two classes.
    """
    embedding, of = embedding[classes.known], classes.of[classes.known]
    if len(of) < 3 or (of == of[0]).all():
        return None
    index, _ = nearest_neighbours(embedding, k)
    return float((of[index] == of[:, None]).mean())


def notes_on(sets):
    """Return warnings on sets that are not comparable, or dominated by their labels."""
    notes = []
    for first, second in combinations(sets, 2):
        for key in ALIKE:
            before, after = mode_of(first, key), mode_of(second, key)
            if before != after and None not in (before, after):
                notes.append(f"'{first.name}' was extracted with {key} {_short(before)}, '{second.name}' with "
                             f"{_short(after)}, which may explain their difference. Extract both alike")
    for item in sets:
        labels = {str(record.get("class_label")) for record in item.records}
        if mode_of(item, "label_mode") == "own" and len(labels) > 1:
            notes.append(f"'{item.name}' was extracted with its class labels given to the network: the map shows "
                         "labels more than images. Use --label_mode none for a map of images")
    return notes


def mode_of(item, key):
    """Return how a set was extracted, by its metadata or, without, as the original programs did."""
    value = item.info.get(key)
    generated = item.info.get("model_type", item.model) == "imagenet"
    if value is None and key == "input_mode":
        return "generation" if generated else "scale"
    if value is None and key == "label_mode":
        return "own"
    if key == "checkpoint" and value is not None:  # a path, in sets of earlier versions a name
        return str(value).rpartition("/")[2]
    return sorted(value) if key == "layers" and isinstance(value, list) else value


def _short(value):
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_size(count, n_components, max_samples=None):
    """Raise InputError for too few samples for a map, or too few of the first ones."""
    if count < n_components + 3:
        samples = "1 sample is" if count == 1 else f"{count} samples are"
        raise InputError(f"{samples} too few for a map of {n_components} dimensions",
                         where=None if max_samples is None else f"--max_samples {max_samples}",
                         do=f"Use at least {n_components + 3}")
