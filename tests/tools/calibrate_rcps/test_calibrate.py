"""calibrate_rcps: the lambda it keeps, the promises it makes, and what it refuses."""

import csv
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

from common.rcps.bounds import RiskTest
from common.rcps.choice import FINE, PUBLISHED
from common.rcps.outputs import LOWER, POINT, TRUTH, UPPER, Outputs
from common.rcps.population import missed_share
from common.rcps.splits import image_order
from tests.tools.calibrate_rcps.conftest import FACTORS, LEVELS, make_outputs, words
from tests.tools.commands import call_tool, results_of


def flags(tree, *more):
    """Return words of a calibration on all coordinates that repeats few splits: lambda is of all images."""
    return words(tree, "--dims", "all", "--total_runs", "2", *more)


def critical(tree, factor, dims):
    """Return critical values (N, K) of a level, by the plain formula."""
    found = Outputs(tree.outputs(factor)).columns(dims)
    residual = found[TRUTH].astype(float) - found[POINT] - 0.5
    below, above = found[POINT].astype(float) - found[LOWER], found[UPPER].astype(float) - found[POINT]
    return np.where(residual < 0, -residual / below, residual / above)


def test_lambda_of_all_images_is_the_rules(tree):
    results = results_of("calibrate_rcps", *words(tree, "--dims", "0,3,17", "--total_runs", "2"))
    values = np.concatenate([critical(tree, factor, [0, 3, 17]) for factor in FACTORS], axis=1)
    values, test = values[image_order(len(values))], RiskTest("wsr", 0.1, 0.1, 9)
    passing = [bool(test.claims((values >= value).sum(axis=1))) for value in FINE]
    expected = FINE[len(FINE) - np.argmin(passing[::-1])] if not all(passing) else FINE[0]
    with np.load(tree.calibration / "calibration.npz") as stored:
        assert (stored["lambda_hat"][:, 0] == expected).all()
        assert stored["levels"].tolist() == list(LEVELS)
    assert results["lambda_hat"]["mean"][0] == pytest.approx(expected, abs=1e-4)
    assert results["lambda_hat"]["mean"][0] >= expected  # rounded up for people
    assert results["risk_calibration"]["mean"][0] <= 0.1
    assert results["upper_bound"]["mean"][0] <= 0.1
    assert results["promise"].startswith("With probability 0.9 over the calibration images the expected share of the 3")


def test_a_finished_command_answers_and_another_alpha_is_refused(tree):
    first = results_of("calibrate_rcps", *flags(tree))
    before = (tree.calibration / "calibration.npz").stat().st_mtime_ns
    assert results_of("calibrate_rcps", *flags(tree)) == first
    assert (tree.calibration / "calibration.npz").stat().st_mtime_ns == before
    ended = call_tool("calibrate_rcps", *flags(tree, "--alpha", "0.2"))
    assert ended.status == 2
    assert "alpha" in ended.err


def test_changed_outputs_are_calibrated_again(tree):
    first = results_of("calibrate_rcps", *flags(tree))
    make_outputs(tree.outputs(8), scale=2.0, resize_factor=8)
    assert results_of("calibrate_rcps", *flags(tree))["lambda_hat"] != first["lambda_hat"]


@pytest.mark.parametrize("bound", ["wsr", "bet", "hb", "bentkus", "kl", "hoeffding", "bernstein", "clt"])
def test_every_bound_calibrates(tree, bound):
    results = results_of("calibrate_rcps", *flags(tree, "--bound", bound, "--alpha", "0.25"))
    assert results["upper_bound"]["mean"][0] <= 0.25 + 1e-9
    assert results["bound"] == bound


def test_promises_by_rule(tree):
    def promise(*more):
        return results_of("calibrate_rcps", *flags(tree, "--alpha", "0.2", "--overwrite", *more))["promise"]

    assert promise("--guarantee", "crc").startswith("On average over calibrations")
    assert promise("--bound", "clt").startswith("For very many images (an asymptotic bound)")
    assert "at every level at once" in promise("--levels_as", "each_together")
    assert "None that holds" in promise("--levels_as", "pooled")
    assert "any coordinate" in promise("--loss", "any", "--levels_as", "each", "--alpha", "0.9")
    assert "more than 3 coordinates" in promise("--loss", "more_than:3", "--levels_as", "each", "--alpha", "0.9")


def test_one_group_equals_plain(tree):
    ways = [results_of("calibrate_rcps", "--outputs", f"easy={tree.outputs(1)}", "--dims", "all", "--total_runs", 2,
                       "--output_dir", tree.root / way, "--levels_as", way)["levels"][0]
            for way in ("mean", "each", "each_together")]
    assert ways[0]["lambda_hat"] == ways[1]["lambda_hat"] == ways[2]["lambda_hat"]


def test_each_together_divides_delta(tree):
    command = flags(tree, "--levels_as")
    apart = results_of("calibrate_rcps", *command, "each", "--output_dir", tree.root / "a")["levels"]
    together = results_of("calibrate_rcps", *command, "each_together", "--output_dir", tree.root / "b")["levels"]
    alone = results_of("calibrate_rcps", "--outputs", f"hard={tree.outputs(8)}", "--dims", "all", "--delta",
                       str(0.1 / 3), "--total_runs", 2, "--output_dir", tree.root / "c")["levels"]
    assert all(two["lambda_hat"] > one["lambda_hat"] for one, two in zip(apart, together))
    assert together[2]["lambda_hat"] == alone[0]["lambda_hat"]


def test_min_max_gives_the_lambda_of_mean(tree):
    one = results_of("calibrate_rcps", *flags(tree, "--output_dir", str(tree.root / "a")))
    two = results_of("calibrate_rcps", *flags(tree, "--norm_scheme", "min_max", "--output_dir",
                                              str(tree.root / "b")))
    assert one["lambda_hat"] == two["lambda_hat"]
    widths = [[level["width_calibrated"] for level in found["levels"]] for found in (one, two)]
    np.testing.assert_allclose(widths[1], np.array(widths[0]) * 2 / 8, rtol=1e-6)


def test_joint_dims(tmp_path):
    """At loss any, the share of fresh images with any miss is at most alpha."""
    fit, fresh = (make_outputs(tmp_path / name / "outputs.npz", seed, 1500) for seed, name in ((1, "fit"), (9, "new")))
    folder = tmp_path / "out"
    results = results_of("calibrate_rcps", "--outputs", f"one={fit}", "--dims", "all", "--loss", "any", "--total_runs",
                         2, "--output_dir", folder)
    assert results["bound"] == "binomial"
    results_of("calibrate_rcps", "apply", "--calibration", folder, "--outputs", f"one={fresh}", "--output_dir",
               tmp_path / "sets")
    truth = Outputs(fresh).columns(range(40), (TRUTH,))[TRUTH]
    with np.load(tmp_path / "sets" / "sets_one.npz") as sets:
        missed = ~((sets["lower"] < truth) & (truth < sets["upper"]))
    assert 0.04 < missed.any(axis=1).mean() <= 0.1


def test_fresh_risk_is_below_alpha_and_close(tmp_path):
    fit = make_outputs(tmp_path / "outputs.npz", 1, 2000)
    results = results_of("calibrate_rcps", "--outputs", f"one={fit}", "--dims", "all", "--total_runs", 2,
                         "--output_dir", tmp_path / "out")
    assert 0.085 < missed_share(results["lambda_hat"]["mean"][0]) <= 0.1


def test_separate_sides_cover_a_shifted_truth_with_less(tmp_path):
    fit = make_outputs(tmp_path / "outputs.npz", 1, 1500)
    arrays = dict(np.load(fit))
    arrays[TRUTH] += 0.6  # above the points
    np.savez(fit, **arrays)
    widths = [results_of("calibrate_rcps", "--outputs", f"one={fit}", "--dims", "all", "--sides", sides,
                         "--total_runs", 3, "--output_dir", tmp_path / sides)["levels"][0]["width_calibrated"]
              for sides in ("one", "separate")]
    assert widths[1] < 0.95 * widths[0]


def test_shape_per_dim_evens_out_the_coordinates(tmp_path):
    fit = make_outputs(tmp_path / "outputs.npz", 1, 1500)
    arrays, factor = dict(np.load(fit)), np.exp(np.linspace(-0.5, 0.5, 40))
    for name in (LOWER, UPPER):
        arrays[name] = arrays[POINT] + (arrays[name] - arrays[POINT]) * factor
    np.savez(fit, **arrays)

    def spread(shape):
        results_of("calibrate_rcps", "--outputs", f"one={fit}", "--dims", "all", "--shape", shape, "--total_runs", 3,
                   "--output_dir", tmp_path / shape)
        with (tmp_path / shape / "table_dims.csv").open() as stream:
            risks = [float(row["risk_calibrated"]) for row in csv.DictReader(stream)]
        return max(risks) - min(risks), np.mean(risks)

    one, own = spread("one"), spread("per_dim")
    assert own[0] < 0.5 * one[0]
    assert max(one[1], own[1]) <= 0.1


def test_levels_differ(tree):
    arrays = dict(np.load(tree.outputs(4)))
    for name, array in arrays.items():
        if array.shape[:1] == (120,) and name != "image_names":
            arrays[name] = array[::-1].copy()
    arrays["image_names"] = arrays["image_names"][::-1].copy()
    np.savez(tree.outputs(4), **arrays)
    ended = call_tool("calibrate_rcps", *flags(tree))
    assert ended.status == 2
    assert "image 0 of level medium is not that of easy" in ended.err
    assert results_of("calibrate_rcps", *flags(tree, "--levels_as", "each"))["levels"]
    del arrays["image_names"]
    np.savez(tree.outputs(4), **arrays)
    assert call_tool("calibrate_rcps", *flags(tree, "--overwrite")).status == 2  # by the truths


def test_small_groups(tree):
    make_outputs(tree.outputs(8), count=12, resize_factor=8)
    ended = call_tool("calibrate_rcps", *flags(tree, "--levels_as", "each"))
    assert ended.status == 2
    assert "hard: 12 images are too few" in ended.err
    assert "at least 25 are needed" in ended.err
    assert not tree.calibration.exists()


def test_missing_truth_is_refused_or_dropped(tree):
    for factor in FACTORS:
        arrays = dict(np.load(tree.outputs(factor)))
        arrays[TRUTH][5] = np.nan
        arrays["has_truth"][5] = False
        np.savez(tree.outputs(factor), **arrays)
    ended = call_tool("calibrate_rcps", *flags(tree))
    assert ended.status == 2
    assert "no truth for 1 of 120 images, the first is image 5" in ended.err
    results = results_of("calibrate_rcps", *flags(tree, "--drop_missing"))
    assert results["num_images"] == [119, 119, 119]


def test_missing_outputs_name_the_command_that_makes_them(tree):
    tree.outputs(4).unlink()
    ended = call_tool("calibrate_rcps", *words(tree))
    assert ended.status == 2
    assert "generate_outputs_npz" in ended.err
    assert "--resize_factor 4" in ended.err


@pytest.mark.parametrize(("more", "says"), [
    (["--dims", "ffhq33"], "is for another generator"),
    (["--dims", "0,99"], "dim 99 is not among the 40 coordinates"),
    (["--dims", "nowhere"], "neither a known set, numbers, nor a file"),
    (["--dims", "all", "--bound", "wsr", "--grid", "exact"], "may fail again above a lambda that passes"),
    (["--dims", "all", "--rule", "first_hit", "--bound", "hb", "--grid", "exact"], "needs a grid"),
    (["--dims", "all", "--bound", "binomial"], "is for losses of 0 and 1"),
    (["--dims", "all", "--guarantee", "crc", "--bound", "hb"], "has a test of its own"),
    (["--dims", "all", "--anytime", "--bound", "hb"], "is a form of wsr"),
    (["--dims", "all", "--parity", "--levels_as", "mean"], "--parity means pooled"),
    (["--dims", "all", "--loss", "more_than:40"], "there are 40 coordinates"),
    (["--dims", "all", "--loss", "most"], "expected fraction, any or more_than:J"),
    (["--dims", "all", "--shape", "per_dim:2"], "expected one, per_dim or per_dim:SHARE"),
    (["--dims", "all", "--pickle"], "needs one lambda for all levels, from a grid"),
    (["--dims", "all", "--difficulty_levels", "a,b"], "3 factors for 2 levels"),
    (["--dims", "all", "--alpha", "0.001"], "120 images are too few"),
])
def test_what_is_refused(tree, more, says):
    if more[-1] == "--pickle":
        more = [*more, "--bound", "hb"]
    ended = call_tool("calibrate_rcps", *words(tree, *more))
    assert ended.status == 2, ended.err
    assert says in ended.err
    assert [line.startswith("error: ") for line in ended.err.splitlines() if "note: " not in line] == [True]
    assert not (tree.calibration / "calibration.npz").exists()


def test_several_alphas_make_a_table_and_bounds_are_compared(tree):
    results = results_of("calibrate_rcps", *flags(tree, "--alpha", "0.2", "0.1", "--compare_bounds"))
    assert results["alpha"] == 0.2
    with (tree.calibration / "table_alphas.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["alpha"]) for row in rows] == [0.2, 0.1]
    assert float(rows[0]["lambda_hat"]) < float(rows[1]["lambda_hat"])
    with (tree.calibration / "table_bounds.csv").open() as stream:
        bounds = {row["bound"]: row for row in csv.DictReader(stream)}
    assert {"wsr", "bet", "hb", "crc", "anytime", "clt"} <= {*bounds}
    assert float(bounds["crc"]["lambda_hat"]) < float(bounds["hb"]["lambda_hat"])


def test_size_strata(tree):
    results = results_of("calibrate_rcps", *flags(tree))
    with (tree.calibration / "table_quarters.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["level"] == "easy"]
    widths, risks = ([float(row[name]) for row in rows] for name in ("mean_width", "risk"))
    assert widths == sorted(widths)
    assert risks[0] > risks[3]  # errors do not depend on the width here
    assert abs(results["levels"][0]["width_residual_spearman"]) < 0.1


def test_parity_is_refused_nowhere_and_warned_of(tree):
    ended = call_tool("calibrate_rcps", *words(tree, "--dims", "all", "--parity", "--pickle"))
    assert ended.status == 0, ended.err
    assert "breaks the guarantee" in ended.err
    with np.load(tree.calibration / "calibration.npz") as stored:
        assert (stored["lambda_values"] == PUBLISHED).all()
        assert stored["lambda_calib"].shape == (50,)


def test_pickle_opens_without_this_package(tree):
    assert call_tool("calibrate_rcps", *words(tree, "--dims", "all", "--parity", "--pickle")).status == 0
    code = ("import pickle, sys; value = pickle.load(open(sys.argv[1], 'rb'))\n"
            "assert not any(name.split('.')[0] in ('common', 'tools') for name in sys.modules)\n"
            "print(sorted(value), len(value['all_losses_per_lambda']['easy'][0]),"
            " value['all_prediction_sets']['hard'][0][1][109].shape, value['test_idx_list']['hard'],"
            " len(value['all_rcps_stats']['medium']['all_set_sizes']))")
    done = subprocess.run([sys.executable, "-I", "-c", code, str(tree.results_pickle)], capture_output=True, text=True,
                          check=True)
    assert done.stdout.strip() == ("['all_losses_per_lambda', 'all_prediction_sets', 'all_rcps_stats', 'test_idx_list']"
                                   " 110 (120, 40) [] 50")
    with tree.results_pickle.open("rb") as stream:
        value = pickle.load(stream)  # noqa: S301 (our own)
    stats = value["all_rcps_stats"]["easy"]
    place = stats["idx_lambda_calib"][3]
    assert stats["all_emp_risks"][3] == pytest.approx(value["all_losses_per_lambda"]["easy"][0][place].mean(axis=1))


def test_dry_run_writes_nothing(tree):
    ended = call_tool("calibrate_rcps", *words(tree, "--dims", "all", "--dry_run"))
    assert ended.status == 0
    assert "would calibrate 40 coordinates of 120 images at 3 levels" in ended.err
    assert not tree.calibration.exists()


def test_json_says_what_the_page_says(tree):
    ended = call_tool("calibrate_rcps", *flags(tree, "--json"))
    record = json.loads(ended.out)
    assert record["command"] == "calibrate_rcps"
    written = json.loads((tree.calibration / "calibration.json").read_text())
    assert written["lambda_hat"] == record["results"]["lambda_hat"]
