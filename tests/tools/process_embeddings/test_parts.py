"""The parts of process_embeddings: scaler, components, neighbours, trustworthiness, overlap, atlas, columns."""

import base64
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from common.errors import InputError
from common.files import read_json, write_json
from tests.readers.interval_kinds import map_of
from tests.tools.commands import ROOT, environment
from tools.process_embeddings import embed, maps, overlap, reduce
from tools.process_embeddings.atlas import make_atlas
from tools.process_embeddings.classes import find_classes
from tools.process_embeddings.columns import encode_column
from tools.process_embeddings.compiled import open_umap
from tools.process_embeddings.write import write_table


class CountedRows:
    """Float16 rows made when asked for, of a few directions and noise; counts how often each is read."""

    cheap = True

    def __init__(self, count, width, rank=6):
        self.shape, self.reads = (count, width), 0
        self.directions = np.random.default_rng(0).standard_normal((rank, width), dtype=np.float32)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, span):
        start, stop, _ = span.indices(len(self))
        self.reads += stop - start
        inner = np.stack([np.random.default_rng(row).standard_normal(len(self.directions) + 1, dtype=np.float32)
                          for row in range(start, stop)])
        noise = np.random.default_rng([start, stop]).standard_normal((stop - start, self.shape[1]), dtype=np.float32)
        return (inner[:, :-1] * np.arange(len(self.directions), 0, -1) @ self.directions
                + 0.1 * noise).astype(np.float16).astype(np.float32)


def test_scaler_is_that_of_scikit_learn_over_blocks(monkeypatch):
    from sklearn.preprocessing import StandardScaler

    rows = np.random.default_rng(0).standard_normal((200, 30)).astype(np.float32) * 5 + 100
    rows[:, 3] = 7.25
    monkeypatch.setattr(reduce, "BLOCK_BYTES", 30 * 4 * 17)
    ours, theirs = reduce.fit_scaler(rows), StandardScaler().fit(rows)
    np.testing.assert_allclose(ours.mean, theirs.mean_, rtol=1e-12)
    np.testing.assert_allclose(ours.scale, theirs.scale_, rtol=1e-9)
    assert ours.scale[3] == 1
    np.testing.assert_allclose(ours(rows), theirs.transform(rows), atol=2e-5)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(("count", "width"), [(40, 9000), (300, 60), (700, 3000)])
def test_components_are_those_of_the_full_decomposition(count, width, exact, monkeypatch):
    monkeypatch.setattr(reduce, "BLOCK_BYTES", width * 4 * 33)
    monkeypatch.setattr(reduce, "CACHED_BYTES", width * 4 * 300)
    monkeypatch.setattr(reduce, "EXACT", 2048 if exact else 10)
    rows = CountedRows(count, width)[0:count]
    scaler = reduce.fit_scaler(rows)
    components, coordinates = reduce.fit_components(rows, scaler, 6, seed=0)
    u, s, _ = np.linalg.svd(scaler(rows), full_matrices=False)
    close = 1e-5 if exact else 2e-3
    np.testing.assert_allclose(components.variance, s[:6] ** 2 / (count - 1), rtol=close)
    np.testing.assert_allclose(components.ratio, s[:6] ** 2 / (s**2).sum(), rtol=close)
    assert np.abs(np.abs((coordinates / np.linalg.norm(coordinates, axis=0) * u[:, :6]).sum(0)) - 1).max() < close
    np.testing.assert_allclose(components(scaler(rows)), coordinates, atol=close * np.abs(coordinates).max())


def test_few_rows_keep_components_far_below_the_first(monkeypatch):
    """Singular values over four decades, where the products between rows have eight."""
    monkeypatch.setattr(reduce, "CACHED_BYTES", 3000 * 4 * 60)
    random, scale = np.random.default_rng(0), np.geomspace(1, 1e-4, 20)
    left, right = (np.linalg.qr(random.standard_normal((size, 20)))[0] for size in (150, 3000))
    rows = (left * scale @ right.T).astype(np.float32)
    components, _ = reduce.fit_components(rows, reduce.Scaler(np.zeros(3000), np.ones(3000)), 20, seed=0)
    np.testing.assert_allclose(components.variance, scale**2 / 149, rtol=1e-4)
    np.testing.assert_allclose(components.axes @ components.axes.T, np.eye(20), atol=1e-5)


def test_the_same_seed_gives_the_same_components():
    rows = CountedRows(2100, 2100)
    scaler = reduce.fit_scaler(rows)
    first, second = (reduce.fit_components(rows, scaler, 5, seed=3) for _ in range(2))
    assert np.array_equal(first[1], second[1])
    assert np.array_equal(first[0].axes, second[0].axes)


@pytest.mark.long
def test_memory_does_not_grow_with_the_number_of_rows(monkeypatch):
    """Peaks of 1,000 and 3,000 rows of 4,096 (16 and 49 MB) in blocks of 1 MB."""
    monkeypatch.setattr(reduce, "BLOCK_BYTES", 1 << 20)
    monkeypatch.setattr(reduce, "EXACT", 500)
    peaks = []
    for count in (1000, 3000):
        rows = CountedRows(count, 4096)
        tracemalloc.start()
        scaler = reduce.fit_scaler(rows)
        reduce.fit_components(rows, scaler, 10, seed=0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert rows.reads <= (reduce.MAX_PASSES + 2) * count
    assert peaks[1] < peaks[0] + 2e6
    assert peaks[1] < 25e6


@pytest.mark.long
def test_memory_of_an_exact_decomposition_is_that_of_the_rows_held(monkeypatch):
    """500 rows of 16,384 are 33 MB, the basis and its copies 10 MB, the products between rows 2 MB."""
    monkeypatch.setattr(reduce, "BLOCK_BYTES", 1 << 20)
    monkeypatch.setattr(reduce, "CACHED_BYTES", 1 << 21)
    rows, scaler = CountedRows(500, 16384), reduce.Scaler(np.zeros(16384), np.ones(16384))
    tracemalloc.start()
    reduce.fit_components(rows, scaler, 5, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
    assert rows.reads <= 12 * 500


def test_rows_of_files_are_read_once_and_kept_on_disk_where_memory_is_short(tmp_path):
    rows = CountedRows(50, 40)
    rows.cheap = False
    kept = reduce.cache_rows(rows, tmp_path, low_memory=True)
    assert rows.reads == 50
    assert np.array_equal(kept[7:31], CountedRows(50, 40)[0:50][7:31])
    assert not list(tmp_path.iterdir())  # the file has no name
    assert isinstance(reduce.cache_rows(rows, tmp_path), np.ndarray)


def test_trustworthiness_is_that_of_scikit_learn():
    from sklearn.manifold import trustworthiness

    rows = np.random.default_rng(0).standard_normal((700, 10)).astype(np.float32)
    for width in (2, 5):
        assert abs(embed.trustworthiness(rows, rows[:, :width], 15)
                   - trustworthiness(rows, rows[:, :width], n_neighbors=15)) < 1e-9


def test_equal_points_have_no_trustworthiness():  # field fault A4: it was 1
    rows = np.ones((40, 3), np.float32)
    assert embed.trustworthiness(rows, np.random.default_rng(0).normal(size=(40, 2)), 15) is None


def test_trustworthiness_of_many_points_is_an_estimate_of_the_same(monkeypatch):
    rows = np.random.default_rng(0).standard_normal((1500, 6)).astype(np.float32)
    whole = embed.trustworthiness(rows, rows[:, :3], 15)
    monkeypatch.setattr(embed, "TRUST_QUERIES", 400)
    assert abs(embed.trustworthiness(rows, rows[:, :3], 15) - whole) < 0.01


def test_auc_is_that_of_scikit_learn_and_its_interval_covers():
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(0)
    low, high = generator.integers(0, 9, 60), generator.integers(2, 12, 50)
    assert overlap.auc(low, high) == pytest.approx(roc_auc_score([0] * 60 + [1] * 50, [*low, *high]))
    same = overlap.classifier_auc(generator.standard_normal((150, 5)), generator.standard_normal((130, 5)), 0, 100)
    assert same[1] < 0.55
    assert same[1] < same[0] < same[2]
    shifted = overlap.classifier_auc(generator.standard_normal((150, 5)), generator.standard_normal((130, 5)) + 1, 0,
                                     100)
    assert shifted[1] > 0.9


def test_wilson_is_the_textbook_interval():
    share, low, high = overlap.wilson(8, 10)
    assert (share, round(low, 4), round(high, 4)) == (0.8, 0.4902, 0.9433)


def test_coverage_is_that_of_the_metric():
    from common.metrics.prdc import prdc

    generator = np.random.default_rng(0)
    real = generator.standard_normal((120, 6)).astype(np.float32)
    fake = generator.standard_normal((60, 6)).astype(np.float32) + 0.7
    assert overlap.coverage(real, fake) == pytest.approx(prdc(real, fake, 5)["coverage"], abs=0.01)


def test_atlas_keeps_its_bound_and_names_what_it_cannot_read(tmp_path):
    paths = []
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 48, 3), dtype=np.uint8)
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    paths[7].write_bytes(b"broken")
    whole, bound = make_atlas(paths, 10**7), make_atlas(paths, 20_000)
    assert (whole.cell, len(whole.place), whole.unreadable) == (64, 39, [str(paths[7])])
    assert sum(map(len, bound.sheets)) <= 20_000
    assert 0 < len(bound.place) <= 40
    assert make_atlas([], 10**6).sheets == []


def test_columns_travel_as_what_they_are():
    assert encode_column(["a", "a"]) == {"kind": "constant", "value": "a"}
    assert encode_column([1, 2, None])["kind"] == "number"
    assert encode_column([1, 2])["whole"]
    assert encode_column(["007", "8"])["kind"] == "text"  # an id, not a number
    assert encode_column(["a", "b", "a"])["words"] == ["a", "b"]
    assert encode_column(["nan", "1"])["kind"] == "text"


@pytest.mark.parametrize("value", [588848899891200431, "1.10", "1_000", "+1", " 1", "1e5", "٣", "-0", 2**53 + 1,
                                   "9" * 5000, "1e999"])
def test_A3_what_its_number_would_not_give_back_stays_text(value):
    assert encode_column([value, 2])["words"] == [str(value), "2"]
    assert "values" not in encode_column([value, 2])


def test_A3_numbers_are_float64_and_mixed_ones_keep_their_texts():
    decoded = np.frombuffer(base64.b64decode(encode_column([0.1234567890123, 2.5])["data"]), "<f8")
    assert decoded.tolist() == [0.1234567890123, 2.5]
    assert not encode_column([80.0, 1e-5])["whole"]
    mixed = encode_column([1, 2.5, 1])
    assert (mixed["kind"], mixed["words"]) == ("text", ["1", "2.5"])
    assert np.frombuffer(base64.b64decode(mixed["values"]), "<f8").tolist() == [1, 2.5]
    assert encode_column([True, 1])["words"] == ["True", "1"]  # as the table has it


def test_a_field_named_as_a_column_of_the_map_is_kept_beside_it(tmp_path):
    path = tmp_path / "table.csv"
    records = [{"set": "train", "umap_x": 5}, {"set": "test", "umap_x": 6}]
    write_table(path, records, np.zeros((2, 2), np.float32), ["a", "b"])
    assert path.read_text().splitlines()[:2] == ["record_set,record_umap_x,set,umap_x,umap_y", "train,5,a,0.0,0.0"]


def test_classes_have_names_or_numbers():
    def name_of(record, names=None):
        return find_classes([record], names).names[0]

    assert name_of({"class_label": 3, "class_name": "kit_fox"}) == "kit fox"
    assert name_of({"class_label": 3}, {"3": "grey_fox"}) == "grey fox"
    assert name_of({"class_label": 3}) == "class 3"
    assert name_of({}) == "no class"


def test_A1_classes_of_one_name_stay_two():
    """A name is shown; a class is its number, in a real set with names and a generated one without."""
    bird, machine = ({"class_label": number, "synset_id": synset, "class_name": "crane"}
                     for number, synset in ((134, "n02012849"), (517, "n03126707")))
    found = find_classes([machine, bird, {"class_label": 134}, {"class_label": "517"}])
    assert found.names == ["crane (134)", "crane (517)"]
    assert found.of.tolist() == [1, 0, 0, 1]
    by_synset = find_classes([{"synset_id": synset, "class_name": "maillot"} for synset in ("n1", "n2")])
    assert by_synset.names == ["maillot (n1)", "maillot (n2)"]
    one_number = find_classes([{**bird, "class_label": 1}, {**machine, "class_label": 1}, {"class_label": 1}])
    assert len(set(one_number.of.tolist())) == 3
    assert len(set(one_number.names)) == 3


def test_A1_class_purity_is_of_numbers_and_of_samples_that_have_one():
    points = np.repeat([[0.0, 0], [9, 9]], 20, axis=0) + np.random.default_rng(0).normal(size=(40, 2))
    records = [{"class_label": number, "class_name": "crane"} for number in np.repeat([134, 517], 20).tolist()]
    assert overlap.class_purity(points, find_classes(records), 5) == 1
    assert overlap.class_purity(points[:20], find_classes(records[:20]), 5) is None
    assert overlap.class_purity(np.repeat(points, 2, axis=0), find_classes([*records, *[{}] * 40]), 5) is not None
    assert overlap.class_purity(points, find_classes([{}] * 40), 5) is None


def test_a_map_leaves_torch_its_threads():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        embed.fit_map(np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32), 5, 0.1, "euclidean", 2, 0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_compiled_functions_are_kept():
    umap = open_umap()
    assert umap.umap_.smooth_knn_dist._cache.cache_path


@pytest.mark.long
def test_without_a_place_for_compiled_functions_they_are_compiled_in_each_process(tmp_path):
    code = """if True:
        from numba.core import caching
        for kind in (caching.InTreeCacheLocator, caching.UserWideCacheLocator):
            kind.from_function = classmethod(lambda *_: None)  # as where neither folder can be written
        from tools.process_embeddings.compiled import open_umap
        print(open_umap().umap_.smooth_knn_dist._cache.cache_path)
    """
    variables = {**environment(), "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    variables.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) in done.stdout
    assert "set NUMBA_CACHE_DIR" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_a_map_of_islands_is_the_same_in_every_process():
    code = """if True:
        import hashlib, numpy as np
        from tools.process_embeddings.embed import fit_map
        rng = np.random.default_rng(0)
        points = (np.repeat(np.eye(7, 12) * 50, 25, axis=0) + rng.normal(size=(175, 12))).astype(np.float32)
        print(hashlib.sha256(fit_map(points, 8, 0.1, "euclidean", 2, 42)[1].tobytes()).hexdigest())"""
    outputs = {subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, check=True, capture_output=True,
                              text=True).stdout
               for _ in range(2)}
    assert len(outputs) == 1


@pytest.mark.parametrize(("name", "value"), [
    ("sets", None), ("sets", 3), ("sets", []), ("sets", [{"name": 1, "root": ".."}]), ("title", 5), ("results", []),
    ("results", {"num_samples": 4}), ("class_names", "a")])
def test_a_map_whose_description_is_damaged_is_refused(name, value, tmp_path):
    path = map_of("m.json")(tmp_path)
    assert len(maps.read_map(path)[1]) == 4
    description = read_json(path)
    description["map"][name] = value
    write_json(path, description)
    with pytest.raises(InputError, match="not the description of a map that matches its table"):
        maps.read_map(path)


@pytest.mark.parametrize(("name", "value"), [
    ("neighbours", np.full((4, 2), 9)), ("neighbours", np.zeros((4, 2))), ("distances", np.zeros((4, 3))),
    ("set", np.full(4, 1)), ("set", np.zeros(3, int)), ("embedding", np.zeros(4))])
def test_a_map_whose_arrays_are_damaged_is_refused(name, value, tmp_path):
    path = map_of("m.json")(tmp_path)
    arrays = dict(np.load(path.with_suffix(".npz")))
    np.savez(path.with_suffix(".npz"), **{**arrays, name: value})
    with pytest.raises(InputError, match="not the description of a map that matches its table"):
        maps.read_map(path)
