"""qc_ncsn eval encode, fidis, prdc, nfe on small work folders: figures, records, resumption, and every input error."""

import csv
import json
import tracemalloc

import numpy as np
import pytest

from common.datasets import open_dataset
from common.errors import InputError
from common.features.small_features import small_features
from common.features.statistics import read_statistics
from common.files import write_npz
from common.metrics.prdc import prdc
from tests.common.metrics.distances import frechet_distance_of_rows, inception_score_of
from tests.readers.interval_kinds import stored_scores
from tools.qc_ncsn.evaluate import encode as eval_encode
from tools.qc_ncsn.evaluate import stored_scores as eval_samples
from tools.qc_ncsn.evaluate.stored import read_asym, read_nll

COMMANDS = {"encode": eval_encode.cli, "fidis": eval_samples.cli_fidis, "prdc": eval_samples.cli_prdc,
            "nfe": eval_samples.cli_nfe}


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def work(tmp_path):
    """A work folder with 33 digits in four sample files, two of them numbered so that text order is not their order."""
    images = open_dataset("digits", "test").read(np.arange(33))
    folder = tmp_path / "results" / "run"
    for start, name in ((0, "0/samples_2"), (9, "0/samples_10"), (18, "9/samples_0"), (27, "10/samples_0")):
        write_npz(folder / "eval_sampling" / f"{name}.npz", samples=images[start : start + 9][:9],
                  nfe=np.int64(100 + start))
    return folder


@pytest.fixture
def encoded(tmp_path):
    """A work folder as the original leaves it: pool_3 and logit, more generated than real."""
    generator = np.random.default_rng(0)
    for name, count in (("generated", 70), ("dataset", 60)):
        arrays = {"pool_3": generator.standard_normal((count, 16)), "logit": 2 * generator.standard_normal((count, 10))}
        path = tmp_path / "results" / "run" / "stat" / f"{name}_stat.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{key: array.astype(np.float32) for key, array in arrays.items()})
    return path.parent


def run(capsys, command, *words, status=0):
    """Run a command with --json and return its object, or with another status its line on stderr."""
    assert COMMANDS[command]([*words, "--workdir", "run", "--json"]) == status
    captured = capsys.readouterr()
    if status == 0:
        return json.loads(captured.out)
    assert captured.out == ""
    (line,) = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    return line


def arrays(path):
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


def test_features_are_those_of_the_samples_in_numeric_order(capsys, work):
    results = run(capsys, "encode")["results"]
    stored = arrays(work / "stat" / "generated_stat.npz")
    expected = small_features(open_dataset("digits", "test").read(np.arange(33)))
    np.testing.assert_allclose(stored["pool_3"], expected, atol=2e-6)
    assert (results["num_generated"], str(stored["features"])) == (33, "small-features-v1")
    record = json.loads((work / "stat" / "run.json").read_text())
    assert (record["status"], record["results"]["features"]) == ("done", "small-features-v1")


def test_features_do_not_depend_on_the_batch_size(capsys, work):
    path = work / "stat" / "generated_stat.npz"
    run(capsys, "encode")
    whole = arrays(path)["pool_3"]
    run(capsys, "encode", "--bs", "2", "--overwrite")
    np.testing.assert_allclose(arrays(path)["pool_3"], whole, atol=2e-6)


def test_same_command_skips_and_changed_samples_are_encoded_anew(capsys, work):
    path = work / "stat" / "generated_stat.npz"
    run(capsys, "encode")
    first = path.stat().st_mtime_ns
    run(capsys, "encode")
    assert path.stat().st_mtime_ns == first
    write_npz(work / "eval_sampling" / "11" / "samples_0.npz", samples=np.zeros((4, 8, 8, 1), np.uint8),
              nfe=np.int64(1))
    assert run(capsys, "encode")["results"]["num_generated"] == 37
    assert len(arrays(path)["pool_3"]) == 37


def test_small_features_are_never_called_fid(capsys, work):
    run(capsys, "encode", "--encode_dataset", "--dataset", "digits", "--bs", "700")
    record = run(capsys, "fidis")
    results = record["results"]
    stat = work / "stat"
    expected = frechet_distance_of_rows(*(arrays(stat / f"{name}_stat.npz")["pool_3"]
                                                for name in ("generated", "dataset")))
    assert results["frechet_distance"] == pytest.approx(expected, rel=1e-6)
    assert results["features"] == "small-features-v1"
    assert not {"fid", "inception_score"} & set(results)
    table = (work / "eval_fidis" / "fidis.csv").read_text()
    assert "Frechet distance in small-features-v1" in table
    assert "FID" not in table
    assert results["num_dataset"] == 1500


def test_fid_and_inception_score_of_the_first_rows(capsys, encoded):
    generated, dataset = (arrays(encoded / f"{name}_stat.npz") for name in ("generated", "dataset"))
    results = run(capsys, "fidis")["results"]
    assert results["fid"] == pytest.approx(frechet_distance_of_rows(generated["pool_3"][:60], dataset["pool_3"]),
                                           rel=1e-9)
    assert results["inception_score"] == pytest.approx(inception_score_of(generated["logit"][:60])[0], rel=1e-12)
    every = run(capsys, "fidis", "--all_rows", "--splits", "10", "--overwrite")["results"]
    assert every["fid"] == pytest.approx(frechet_distance_of_rows(generated["pool_3"], dataset["pool_3"]),
                                         rel=1e-9)
    assert (every["inception_score"],
            every["inception_score_std"]) == pytest.approx(inception_score_of(generated["logit"], 10))
    assert (results["num_generated"], every["num_generated"]) == (60, 70)


def test_prdc_of_the_first_rows_with_table_and_picture(capsys, encoded):
    results = run(capsys, "prdc", "--nearest_k", "4")["results"]
    generated, dataset = (arrays(encoded / f"{name}_stat.npz")["pool_3"] for name in ("generated", "dataset"))
    expected = prdc(dataset, generated[:60], 4)
    assert {name: results[name] for name in expected} == expected
    folder = encoded.parent / "eval_prdc"
    with open(folder / "prdc.csv") as stream:
        assert {row["measure"].lower(): float(row["value"]) for row in csv.DictReader(stream)} == expected
    assert (folder / "prdc.png").read_bytes().startswith(b"\x89PNG")


def test_nfe_is_the_mean_over_files(capsys, work):
    results = run(capsys, "nfe")["results"]
    assert (results["avg_nfe"], results["mean_nfe"], results["num_files"]) == (113, 113.5, 4)


def test_results_are_stored_read_and_renewed_when_inputs_change(capsys, encoded):
    first = run(capsys, "fidis")
    path = encoded.parent / "eval_fidis" / "run.json"
    written = path.read_bytes()
    assert run(capsys, "fidis")["results"] == first["results"]
    assert run(capsys, "fidis", "--read")["results"] == first["results"]
    assert path.read_bytes() == written
    changed = arrays(encoded / "generated_stat.npz")
    np.savez(encoded / "generated_stat.npz", pool_3=changed["pool_3"] + 1, logit=changed["logit"])
    assert run(capsys, "fidis")["results"]["fid"] > first["results"]["fid"]
    assert "splits 1, this command has 2" in run(capsys, "fidis", "--splits", "2", status=2)


def test_dry_run_writes_nothing(capsys, work, encoded):
    before = sorted(work.parent.rglob("*"))
    run(capsys, "fidis", "--dry_run")
    run(capsys, "prdc", "--dry_run")
    run(capsys, "nfe", "--dry_run")
    run(capsys, "encode", "--ode", "--dry_run", "--encode_dataset", "--dataset", "digits")
    assert sorted(work.parent.rglob("*")) == before


def test_reference_places_are_tried_in_order(capsys, encoded, tmp_path):
    results = tmp_path / "results"
    stats = arrays(encoded / "dataset_stat.npz")
    places = [results / "stats" / "cifar10" / "stats.npz", results / "cifar10_stats.npz", encoded / "dataset_stat.npz"]
    (encoded / "dataset_stat.npz").unlink()
    line = run(capsys, "fidis", "--dataset", "cifar10", status=2)
    assert "stat/dataset_stat.npz, results/cifar10_stats.npz, results/stats/cifar10/stats.npz" in line
    assert "--dataset" in run(capsys, "fidis", status=2)
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        np.savez(place, pool_3=stats["pool_3"])
        found = run(capsys, "fidis", "--dataset", "cifar10", "--overwrite")["results"]
        assert tmp_path / found["reference"] == place
    given = tmp_path / "given.npz"
    np.savez(given, pool_3=stats["pool_3"])
    assert run(capsys, "prdc", "--stats", str(given))["results"]["reference"] == str(given)


def save(path, **changes):
    """Rewrite an .npz with some arrays replaced, or left out when None."""
    kept = {name: array for name, array in {**arrays(path), **changes}.items() if array is not None}
    np.savez(path, **kept)


def test_bad_features_are_named_and_nothing_is_written(capsys, encoded):
    path = encoded / "generated_stat.npz"
    good = path.read_bytes()
    pool, logit = arrays(path)["pool_3"], arrays(path)["logit"]
    broken_pool, broken_logit = pool.copy(), logit.copy()
    broken_pool[33, 2], broken_logit[5, 0] = np.nan, np.inf
    cases = [
        ({"pool_3": broken_pool}, ("fidis", "prdc"), "row 33 of 'pool_3' holds NaN"),
        ({"logit": broken_logit}, ("fidis",), "row 5 of 'logit' holds NaN or infinity"),
        ({"pool_3": pool[:, :8]}, ("fidis", "prdc"), "8 dimensions"),
        ({"pool_3": None}, ("fidis", "prdc"), "nor pool_3 are in the file, which has logit"),
        ({"pool_3": pool[:1], "logit": None}, ("fidis", "prdc"), "has 1 image, at least"),
        ({"pool_3": pool[0]}, ("fidis",), "expected floats (images, features)"),
        ({"logit": logit[:7]}, ("fidis",), "'pool_3' has 70 rows, 'logit' 7"),
        ({"features": np.array("small-features-v1")}, ("fidis", "prdc"),
         "those of results/run/stat/generated_stat.npz are small-f"),
    ]
    for changes, commands, what in cases:
        path.write_bytes(good)
        save(path, **changes)
        for command in commands:
            assert what in run(capsys, command, status=2)
    nothing = "not a file of statistics"
    for data, what in ((good[: len(good) // 2], "not a complete .npz file"), (b"", nothing), (b"not a zip", nothing)):
        path.write_bytes(data)
        for command in ("fidis", "prdc"):
            assert what in run(capsys, command, status=2)
    path.unlink()
    assert "eval encode" in run(capsys, "fidis", status=2)
    assert sorted(child.name for child in encoded.parent.iterdir()) == ["stat"]


def test_a_flipped_byte_is_found(capsys, encoded):
    path = encoded / "generated_stat.npz"
    data = bytearray(path.read_bytes())
    data[1000] ^= 4
    path.write_bytes(data)
    for command in ("fidis", "prdc"):
        assert "generated_stat.npz" in run(capsys, command, status=2)


def test_bad_samples_are_named_and_nothing_is_written(capsys, work):
    path = work / "eval_sampling" / "9" / "samples_0.npz"
    good = path.read_bytes()
    images = arrays(path)["samples"]
    for changes, what in (
        ({"samples": images[:, :4]}, "images are (4, 8, 1)"),
        ({"samples": images.astype(np.float32)}, "expected uint8"),
        ({"samples": None}, "'samples' is not in the file"),
        ({"index": np.arange(9)}, "files of different runs are mixed"),
    ):
        path.write_bytes(good)
        save(path, **changes)
        assert what in run(capsys, "encode", status=2)
    path.write_bytes(good[:-40])
    assert "samples_0.npz" in run(capsys, "encode", status=2)
    path.write_bytes(good)
    save(path, nfe=None)
    assert "'nfe' is not in the file" in run(capsys, "nfe", status=2)
    assert not (work / "stat").exists()
    assert "no <division>/samples_<round>.npz" in run(capsys, "encode", "--ode", status=2)
    assert "no <division>/samples_<round>.npz" in run(capsys, "nfe", "--ode", status=2)


def test_encode_refuses_what_it_cannot_do(capsys, work, encoded):
    assert "no Inception weights here" in run(capsys, "encode", "--features", "inception", "--weights", "none.pth",
                                              "--overwrite", status=2)
    assert "with features from elsewhere" in run(capsys, "encode", status=2)
    assert "--dataset" in run(capsys, "encode", "--encode_dataset", status=2)
    assert "samples (8, 8, 1)" in run(capsys, "encode", "--encode_dataset", "--dataset", "photos32", status=2)
    run(capsys, "encode", "--encode_dataset", "--dataset", "digits", "--overwrite")
    line = run(capsys, "encode", "--encode_dataset", "--dataset", "digits", "--split", "test", status=2)
    assert "holds the features of digits, train split, this command asks for digits, test split" in line


def test_flags_out_of_range(capsys, encoded):
    assert "--nearest_k" in run(capsys, "prdc", "--nearest_k", "0", status=2)
    assert "at least 61 are required" in run(capsys, "prdc", "--nearest_k", "60", status=2)
    assert "--splits" in run(capsys, "fidis", "--splits", "61", status=2)
    assert "no stored results" in run(capsys, "fidis", "--read", status=2)
    assert "--bs" in run(capsys, "encode", "--bs", "0", status=2)


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path):
    peaks = []
    for count in (20000, 80000):
        path = tmp_path / f"{count}.npz"
        np.savez(path, pool_3=np.ones((count, 32), np.float32) * np.arange(count)[:, None],
                 logit=np.ones((count, 8), np.float32))
        file = read_statistics(path)
        tracemalloc.start()
        eval_samples.measure_fidis(file, file, eval_samples.FidisOptions(workdir="run"))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_stored_likelihoods_count_each_image_once(tmp_path):
    for number, values in enumerate(([3.0, 4.0, 5.0], [1.0])):
        write_npz(tmp_path / f"bpd_{number}.npz", bpd=np.float32(values), nfe=np.int64(100 + number))
    found = read_nll(tmp_path)
    assert (found["bits_per_dim"], found["nfe"], found["num_images"], found["num_files"]) == (3.25, 100, 4, 2)


@pytest.mark.parametrize(("sizes", "what"),
                         [((2, 3), "different batch sizes"), ((3, 2, 3), "different batch sizes"), ((), "no bpd_")])
def test_stale_likelihoods_are_refused(tmp_path, sizes, what):
    for number, size in enumerate(sizes):
        write_npz(tmp_path / f"bpd_{number}.npz", bpd=np.ones(size, np.float32), nfe=np.int64(1))
    with pytest.raises(InputError, match=what):
        read_nll(tmp_path)


def test_likelihoods_of_several_repeats_are_told_from_stale_ones(tmp_path):
    for number, (repeat, index) in enumerate(((0, [0, 1]), (0, [2]), (1, [0, 1]), (1, [2]))):
        write_npz(tmp_path / f"bpd_{number}.npz", bpd=np.ones(len(index), np.float32), nfe=np.int64(1), index=index,
                  repeat=repeat)
    assert read_nll(tmp_path)["num_images"] == 3
    write_npz(tmp_path / "bpd_4.npz", bpd=np.ones(1, np.float32), nfe=np.int64(1), index=[1], repeat=0)
    with pytest.raises(InputError, match="image 1 is also in"):
        read_nll(tmp_path)


def test_missing_batches_are_named(tmp_path):
    write_npz(tmp_path / "bpd_1.npz", bpd=np.ones(1, np.float32), nfe=np.int64(1))
    with pytest.raises(InputError, match="bpd_0.npz is missing"):
        read_nll(tmp_path)


def test_nasym_that_the_original_lost_is_not_invented(tmp_path):
    write_npz(tmp_path / "repeat_0.npz", asym=np.array([2.0, 4.0]), nasym=np.array([0.1, 0.3]))
    found = read_asym(tmp_path)
    assert (found["asym"], found["nasym"], found["num_levels"]) == (3.0, pytest.approx(0.2), 2)
    write_npz(tmp_path / "repeat_1.npz", asym=np.array([4.0, 6.0]), nasym=np.array([4.0, 6.0]))
    found = read_asym(tmp_path)
    assert (found["asym"], found["nasym"], found["num_files"]) == (4.0, None, 2)


def test_M4_statistics_prepared_otherwise_are_named(capsys, encoded):
    """fidis --stats with another preprocessing is refused, with another size noted."""
    rows = np.random.default_rng(5).standard_normal((60, 24)).astype(np.float32)
    np.savez(encoded / "generated_stat.npz", pool_3=rows, features=np.array("inception-legacy_tensorflow"))
    moments = {"mu": rows.mean(0), "sigma": np.cov(rows, rowvar=False)}
    for resize, resolution in (("clean", 0), ("legacy_tensorflow", 0), ("legacy_tensorflow", 256)):
        meta = {"extractor": "inception", "resize": resize, "resolution": [resolution]}
        np.savez("reference.npz", **moments, meta=np.array(json.dumps(meta)))
        words = ("fidis", "--stats", "reference.npz", "--overwrite")
        if resize == "clean":
            assert "the features are inception-clean (24 dimensions), those of" in run(capsys, *words, status=2)
        else:
            notes = run(capsys, *words)["results"]["notes"]
            assert len(notes) == (resolution > 0)
            assert all("reference.npz 256 x 256" in note for note in notes)


@pytest.mark.parametrize(("name", "value"), [
    ("repeat", np.zeros(4, np.int64)), ("nfe", np.arange(3)), ("index", np.arange(3)), ("bpd", np.array(["a"]))])
def test_a_likelihood_file_of_other_shapes_is_refused(name, value, tmp_path):
    path = stored_scores("bpd_0.npz")(tmp_path)
    assert read_nll(tmp_path)["num_images"] == 4
    np.savez(path, **{**dict(np.load(path)), name: value})
    with pytest.raises(InputError, match="bpd_0.npz"):
        read_nll(tmp_path)
