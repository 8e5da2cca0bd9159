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


# Neighbours as the command sought them at first: by UMAP itself, compiled in each process above 4,096 samples, and once
# more by argpartition of all distances; purity from all distances on the map.
AT_FIRST = """if True:
    import sys, numpy as np
    from tools.process_embeddings import embed, neighbours, overlap
    from tools.process_embeddings.__main__ import cli

    def fit_map(features, n_neighbors, min_dist, metric, n_components, seed, found):
        umap = embed.open_umap()
        reducer = umap.UMAP(n_neighbors=n_neighbors, min_dist=min_dist, metric=metric, n_components=n_components,
                            random_state=seed, n_jobs=1)
        with embed.warnings.catch_warnings(), embed.seeded_eigenvectors(seed):
            embed._silence()
            return reducer, np.asarray(reducer.fit_transform(features), np.float32)

    def nearest(rows, k, queries=None):
        queries = np.arange(len(rows)) if queries is None else queries
        index, distance = (np.empty((len(queries), k), kind) for kind in (np.int32, np.float32))
        for start in range(0, len(queries), 512):
            chosen = queries[start : start + 512]
            tile = embed.squared_distances(rows[chosen], rows)
            tile[np.arange(len(chosen)), chosen] = np.inf
            closest = np.argpartition(tile, k - 1, axis=1)[:, :k]
            values = np.take_along_axis(tile, closest, axis=1)
            order = np.lexsort((closest, values), axis=1)
            index[start : start + 512] = np.take_along_axis(closest, order, axis=1)
            distance[start : start + 512] = np.sqrt(np.take_along_axis(values, order, axis=1))
        return index, distance

    embed.fit_map, embed.nearest_neighbours, overlap.nearest_neighbours = fit_map, nearest, nearest
    embed.find_neighbours = lambda features, k, metric, seed: (*nearest(features, k), None)
    sys.exit(cli(sys.argv[1:]))"""


@bench("imagenet.map_5000", peer="the command with UMAP's own neighbours", rounds=1, at_least=4)
def map_5000():
    """The whole command on 5,000 samples in a process that starts cold; maps agree when trustworthy within 0.01."""
    import json
    import os
    import subprocess
    import sys
    import tempfile
    from pathlib import Path

    import numpy as np

    folder = tempfile.TemporaryDirectory()
    root, count, generator = Path(folder.name), 5000, np.random.default_rng(0)
    labels = generator.integers(0, 20, count)
    rows = generator.standard_normal((20, 512))[labels] + 0.6 * generator.standard_normal((count, 512))
    for kind in ("activations", "metadata"):
        (root / kind / "imagenet").mkdir(parents=True)
    np.save(root / "activations" / "imagenet" / "done.npy", np.ones(count, np.uint8))
    np.save(root / "activations" / "imagenet" / "midblock.npy", rows.astype(np.float32))
    records = [{"sample_id": f"sample_{number:06d}", "class_label": int(label), "batch_index": number}
               for number, label in enumerate(labels)]
    (root / "metadata" / "imagenet" / "dataset_info.json").write_text(
        json.dumps({"model_type": "imagenet", "layers": ["midblock"], "samples": records}))

    def run(*start):
        words = ["--model", "imagenet", "--data_dir", root, "--output_dir", root / "maps", "--overwrite", "--json"]
        ended = subprocess.run([sys.executable, *start, *map(str, words)], check=True, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[2],
                               env=os.environ | {"OMP_NUM_THREADS": "2"})
        return json.loads(ended.stdout)["results"]["trustworthiness"]

    def as_true(ours, peer):
        return folder.name and ours >= peer - TRUST_LOSS  # the folder lives as long as this

    return lambda: run("-m", "tools.process_embeddings"), lambda: run("-c", AT_FIRST), as_true
