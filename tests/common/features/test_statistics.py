"""Files of statistics: every published kind read, ours read by clean-fid, malformed ones refused in one line."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

from common.errors import InputError
from common.features.comparable import check_comparable
from common.features.statistics import (
    Statistics,
    frechet,
    read_statistics,
    statistics_of_rows,
    write_features,
    write_statistics,
)
from common.metrics.frechet import FeatureStatistics, frechet_distance
from tests.common.metrics.distances import frechet_distance_of_rows

WIDTH = 12


def features(count, seed, width=WIDTH):
    mixing = np.random.default_rng(9).standard_normal((width, width))
    return (np.random.default_rng(seed).standard_normal((count, width)) @ mixing + 3).astype(np.float32)


ROWS = features(50, 1)
MU, SIGMA = ROWS.mean(axis=0, dtype=float), np.cov(ROWS.astype(float), rowvar=False)


def clean_fid_file(path, rows):
    """As make_custom_stats does: float32 mean of float32 rows, numpy's covariance, compressed."""
    np.savez_compressed(path, mu=np.mean(rows, axis=0), sigma=np.cov(rows, rowvar=False))


def edm2_file(path, protocol=pickle.DEFAULT_PROTOCOL):
    entry = {"mu": MU, "sigma": SIGMA}
    path.write_bytes(pickle.dumps({"num_images": 50, "fid": entry, "fd_dinov2": {"mu": MU * 2, "sigma": SIGMA * 4}},
                                  protocol))


WRITERS = {
    "clean-fid.npz": lambda path: clean_fid_file(path, ROWS),
    "pytorch-fid.npz": lambda path: np.savez_compressed(path, mu=MU, sigma=SIGMA),
    "edm.npz": lambda path: np.savez(path, mu=MU, sigma=SIGMA),
    "edm2.pkl": edm2_file,
    "edm2_protocol_0.pkl": lambda path: edm2_file(path, 0),
    "x_clean_custom_na_kid.npz": lambda path: np.savez_compressed(path, feats=ROWS),
    "dataset_stat.npz": lambda path: np.savez(path, pool_3=ROWS, logit=ROWS[:, :5]),
    "cifar10_stats.npz": lambda path: np.savez(path, pool_3=ROWS),
    "features.npy": lambda path: np.save(path, ROWS),
    "columns_first.npy": lambda path: np.save(path, np.asfortranarray(ROWS)),
    "ours.npz": lambda path: write_statistics(path, statistics_of_rows([ROWS], WIDTH)),
    "ours_kid.npz": lambda path: write_features(path, ROWS, {"extractor": "inception"}),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_gives_mean_and_covariance(tmp_path, name):
    WRITERS[name](tmp_path / name)
    with read_statistics(tmp_path / name, width=WIDTH) as statistics:
        np.testing.assert_allclose(statistics.mean, MU, rtol=1e-6 if name == "clean-fid.npz" else 1e-12)
        np.testing.assert_allclose(statistics.covariance, SIGMA, rtol=1e-9, atol=1e-12)
        assert statistics.mean.dtype == statistics.covariance.dtype == np.float64
        assert statistics.count == (None if name in ("clean-fid.npz", "pytorch-fid.npz", "edm.npz") else 50)
        if statistics.features is not None:
            np.testing.assert_array_equal(statistics.features[3:7], ROWS[3:7])
        if name == "dataset_stat.npz":
            np.testing.assert_array_equal(statistics.logits[:], ROWS[:, :5])


@pytest.mark.parametrize("names", [("mu", "m", "sigma"), ("mean", "mu", "cov"), ("mu", "sigma", "s")])
@pytest.mark.parametrize("suffix", [".npz", ".pkl"])
def test_statistics_under_two_names_are_refused(tmp_path, names, suffix):
    path = tmp_path / f"both{suffix}"
    arrays = {name: SIGMA if name in ("sigma", "s", "cov") else MU for name in names}
    np.savez(path, **arrays) if suffix == ".npz" else path.write_bytes(pickle.dumps(arrays))
    with pytest.raises(InputError, match="are two names of the same statistics"):
        read_statistics(path)


def test_the_metric_of_an_edm2_pickle_can_be_chosen(tmp_path):
    edm2_file(tmp_path / "edm2.pkl")
    np.testing.assert_array_equal(read_statistics(tmp_path / "edm2.pkl", metric="fd_dinov2").covariance, SIGMA * 4)


@pytest.mark.filterwarnings("ignore:The `disp` argument:DeprecationWarning")  # of clean-fid's call of sqrtm
def test_our_file_serves_clean_fid_and_keeps_float64_and_meta(tmp_path):
    from tests.common.torchvision_guard import import_torchvision

    import_torchvision()
    from cleanfid.fid import frechet_distance as clean_fid_distance

    sides = [statistics_of_rows([rows], WIDTH, {"extractor": "inception", "resize": "clean"})
             for rows in (ROWS, features(70, 2))]
    for number, side in enumerate(sides):
        write_statistics(tmp_path / f"{number}.npz", side, {"weights": "abc"})
    ours = [read_statistics(tmp_path / f"{number}.npz") for number in range(2)]
    files = [np.load(tmp_path / f"{number}.npz", allow_pickle=False) for number in range(2)]
    assert [files[0][key].dtype for key in ("mu", "sigma")] == [np.float32, np.float64]
    theirs = clean_fid_distance(files[0]["mu"], files[0]["sigma"], files[1]["mu"], files[1]["sigma"])
    assert frechet(*ours) == pytest.approx(theirs, rel=1e-6)
    assert frechet(*ours) == frechet(*sides)
    assert ours[0].meta == {"extractor": "inception", "resize": "clean", "weights": "abc"}
    assert json.loads(str(files[0]["meta"])) == {**ours[0].meta, "count": 50, "width": WIDTH}
    assert ours[0].count == 50
    np.testing.assert_array_equal(ours[0].mean, sides[0].mean)
    for number, rows in enumerate((ROWS, features(70, 2))):
        clean_fid_file(tmp_path / f"clean{number}.npz", rows)
    written = [read_statistics(tmp_path / f"clean{number}.npz") for number in range(2)]
    assert frechet(*written) == pytest.approx(theirs, rel=1e-6)


def test_writing_is_uncompressed_deterministic_and_streams_rows(tmp_path):
    with_rows = Statistics(features=ROWS)
    write_statistics(tmp_path / "a.npz", with_rows)
    write_statistics(tmp_path / "b.npz", with_rows)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert (tmp_path / "a.npz").stat().st_size > SIGMA.nbytes
    np.save(tmp_path / "rows.npy", ROWS.astype(np.float64))
    with read_statistics(tmp_path / "rows.npy") as stored:
        write_features(tmp_path / "kid.npz", stored.features)
    assert np.load(tmp_path / "kid.npz")["feats"].dtype == np.float32
    np.testing.assert_array_equal(np.load(tmp_path / "kid.npz")["feats"], ROWS)


def test_statistics_of_blocks_and_of_merged_parts_are_those_of_the_whole():
    blocks = (ROWS[start : start + 7] for start in range(0, 50, 7))
    whole = statistics_of_rows(blocks, WIDTH)
    assert whole.count == 50
    np.testing.assert_allclose(whole.covariance, SIGMA, rtol=1e-9, atol=1e-12)
    total, rest = FeatureStatistics(WIDTH), FeatureStatistics(WIDTH)
    total.add(ROWS[:20])
    rest.add(ROWS[20:])
    total.merge(rest)
    assert total.count == 50
    np.testing.assert_allclose(total.mean, MU, rtol=1e-12)
    np.testing.assert_allclose(total.covariance(), SIGMA, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("count1", "count2"), [(50, 40), (9, 40), (40, 9), (9, 8), (12, 13)])
def test_distance_takes_rows_or_moments_and_agrees(count1, count2):
    rows = features(count1, 1), features(count2, 2)
    expected = frechet_distance_of_rows(*rows)
    moments = [statistics_of_rows([side], WIDTH) for side in rows]
    lazy = [Statistics(features=side) for side in rows]
    for pair in (lazy, (lazy[0], moments[1]), (moments[0], lazy[1])):
        assert frechet(*pair) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(moments[0].mean, moments[0].covariance, moments[1].mean,
                            moments[1].covariance) == pytest.approx(expected, rel=1e-6)


def test_comparison_of_meta():
    def side(path=None, rows=ROWS, **meta):
        return Statistics(features=rows, meta=meta, path=path)

    assert check_comparable(side(extractor="a", resize="clean"), side(extractor="a", resize="clean")) == []
    notes = check_comparable(side("one.npz", extractor="a"),
                             side("two.npz", extractor="a", resize="clean", weights="x"))
    assert notes == ["resize of one.npz is unknown: assumed equal"]
    for other, what in (({"extractor": "b"}, "one.npz has extractor a, two.npz b"),
                        ({"extractor": "a", "resize": "fast"}, "resize clean, two.npz fast")):
        with pytest.raises(InputError, match=what):
            check_comparable(side("one.npz", extractor="a", resize="clean"), side("two.npz", **other))
    (note,) = check_comparable(side("one.npz", extractor="a", resize="clean"),
                               side("two.npz", extractor="a", resize="fast"), allow=("resize",))
    assert "one.npz has resize clean, two.npz fast" in note
    (note,) = check_comparable(side(extractor="a", resize="c", weights="1"),
                               side(extractor="a", resize="c", weights="2"))
    assert "weights" in note
    with pytest.raises(InputError, match="one.npz has 12 features, two.npz 5"):
        check_comparable(side("one.npz"), side("two.npz", ROWS[:, :5]))


def test_qc_ncsn_names_its_feature_space(tmp_path):
    np.savez(tmp_path / "stat.npz", pool_3=ROWS, features=np.array("small-features-v1"))
    assert read_statistics(tmp_path / "stat.npz").meta == {"extractor": "small-features-v1", "resolution": [0]}
    np.savez(tmp_path / "stat.npz", pool_3=ROWS, features=np.array("inception-clean"))
    told = read_statistics(tmp_path / "stat.npz").meta
    assert (told["extractor"], told["resize"]) == ("inception", "clean")


def with_value(array, value, place=(2,)):
    array = array.copy()
    array[place] = value
    return array


class Evil:
    def __reduce__(self):
        return (print, ("run",))


BROKEN = {
    "no mu": ({"sigma": SIGMA}, "array 'mu' is not in the file, which has sigma"),
    "no sigma": ({"mu": MU}, "array 'sigma' is not in the file"),
    "nothing known": ({"a": MU, "b": MU}, "neither mu and sigma nor feats nor pool_3 are in the file, which has a, b"),
    "nothing": ({}, "which has nothing"),
    "mu wide": ({"mu": MU[None], "sigma": SIGMA}, r"'mu' is float64 \(1, 12\)"),
    "mu integer": ({"mu": np.arange(12), "sigma": SIGMA}, "'mu' is int64"),
    "sigma shape": ({"mu": MU[:7], "sigma": SIGMA}, r"'sigma' is float64 \(12, 12\), expected floats \(7, 7\)"),
    "mu NaN": ({"mu": with_value(MU, np.nan), "sigma": SIGMA}, "'mu' holds NaN"),
    "sigma NaN": ({"mu": MU, "sigma": with_value(SIGMA, np.inf, (2, 3))}, "'sigma' holds NaN"),
    "not symmetric": ({"mu": MU, "sigma": with_value(SIGMA, 99.0, (2, 3))}, "'sigma' is not symmetric"),
    "negative variance": ({"mu": MU, "sigma": with_value(SIGMA, -9.0, (2, 2))}, "non-negative variances"),
    "mu_float64": ({"mu": MU, "sigma": SIGMA, "mu_float64": MU[:3]}, r"'mu_float64' is float64 \(3,\)"),
    "meta": ({"mu": MU, "sigma": SIGMA, "meta": np.array("[1]")}, "'meta' is not a JSON object"),
    "meta count": ({"mu": MU, "sigma": SIGMA, "meta": np.array(json.dumps({"count": "x"}))}, "'count' is 'x'"),
    "feats flat": ({"feats": MU}, r"'feats' is float64 \(12,\), expected floats \(images, features\)"),
    "feats integer": ({"feats": np.ones((3, 3), int)}, "'feats' is int64"),
    "feats none": ({"feats": ROWS[:0]}, r"'feats' is float32 \(0, 12\)"),
    "feats NaN": ({"feats": with_value(ROWS, np.nan, (31, 2))}, "row 31 of 'feats' holds NaN"),
    "logits fewer": ({"pool_3": ROWS, "logit": ROWS[:9]}, "'pool_3' has 50 rows, 'logit' 9"),
    "objects": ({"mu": np.array([Evil()] * 12), "sigma": SIGMA}, "Python objects"),
    "feats objects": ({"feats": np.array([[Evil()]])}, "Python objects"),
}


def refused(path, **arguments):
    """Return the one line of the InputError that reading raises, with the file's name in it."""
    with pytest.raises(InputError) as caught:
        read_statistics(path, **arguments)
    line = str(caught.value)
    assert str(path) in line
    assert "\n" not in line
    return line


@pytest.mark.parametrize("name", BROKEN)
def test_a_malformed_npz_is_one_line(tmp_path, name):
    arrays, what = BROKEN[name]
    np.savez(tmp_path / "bad.npz", **arrays)
    path = tmp_path / "bad.npz"
    with pytest.raises(InputError, match=what):
        read_statistics(path)
    refused(path)


@pytest.mark.parametrize("value", [
    {"num_images": 5}, {"fid": {"mu": MU}}, {"fid": 3}, [1, 2], {"fid": {"mu": MU, "sigma": SIGMA[:4]}},
    {"fid": {"mu": MU, "sigma": SIGMA}, "num_images": "many"}, {"fid": {"mu": MU, "sigma": [[1.0]]}}, {"fid": Evil()},
])
def test_a_malformed_pickle_is_one_line_and_runs_nothing(tmp_path, capsys, value):
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(value))
    refused(tmp_path / "bad.pkl")
    assert capsys.readouterr().out == ""


def test_other_files_are_one_line(tmp_path):
    np.savez(tmp_path / "cut.npz", feats=ROWS)
    whole = (tmp_path / "cut.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:-300])
    place = whole.index(ROWS.tobytes()[:64])
    (tmp_path / "flipped.npz").write_bytes(whole[: place + 9] + b"?" + whole[place + 10 :])
    np.save(tmp_path / "cut.npy", ROWS)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-300])
    np.save(tmp_path / "objects.npy", np.array([[Evil()]]))
    (tmp_path / "text.txt").write_text("mu sigma")
    (tmp_path / "empty.npz").write_bytes(b"")
    edm2_file(tmp_path / "cut.pkl")
    (tmp_path / "cut.pkl").write_bytes((tmp_path / "cut.pkl").read_bytes()[:-30])
    for path in sorted(tmp_path.iterdir()):
        refused(path)
    refused(tmp_path)
    assert "no such file" in refused(tmp_path / "missing.npz")
    np.savez(tmp_path / "narrow.npz", mu=MU, sigma=SIGMA)
    assert "12 features, expected 2048" in refused(tmp_path / "narrow.npz", width=2048)
    assert "no entry 'fid_x'" in (edm2_file(tmp_path / "edm2.pkl") or refused(tmp_path / "edm2.pkl", metric="fid_x"))


def test_a_failed_write_leaves_nothing(tmp_path):
    (tmp_path / "blocked").write_text("")
    with pytest.raises(InputError, match="blocked"):
        write_statistics(tmp_path / "blocked" / "x.npz", Statistics(MU, SIGMA))
    assert [path.name for path in tmp_path.iterdir()] == ["blocked"]


def test_reading_imports_no_torch():
    modules = "common.features.statistics, common.metrics.intervals, common.metrics.kid"
    code = f"import sys, {modules}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_no_covariance_is_refused(tmp_path):
    """Symmetric, with positive variances, and with correlations beyond 1."""
    np.savez(tmp_path / "broken.npz", mu=np.zeros(4), sigma=np.full((4, 4), 3.0) - 2.0 * np.eye(4))
    with pytest.raises(InputError, match="larger than their variances allow"):
        read_statistics(tmp_path / "broken.npz")


def test_a_space_with_one_resize_has_no_note_on_it():
    sides = [Statistics(features=ROWS, meta={"extractor": "small"}) for _ in range(2)]
    assert check_comparable(*sides) == []
