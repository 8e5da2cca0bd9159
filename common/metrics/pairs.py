"""Squared distances of chosen pairs of rows that a matrix product about a common centre cannot tell apart."""

import numpy as np

from common.formats.rows import gather

PAIRS = 1024  # pairs whose differences are in memory at once
MANY = 20_000  # pairs from which on groups of near rows, and equal rows, are looked for
DENSE = 0.25  # share of a group's possible pairs from which on a product is cheaper than their differences
SEARCHED = 1 << 22  # distances of one product


def exact_squared(rows1, rows2, index1, index2):
    """Return float64 (p,): |rows1[index1] - rows2[index2]|^2 from differences; of equal rows one stands for all."""
    if len(index1) > MANY:
        first, second = _representatives(rows1, index1), _representatives(rows2, index2)
        pairs, inverse = np.unique(np.stack([first, second]), axis=1, return_inverse=True)
        if pairs.shape[1] <= len(index1) // 2:
            return exact_squared(rows1, rows2, *pairs)[inverse.reshape(-1)]
    result = np.empty(len(index1))
    for start in range(0, len(index1), PAIRS):
        part = slice(start, start + PAIRS)
        difference = gather(rows1, index1[part]) - gather(rows2, index2[part])
        result[part] = squared_norms(difference)
    return result


def _representatives(rows, index):
    """Return for each of the rows the number of the first one among them that is equal to it."""
    distinct, inverse = np.unique(index, return_inverse=True)
    first, numbers = {}, np.empty(len(distinct), np.int64)
    for place, number in enumerate(distinct):
        numbers[place] = first.setdefault(np.asarray(rows[number : number + 1]).tobytes(), number)
    return numbers[inverse]


def refined(rows1, rows2, index1, index2):
    """Return (squared distances, bounds on their errors), float64 (p,), of the pairs (rows1[index1], rows2[index2]).

    Pairs that hang together are a group; a dense one's distances come from a product of rows less the group's mean,
    which is exact to the group's own size. Those of other groups come from differences.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    (distinct1, place1), (distinct2, place2) = (np.unique(index, return_inverse=True) for index in (index1, index2))
    size = len(distinct1) + len(distinct2)
    edges = coo_array((np.ones(len(index1), np.int8), (place1, len(distinct1) + place2)), shape=(size, size))
    _, labels = connected_components(edges, directed=False)
    order = np.argsort(labels[place1], kind="stable")
    distances, errors, rest = np.empty(len(index1)), np.zeros(len(index1)), []
    for pairs in np.split(order, np.flatnonzero(np.diff(labels[place1][order])) + 1):
        (own1, at1), (own2, at2) = (np.unique(index[pairs], return_inverse=True) for index in (index1, index2))
        if len(pairs) < DENSE * len(own1) * len(own2) or len(own1) * len(own2) > SEARCHED:
            rest.append(pairs)
            continue
        x, y = gather(rows1, own1), gather(rows2, own2)
        centre = x.mean(axis=0)
        x, y = x - centre, y - centre
        norms = squared_norms(x)[:, None] + squared_norms(y)
        distances[pairs] = (norms - 2.0 * (x @ y.T))[at1, at2]
        errors[pairs] = (10.0 + 2.0 * len(centre) ** 0.5) * 2e-16 * norms[at1, at2]
    if rest:
        rest = np.concatenate(rest)
        distances[rest] = exact_squared(rows1, rows2, index1[rest], index2[rest])
        errors[rest] = 1e-12 * distances[rest]
    return distances, errors


def squared_norms(vectors):
    """Return the sum of squares along the last axis."""
    return np.einsum("...d,...d->...", vectors, vectors)
