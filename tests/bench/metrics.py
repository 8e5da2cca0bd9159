"""Metrics against the public computations, on 2048 features as Inception gives them."""

from tests.bench.registry import bench

NUM_FEATURES = 2048


def _features(count, seed):
    """Return float32 (count, 2048) features with spectrum and offset much as Inception's: positive, falling
    variances."""
    import numpy as np

    spread = (np.arange(1, NUM_FEATURES + 1) ** -0.5).astype(np.float32)
    mixing = np.random.default_rng(0).standard_normal((NUM_FEATURES, NUM_FEATURES)).astype(np.float32)
    rows = np.random.default_rng(seed).standard_normal((count, NUM_FEATURES)).astype(np.float32) * spread
    return np.abs(rows @ mixing / NUM_FEATURES**0.5 + np.float32(0.1))


def _sqrtm_distance(mean1, covariance1, mean2, covariance2):
    """Return the Frechet distance as clean-fid, pytorch-fid and EDM compute it: a general matrix square root."""
    import numpy as np
    import scipy.linalg

    root = scipy.linalg.sqrtm(covariance1 @ covariance2).real
    difference = mean1 - mean2
    return difference @ difference + np.trace(covariance1) + np.trace(covariance2) - 2 * np.trace(root)


def _moments(features):
    import numpy as np

    rows = features.astype(np.float64)
    return rows.mean(axis=0), np.cov(rows, rowvar=False)


@bench("metrics.frechet_10000", peer="scipy.linalg.sqrtm", threads=2, rounds=3, at_least=8)
def frechet_10000():
    """From mean and covariance of 10 000 images each."""
    from common.metrics.frechet import frechet_distance

    moments = [*_moments(_features(10000, 1)), *_moments(_features(10000, 2))]
    return lambda: frechet_distance(*moments), lambda: _sqrtm_distance(*moments)


@bench("metrics.frechet_500", peer="covariances and scipy.linalg.sqrtm", threads=2, rounds=3, at_least=50)
def frechet_500():
    """From the features of 500 images each, covariances charged to the peer."""
    from common.features.statistics import Statistics, frechet

    sides = _features(500, 1), _features(500, 2)
    return (lambda: frechet(*(Statistics(features=rows) for rows in sides)),
            lambda: _sqrtm_distance(*_moments(sides[0]), *_moments(sides[1])))


def _full_matrices(real, fake, nearest_k):
    """Return precision, recall, density, coverage by the public computation: three full matrices of distances."""
    import numpy as np
    from sklearn.metrics import pairwise_distances

    def distances(rows1, rows2):
        return pairwise_distances(rows1, rows2, metric="euclidean", n_jobs=8)

    def radii(rows):
        return np.partition(distances(rows, rows), nearest_k, axis=-1)[:, : nearest_k + 1].max(axis=-1)

    real_radii, fake_radii, cross = radii(real), radii(fake), distances(real, fake)
    inside = cross < real_radii[:, None]
    return np.array([
        inside.any(axis=0).mean(), (cross < fake_radii[None]).any(axis=1).mean(),
        inside.sum(axis=0).mean() / nearest_k, (cross.min(axis=1) < real_radii).mean(),
    ])


@bench("metrics.prdc_10000", peer="full matrices of scikit-learn's pairwise_distances", threads=2, rounds=3,
       at_least=2.5)
def prdc_10000():
    """Precision, recall, density and coverage of 10 000 against 10 000 images, k = 3."""
    import numpy as np

    from common.metrics.prdc import prdc

    real, fake = _features(10000, 1), _features(10000, 2)
    return lambda: np.array(list(prdc(real, fake, 3).values())), lambda: _full_matrices(real, fake, 3)
