"""The map of activations: principal components before UMAP."""

from tests.bench.registry import bench

SAMPLES, FEATURES, CLUSTERS = 1000, 98_304, 20
TRUST_LOSS = 0.01


@bench("imagenet.pca_umap", peer="UMAP on the raw rows", rounds=3, at_least=3)
def pca_umap():
    """1,000 x 98,304 standardised values to two dimensions; maps agree when ours is as trustworthy within 0.01."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    from tools.process_embeddings import embed, reduce

    generator = np.random.default_rng(0)
    # clusters of their own spread in a few hundred directions, and noise in all, much as layers of a network give
    directions = generator.standard_normal((300, FEATURES), dtype=np.float32)
    centres = generator.standard_normal((CLUSTERS, 300), dtype=np.float32)
    inner = centres[np.arange(SAMPLES) % CLUSTERS] + 0.6 * generator.standard_normal((SAMPLES, 300), dtype=np.float32)
    rows = inner @ directions / 300**0.5
    rows += 0.5 * generator.standard_normal(rows.shape, dtype=np.float32)
    rows = reduce.fit_scaler(rows)(rows)
    plain = reduce.Scaler(np.zeros(FEATURES), np.ones(FEATURES))  # standardising stands outside the clock

    def fit(features):
        return embed.fit_map(features, 15, 0.1, "euclidean", 2, 42)[1]

    def as_true(ours, peer):
        trust = [embed.trustworthiness(rows, points, 15) for points in (ours, peer)]
        return trust[0] >= trust[1] - TRUST_LOSS

    def ours():
        with threadpool_limits(1, "blas"):  # the peer's distances, compiled by numba, have one thread and no BLAS
            return fit(reduce.fit_components(rows, plain, 50, 0)[1])

    return ours, lambda: fit(rows), as_true
