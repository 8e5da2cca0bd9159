"""Nearest neighbours: exact, by matrix products, a tree in the map's few dimensions, or compiled distances.

Of each block of distances only the smallest of every GROUP columns is kept. The k nearest rows are in the k groups with
the smallest minima; the distances within these are computed once more, as sums of squared differences.
"""

import numpy as np

TILE_BYTES = 1 << 27  # of distances in memory at once
GROUP = 32  # columns of which the smallest distance is kept
SPARE = 8  # candidates beyond k, for rounding and for the row itself
ROWS = 256  # of a block of distances
TREE = 3  # dimensions up to which a tree is faster
PRODUCTS = ("euclidean", "l2", "minkowski", "cosine", "correlation")
LOOPS = {"manhattan": "cityblock", "taxicab": "cityblock", "l1": "cityblock", "chebyshev": "chebyshev",
         "linfinity": "chebyshev", "linfty": "chebyshev", "linf": "chebyshev", "canberra": "canberra",
         "braycurtis": "braycurtis"}
MOST_PRODUCTS, MOST_LOOPS = 1 << 18, 1 << 15  # rows up to which the exact search takes minutes at most


def is_exact(metric, count):
    """Return whether the neighbours of so many rows are searched exactly, rather than by NN-descent."""
    return count <= (MOST_PRODUCTS if metric in PRODUCTS else MOST_LOOPS)


class Search:
    """Exact neighbours among rows (N, D) float32 in a metric of PRODUCTS or LOOPS; UMAP asks it as one of NNDescent."""

    _angular_trees = False  # read by UMAP

    def __init__(self, rows, metric="euclidean"):
        self.metric = metric
        self._angular = metric in ("cosine", "correlation")
        centre = metric in PRODUCTS and not self._angular
        self._middle = rows.mean(axis=0, dtype=np.float64) if centre else 0.0  # smaller norms, smaller rounding errors
        self._points = self._place(rows)

    def _place(self, rows):
        """Return float64 points; for PRODUCTS, their Euclidean distance gives the metric."""
        rows = np.asarray(rows, np.float64)
        return _directions(rows, self.metric == "correlation") if self._angular else rows - self._middle

    def query(self, rows, k, epsilon=0.0):
        """Return (index int32 (n, k), distance float32 (n, k)) of the nearest to other rows; epsilon is not needed."""
        return self._nearest(self._place(rows), k, None)

    def around(self, k, queries=None):
        """Return (index int32 (n, k), distance float32 (n, k)) of the nearest other rows of all rows, or of some."""
        queries = np.arange(len(self._points)) if queries is None else queries
        return self._nearest(self._points[queries], k, queries)

    def _nearest(self, places, k, own):
        if self.metric in LOOPS:
            return _loops(places, self._points, k, own, LOOPS[self.metric])
        index, squares = _search(places, self._points, k, own)
        return index, (squares / 2 if self._angular else np.sqrt(squares)).astype(np.float32)


def nearest_neighbours(rows, k, queries=None):
    """Return (index int32 (n, k), Euclidean distance float32 (n, k)) of the nearest other rows, nearest first.

    queries: the rows asked about; all without.  Exact; k at most N - 1.  Memory is TILE_BYTES of distances.
    """
    k = min(k, len(rows) - 1)
    if rows.shape[1] > TREE:
        return Search(rows).around(k, queries)
    return _tree(rows, np.arange(len(rows)) if queries is None else queries, k)


def _tree(rows, queries, k):
    from scipy.spatial import cKDTree

    rows = np.asarray(rows, np.float64)
    distance, index = cKDTree(rows).query(rows[queries], k + 1)
    other = index != queries[:, None]
    other[other.all(axis=1), -1] = False  # many rows at one place: its own is not among the first
    return tuple(kept[other].reshape(-1, k).astype(kind) for kept, kind in ((index, np.int32), (distance, np.float32)))


def _loops(queries, points, k, own, name):
    """Return (index, distance) in a metric of SciPy's, compiled loops over pairs of rows."""
    from scipy.spatial.distance import cdist

    index, distance = np.empty((len(queries), k), np.int32), np.empty((len(queries), k), np.float32)
    step = max(1, TILE_BYTES // (8 * len(points)))
    for start in range(0, len(queries), step):
        tile = np.nan_to_num(cdist(queries[start : start + step], points, name))  # 0 / 0 is 0
        if own is not None:
            tile[np.arange(len(tile)), own[start : start + step]] = np.inf
        index[start : start + step], distance[start : start + step] = _smallest(tile, k)
    return index, distance


def _directions(rows, centred):
    """Return unit vectors (N, D + 1); half their squared distance is 1 - cosine. Zero rows share a direction of their
    own, at 1 from all others, as in UMAP."""
    if centred:
        rows = rows - rows.mean(axis=1, keepdims=True)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return np.concatenate([rows / np.where(norms > 0, norms, 1)[:, None], (norms == 0)[:, None]], axis=1)


def _search(queries, points, k, own=None):
    """Return (index (n, k), squared distance float64 (n, k)); own: (n,) the point that each query is, not counted.

    Products in float32, and once more in float64 for the rows whose order float32 cannot tell.
    """
    index, squares = np.empty((len(queries), k), np.int32), np.empty((len(queries), k))
    todo = np.arange(len(queries))
    for kind in (np.float32, np.float64):
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float32: left to the second pass
            todo = todo[~_pass(queries, points, k, own, todo, kind, index, squares)]
        if not len(todo):
            break
    return index, squares


def _pass(queries, points, k, own, todo, kind, index, squares):
    """Fill index and squares of the rows `todo`; return bool (n,): whether rounding cannot have hidden a nearer row.

    The products are |y|^2 - 2 x y, for which the matrices have one column more; |x|^2 does not change the order.
    """
    groups = -(-len(points) // GROUP)
    norms = np.einsum("ij,ij->i", points, points)
    factors = np.zeros((groups * GROUP, points.shape[1] + 1), kind)
    factors[: len(points), :-1], factors[: len(points), -1] = -2 * points, norms
    factors[len(points) :, -1] = np.inf
    error = 4 * points.shape[1] ** 0.5 * np.finfo(kind).eps * norms.max(initial=0)
    sure = np.empty(len(todo), bool)
    step = max(1, min(ROWS, TILE_BYTES // (factors.itemsize * len(factors))))
    for start in range(0, len(todo), step):
        rows = todo[start : start + step]
        left = np.ones((len(rows), factors.shape[1]), kind)
        left[:, :-1] = queries[rows]
        products = left @ factors.T
        if own is not None:
            products[np.arange(len(rows)), own[rows]] = np.inf
        columns, least = _candidates(products, groups, k + SPARE)
        none = np.isinf(np.take_along_axis(products, columns, axis=1))
        index[rows], squares[rows] = _nearest_of(queries[rows], points, columns, none, k)
        size = np.einsum("ij,ij->i", queries[rows], queries[rows])
        sure[start : start + step] = squares[rows, -1] <= least + size - error
    return sure


def _candidates(products, groups, wanted):
    """Return (columns (n, wanted) of the smallest products, smallest of all others (n,))."""
    minima = products.reshape(len(products), GROUP, groups).min(axis=1)  # of the columns g, g + groups, ...
    count = min(wanted, groups)
    order = np.argpartition(minima, min(count, groups - 1), axis=1)
    least = np.take_along_axis(minima, order[:, count:], axis=1).min(axis=1, initial=np.inf)
    columns = (order[:, :count, None] + groups * np.arange(GROUP)).reshape(len(products), -1)
    values = np.take_along_axis(products, columns, axis=1)
    count = min(wanted, values.shape[1])
    order = np.argpartition(values, min(count, values.shape[1] - 1), axis=1)
    rest = np.take_along_axis(values, order[:, count:], axis=1).min(axis=1, initial=np.inf)
    return np.take_along_axis(columns, order[:, :count], axis=1), np.minimum(least, rest)


def _nearest_of(queries, points, columns, none, k):
    """Return the k nearest of each query's candidate columns (n, c), by sums of squared differences in float64.

    none: (n, c) bool, the candidates that stand for no other row.
    """
    difference = points[np.minimum(columns, len(points) - 1)] - queries[:, None]
    squares = np.einsum("ijk,ijk->ij", difference, difference)
    squares[none] = np.inf
    order = np.lexsort((columns, squares), axis=1)[:, :k]
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(squares, order, axis=1)


def _smallest(tile, k):
    """Return (index, value) of the k smallest of each row, ties by index."""
    columns = np.argpartition(tile, k - 1, axis=1)[:, :k] if k < tile.shape[1] else np.argsort(tile, axis=1)
    values = np.take_along_axis(tile, columns, axis=1)
    order = np.lexsort((columns, values), axis=1)
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)
