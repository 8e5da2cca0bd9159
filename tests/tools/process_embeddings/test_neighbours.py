"""Exact neighbours, which UMAP gets, too: in every metric, with ties, far from the origin, in bounded memory."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from tests.tools.commands import ROOT
from tools.process_embeddings import embed, neighbours
from tools.process_embeddings.neighbours import LOOPS, PRODUCTS, Search, nearest_neighbours


def rows_of(count, width, seed=0):
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((5, width)) * 3
    return (centres[np.arange(count) % 5] + generator.standard_normal((count, width))).astype(np.float32)


def by_definition(rows, k):
    """Return (index, distance) from all differences in float64, ties by index."""
    rows = rows.astype(np.float64)
    distance = np.sqrt(((rows[:, None] - rows) ** 2).sum(2))
    np.fill_diagonal(distance, np.inf)
    index = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return index, np.take_along_axis(distance, index, axis=1)


@pytest.mark.parametrize("count", [4, 31, 33, 300, 700])
@pytest.mark.parametrize("width", [2, 3, 10])
def test_A19_neighbours_are_exact(count, width):
    rows = rows_of(count, width)
    index, distance = nearest_neighbours(rows, 14)
    wanted = by_definition(rows, min(14, count - 1))
    assert np.array_equal(index, wanted[0])
    np.testing.assert_allclose(distance, wanted[1], rtol=1e-6)
    some = np.array([count - 1, 0])
    assert np.array_equal(nearest_neighbours(rows, 3, some)[0], wanted[0][some, :3])


@pytest.mark.parametrize("width", [2, 8])
def test_A19_rows_that_are_equal_are_neighbours_at_0_and_none_is_its_own(width):
    rows = np.repeat(rows_of(12, width), 40, axis=0)
    index, distance = nearest_neighbours(rows, 14)
    assert np.all(distance == 0)
    assert np.all(index // 40 == np.arange(480)[:, None] // 40)
    assert not np.any(index == np.arange(480)[:, None])
    assert all(len(set(row)) == 14 for row in index.tolist())


def test_A19_small_differences_far_apart_are_not_lost_to_rounding():
    """Two islands 1e5 apart whose points differ by 1e-2: the squares take all of float32's digits."""
    rows = rows_of(400, 6).astype(np.float64) * 1e-2
    rows[200:] += 1e5
    rows = rows.astype(np.float32)
    index, distance = nearest_neighbours(rows, 8)
    wanted = by_definition(rows, 8)
    np.testing.assert_allclose(distance, wanted[1], rtol=1e-5, atol=1e-9)
    assert np.array_equal(index // 200, np.repeat(np.arange(400)[:, None] // 200, 8, axis=1))


def test_A19_values_beyond_the_squares_of_float32_have_neighbours():
    rows = rows_of(200, 5) * np.float32(1e30)
    assert np.array_equal(nearest_neighbours(rows, 5)[0], by_definition(rows, 5)[0])


@pytest.mark.parametrize("metric", sorted({*PRODUCTS, *LOOPS}))
def test_A18_distances_are_those_of_umap(metric):
    from umap.distances import named_distances

    rows = rows_of(60, 5)
    rows[7], rows[8], rows[9] = 0, 0, 2  # no direction; no correlation
    index, distance = Search(rows, metric).around(59)
    for row in (0, 7, 9, 20):
        wanted = [named_distances[metric](rows[row], rows[other]) for other in index[row]]
        np.testing.assert_allclose(distance[row], wanted, rtol=1e-4, atol=2e-6)
        assert np.all(np.diff(distance[row]) >= 0)
    more = rows_of(3, 5, seed=4)
    found = Search(rows, metric).query(more, 4)
    wanted = np.sort([[named_distances[metric](row, other) for other in rows] for row in more], axis=1)[:, :4]
    np.testing.assert_allclose(found[1], wanted, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan"])
def test_A18_umap_makes_the_graph_that_it_makes_by_itself(metric):
    """The same neighbours, so the same memberships; nothing is left to UMAP's pairs of Python calls."""
    import umap

    rows = rows_of(160, 6)
    ours, _ = embed.fit_map(rows, 9, 0.1, metric, 2, 42)
    own = umap.UMAP(n_neighbors=9, metric=metric, random_state=42, n_jobs=1, n_epochs=2).fit(rows)
    np.testing.assert_allclose(ours.graph_.toarray(), own.graph_.toarray(), atol=2e-3)


def test_A18_more_points_are_projected_and_equal_seeds_give_equal_maps():
    rows, more = rows_of(160, 6), rows_of(40, 6, seed=1)
    (first, embedding), (_, again) = (embed.fit_map(rows, 9, 0.1, "euclidean", 2, 42) for _ in range(2))
    assert np.array_equal(embedding, again)
    assert embed.trustworthiness(rows, embedding, 9) > 0.9
    placed = embed.project_into(first, more)
    nearest = ((placed[:, None] - embedding) ** 2).sum(2).argmin(1)
    features = ((more[:, None] - rows) ** 2).sum(2)
    share = np.mean([features[number].argsort()[:20].tolist().count(near) for number, near in enumerate(nearest)])
    assert share > 0.5  # of the points the nearest in the map is among the 20 nearest


def test_A19_memory_grows_with_the_rows_and_not_with_their_pairs(monkeypatch):
    """Half a MB of distances; then copies of the rows in float64 and float32 and what is returned: 1.6 kB a row."""
    monkeypatch.setattr(neighbours, "TILE_BYTES", 1 << 19)
    peaks = []
    for count in (4000, 8000):
        rows = rows_of(count, 50)
        tracemalloc.start()
        nearest_neighbours(rows, 14)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2.1 * peaks[0]  # of pairs it would be four times
    assert peaks[1] < 2e7


@pytest.mark.long
def test_A17_above_4096_samples_a_second_process_compiles_nothing():
    code = """if True:
        import numba.core.event as event, numpy as np, umap  # which compiles two small functions whenever imported
        from tools.process_embeddings import embed
        class Count(event.Listener):
            names = []
            def on_start(self, happened): self.names.append(str(happened.data["dispatcher"].py_func.__qualname__))
            def on_end(self, happened): pass
        event.register("numba:compile", count := Count())
        rows = np.random.default_rng(0).standard_normal((4200, 5)).astype(np.float32)
        reducer, _ = embed.fit_map(rows, 5, 0.1, "euclidean", 2, 0)
        embed.project_into(reducer, rows[:5] + 1)
        print(sorted(set(count.names)))"""
    embed.compile_ahead()
    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, check=True, capture_output=True,
                           text=True)
    assert ended.stdout.strip() == "[]"
