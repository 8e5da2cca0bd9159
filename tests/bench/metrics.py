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


def _stored(folder, *sides):
    """Write features as .npz files, as clean-fid does, and return their paths."""
    import numpy as np

    paths = [f"{folder}/{number}.npz" for number in range(len(sides))]
    for path, rows in zip(paths, sides):
        np.savez(path, feats=rows)
    return paths


def _command(folder, *sides, words):
    """Return a function that runs compute_fid on stored features and returns its results."""
    from tests.tools.commands import call_tool

    paths = _stored(folder, *sides)
    words = ("clean", paths[0], "--reference", paths[1], "--device", "cpu", "--json", "--quiet", *words)
    return lambda: call_tool("compute_fid", *words).results


@bench("metrics.fid_command", peer="mean, covariance and scipy.linalg.sqrtm, without an interval", threads=2, rounds=3,
       at_least=1.2)
def fid_command():
    """The whole command on stored features of 10 000 images each, with the FID's interval."""
    import tempfile

    import numpy as np

    folder = tempfile.TemporaryDirectory()
    ours = _command(folder.name, _features(10000, 1), _features(10000, 2) * np.float32(1.1), words=())

    def peer(folder=folder):
        sides = (np.load(f"{folder.name}/{number}.npz")["feats"] for number in (0, 1))
        return {"fid": _sqrtm_distance(*(moment for side in sides for moment in _moments(side)))}

    return ours, peer, lambda one, other: abs(one["fid"] / other["fid"] - 1) < 1e-3 and one["fid_se"] > 0


def _kernel_distances(features1, features2, num_subsets=100, size=1000):
    """Return the mean KID over subsets as clean-fid computes it, float32."""
    import numpy as np

    generator, width = np.random.RandomState(0), features1.shape[1]
    values = []
    for _ in range(num_subsets):
        x = features2[generator.choice(len(features2), size, replace=False)]
        y = features1[generator.choice(len(features1), size, replace=False)]
        within = (x @ x.T / width + 1) ** 3 + (y @ y.T / width + 1) ** 3
        cross = (x @ y.T / width + 1) ** 3
        values.append((within.sum() - np.diag(within).sum()) / (size - 1) - cross.sum() * 2 / size)
    return float(np.mean(values) / size)


@bench("metrics.kid", peer="100 subsets of 1,000 as clean-fid takes them", threads=2, rounds=3, at_least=1.1)
def kid_command():
    """The whole command on stored features of 10 000 images each: the subsets, all pairs and their error."""
    import tempfile

    import numpy as np

    folder = tempfile.TemporaryDirectory()
    ours = _command(folder.name, _features(10000, 1), _features(10000, 2) * np.float32(1.1),
                    words=("--metrics", "kid"))

    def peer(folder=folder):
        return {"kid": _kernel_distances(*(np.load(f"{folder.name}/{number}.npz")["feats"] for number in (0, 1)))}

    return ours, peer, lambda one, other: abs(one["kid_subsets"] / other["kid"] - 1) < 1e-3


@bench("metrics.inception_score", peer="torch's softmax and log_softmax in float64, as torch-fidelity", threads=2,
       at_least=1)
def inception_score():
    """Ten splits of 10 000 rows of logits, with the score's error."""
    import numpy as np
    import torch

    from common.metrics.inception_score import TORCH_FIDELITY_SEED, InceptionScore

    logits = np.random.default_rng(0).standard_normal((10000, 1008)).astype(np.float32) * 2

    def ours():
        score = InceptionScore(len(logits), 10, TORCH_FIDELITY_SEED, num_groups=10)
        for start in range(0, len(logits), 1024):
            score.add(logits[start : start + 1024])
        assert score.standard_error() > 0
        return score.result()[0]

    def peer():
        order = np.random.RandomState(TORCH_FIDELITY_SEED).permutation(len(logits))
        rows = torch.from_numpy(logits)[order].double()
        p, log_p = rows.softmax(dim=1), rows.log_softmax(dim=1)
        scores = [(one * (log - one.mean(dim=0, keepdim=True).log())).sum(dim=1).mean().exp().item()
                  for one, log in zip(p.chunk(10), log_p.chunk(10))]
        return float(np.mean(scores))

    return ours, peer


@bench("metrics.prdc_clusters", peer="full matrices of scikit-learn's pairwise_distances", threads=2, rounds=3,
       at_least=1)
def prdc_clusters():
    """4 000 against 4 000 images in twenty clusters, a thousandth of their distance wide."""
    import numpy as np

    from common.metrics.prdc import prdc

    centres = np.abs(np.random.default_rng(0).standard_normal((20, NUM_FEATURES)))
    real, fake = ((centres[generator.integers(0, 20, 4000)]
                   + 1e-3 * generator.standard_normal((4000, NUM_FEATURES))).astype(np.float32)
                  for generator in map(np.random.default_rng, (1, 2)))
    return lambda: np.array(list(prdc(real, fake, 3).values())), lambda: _full_matrices(real, fake, 3)


@bench("metrics.prdc_10000", peer="full matrices of scikit-learn's pairwise_distances", threads=2, rounds=3,
       at_least=2.5)
def prdc_10000():
    """Precision, recall, density and coverage of 10 000 against 10 000 images, k = 3."""
    import numpy as np

    from common.metrics.prdc import prdc

    real, fake = _features(10000, 1), _features(10000, 2)
    return lambda: np.array(list(prdc(real, fake, 3).values())), lambda: _full_matrices(real, fake, 3)
