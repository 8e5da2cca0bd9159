"""The map itself (UMAP, McInnes et al. 2018, by umap-learn), and its faithfulness to the features."""

import contextlib
import copy
import warnings
from unittest import mock

import numpy as np

from common.errors import InputError, nearest
from tools.process_embeddings.compiled import open_umap
from tools.process_embeddings.neighbours import TILE_BYTES, Search, is_exact, nearest_neighbours

TILE = 512  # rows of the distance matrix in memory at once
TRUST_QUERIES = 4000  # points sampled for trustworthiness, with all points as candidate neighbours
# The distances of umap-learn that mean something between real vectors of either sign. Its others are for sets, strings,
# counts, distributions, points of a sphere or a ball, or need parameters: they fail, or give a map of nothing.
METRICS = ("euclidean", "l2", "manhattan", "taxicab", "l1", "chebyshev", "linfinity", "linfty", "linf", "minkowski",
           "canberra", "braycurtis", "cosine", "correlation")


def check_metric(metric):
    """Raise InputError for a distance that is not in METRICS."""
    if metric not in METRICS:
        raise InputError(f"'{metric}' is not a distance between real vectors", where="--metric",
                         do=nearest(metric, METRICS))


def find_neighbours(features, k, metric, seed):
    """Return (index int32 (N, k), distance float32 (N, k), what can be asked for more) of each row's nearest others.

    Exact up to the sizes of `is_exact`, beyond them by NN-descent (Dong et al. 2011, by pynndescent).
    """
    if is_exact(metric, len(features)):
        search = Search(features, metric)
        return *search.around(k), search
    import sklearn.utils

    umap = open_umap()
    index, distance, search = umap.umap_.nearest_neighbors(
        features, k + 1, metric, {}, False, sklearn.utils.check_random_state(seed), n_jobs=-1 if seed is None else 1)
    return index[:, 1:].astype(np.int32), distance[:, 1:].astype(np.float32), search


def fit_map(features, n_neighbors, min_dist, metric, n_components, seed, found=None):
    """Return (fitted UMAP, float32 (N, n_components)) of features (N, D) float32.

    seed None: on all threads, not reproducible. With a seed the same versions on the same type of CPU give the same
    bits.  found: what find_neighbours gives for this metric, for at least n_neighbors - 1.
    """
    umap = open_umap()
    known = (None, None, None)
    if len(features) > n_neighbors:  # with fewer rows UMAP takes fewer neighbours
        known = _with_itself(found or find_neighbours(features, n_neighbors - 1, metric, seed), n_neighbors)
    reducer = umap.UMAP(n_neighbors=n_neighbors, min_dist=min_dist, metric=metric, n_components=n_components,
                        random_state=seed, n_jobs=-1 if seed is None else 1, precomputed_knn=known)
    with warnings.catch_warnings(), seeded_eigenvectors(seed):
        _silence()
        return reducer, np.asarray(reducer.fit_transform(features), np.float32)


def _with_itself(found, n_neighbors):
    """Return found neighbours as UMAP counts them: each row is its own first one."""
    index, distance, search = found
    own = np.arange(len(index), dtype=np.int32)[:, None]
    return (np.concatenate([own, index[:, : n_neighbors - 1]], axis=1),
            np.concatenate([np.zeros_like(distance[:, :1]), distance[:, : n_neighbors - 1]], axis=1), search)


def as_published(reducer, seed):
    """Return a copy of a fitted UMAP that needs nothing of this project to be unpickled and to project."""
    if not isinstance(getattr(reducer, "_knn_search_index", None), Search):
        return reducer
    reducer = copy.copy(reducer)
    reducer.precomputed_knn, reducer.knn_search_index = (None, None, None), None
    reducer._small_data = len(reducer._raw_data) < 4096  # as in UMAP: distances to all rows then, and no index
    if reducer._small_data:
        del reducer._knn_search_index
        return reducer
    import sklearn.utils

    umap = open_umap()
    *_, reducer._knn_search_index = umap.umap_.nearest_neighbors(
        reducer._raw_data, reducer.n_neighbors, reducer.metric, {}, False, sklearn.utils.check_random_state(seed),
        n_jobs=1)
    return reducer



def compile_ahead():
    """Fit a small map and project into it, to fill the cache of compiled code (`make setup`)."""
    features = np.random.default_rng(0).standard_normal((64, 8), dtype=np.float32)
    for seed in (0, None):
        reducer, _ = fit_map(features, 5, 0.1, "euclidean", 2, seed)
        project_into(reducer, features[:8])


@contextlib.contextmanager
def seeded_eigenvectors(seed):
    """Context in which SciPy's Lanczos solver draws its vectors from the seed (None: unseeded).

    UMAP and scikit-learn pass it no generator: a map of disconnected islands would start differently in each process.
    """
    if seed is None:
        yield
        return
    import scipy.sparse.linalg
    import sklearn.manifold._spectral_embedding as spectral

    solver = scipy.sparse.linalg.eigsh

    def seeded(*args, **options):
        return solver(*args, **{"rng": np.random.default_rng(seed), **options})

    with mock.patch.object(scipy.sparse.linalg, "eigsh", seeded), mock.patch.object(spectral, "eigsh", seeded):
        yield


def project_into(reducer, features):
    """Return float32 (N, n_components): features projected into a fitted map, with UMAP's fixed transform seed."""
    with warnings.catch_warnings():
        _silence()
        return np.asarray(reducer.transform(features), np.float32)


def _silence():
    """Silence expected warnings: one thread with a seed, fewer neighbours for few samples, disconnected islands."""
    for message in ("n_jobs value", ".*n_neighbors is larger", ".*not fully connected", "Spectral initiali",
                    "precomputed_knn"):
        warnings.filterwarnings("ignore", message=message)


def squared_distances(rows, others):
    """Return float32 (n, m) squared Euclidean distances by one matrix product, clipped at 0 against rounding."""
    product = rows @ others.T
    product *= -2
    product += np.einsum("ij,ij->i", rows, rows)[:, None]
    product += np.einsum("ij,ij->i", others, others)
    return product.clip(0, out=product)


def all_equal(features):
    """Return whether all rows of features (N, D) are the same."""
    return bool((features == features[:1]).all())


def trustworthiness(features, embedding, k, seed=0):
    """Return the trustworthiness of a map (Venna and Kaski 2001), 1 when no point has a false neighbour.

    None for fewer than three points and for points that are all equal, which have no neighbours to be true to.

    features (N, D), embedding (N, d).  Above TRUST_QUERIES points it is the mean over a random sample of so many, with
    all points as candidates; below, it equals scikit-learn's.
    """
    count = len(features)
    k = min(k, (count - 1) // 2)
    if k < 1 or all_equal(features):
        return None
    chosen = np.arange(count)
    if count > TRUST_QUERIES:
        chosen = np.sort(np.random.default_rng(seed).choice(count, TRUST_QUERIES, replace=False))
    features = np.asarray(features, np.float32) - np.mean(features, axis=0, dtype=np.float32)
    penalty = 0
    near, _ = nearest_neighbours(embedding, k, chosen)
    step = max(1, min(TILE, TILE_BYTES // (4 * count)))
    for start in range(0, len(chosen), step):
        queries = chosen[start : start + step]
        far = squared_distances(features[queries], features)
        far[np.arange(len(queries)), queries] = np.inf
        for column in near[start : start + step].T:
            limit = far[np.arange(len(queries)), column]
            rank = 1 + np.count_nonzero(far < limit[:, None], axis=1)
            penalty += int(np.maximum(rank - k, 0).sum())
    return 1.0 - penalty * 2.0 / (len(chosen) * k * (2 * count - 3 * k - 1))
