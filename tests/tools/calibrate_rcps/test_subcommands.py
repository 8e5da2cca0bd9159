"""apply, validate, make-synthetic, simulate, figures, endpoints and experiments."""

import csv
import json
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest

from common.rcps.outputs import LOWER, POINT, UPPER, Outputs
from common.rcps.population import missed_share
from tests.tools.calibrate_rcps.conftest import make_outputs, make_tree, words
from tests.tools.commands import call_tool, refusal_of, results_of


@pytest.fixture(scope="module")
def calibration(tmp_path_factory):
    """The folder of the calibration of the experiment's outputs on all 40 coordinates."""
    tree = make_tree(tmp_path_factory.mktemp("calibrated") / "assets")
    results_of("calibrate_rcps", *words(tree, "--dims", "all"))
    return tree.calibration


@pytest.fixture
def calibrated(tree, calibration):
    """The experiment, with a copy of its calibration."""
    shutil.copytree(calibration, tree.calibration)
    return tree


def apply(tree, path, folder, level="easy"):
    """Run `apply` on a file and return how it ended."""
    return call_tool("calibrate_rcps", "apply", "--calibration", tree.calibration, "--outputs", f"{level}={path}",
                     "--output_dir", folder)


def test_applied_sets_are_the_widened_intervals(calibrated, tmp_path):
    fresh = make_outputs(tmp_path / "fresh.npz", seed=5, scale=0.85)
    assert apply(calibrated, fresh, tmp_path / "sets").status == 0
    found = Outputs(fresh).columns(range(40))
    value = np.load(calibrated.calibration / "calibration.npz")["lambda_hat"][0, 0]
    with np.load(tmp_path / "sets" / "sets_easy.npz") as sets:
        np.testing.assert_allclose(sets["lower"], found[POINT] + 0.5 - value * (found[POINT] - found[LOWER]), atol=1e-5)
        np.testing.assert_allclose(sets["upper"], found[POINT] + 0.5 + value * (found[UPPER] - found[POINT]), atol=1e-5)


@pytest.mark.long
def test_images_like_the_calibrations_are_not_warned_of(calibrated, tmp_path):
    for seed in range(20):
        ended = apply(calibrated, make_outputs(tmp_path / f"{seed}.npz", 100 + seed, scale=0.85), tmp_path / f"s{seed}")
        assert "warning" not in ended.err


def test_not_a_face(calibrated, tmp_path):
    """Predictions beyond the calibration's range are warned of, coordinate by coordinate."""
    path = make_outputs(tmp_path / "photos.npz", seed=5)
    arrays = dict(np.load(path))
    for name in (POINT, LOWER, UPPER):
        arrays[name][:, [2, 7]] += 3
    np.savez(path, **arrays)
    ended = apply(calibrated, path, tmp_path / "sets")
    assert ended.status == 0
    assert "are not like the calibration's (dim_2, dim_7): the promise is for images like those" in ended.err


@pytest.mark.parametrize(("count", "dims", "by", "says"), [
    (1, [2, 7], 14, "are not like the calibration's (dim_2, dim_7)"), (3, slice(None), 6, "more): the promise"),
    (2, [], 0, "too few images (2) to tell"), (100, [], 0, None)])
def test_not_a_face_among_few_photographs(calibrated, tmp_path, count, dims, by, says):
    """One photograph is too few for a test of distributions: values outside the calibration's range are warned of."""
    path = make_outputs(tmp_path / "photos.npz", seed=5, count=count, scale=0.85)
    arrays = dict(np.load(path))
    for name in (POINT, LOWER, UPPER):
        arrays[name][:1, dims] += by
    np.savez(path, **arrays)
    ended = apply(calibrated, path, tmp_path / "sets")
    assert ended.status == 0
    assert ("warning" in ended.err) == (by > 0)
    assert ("note:" in ended.err) == (says is not None and by == 0)
    assert says is None or says in ended.err


@pytest.mark.parametrize(("changed", "says"), [
    ({"encoder": "def"}, "was made by a different encoder"),
    ({"dims": 39}, "has 39 coordinates, the calibration is for 40"),
])
def test_foreign_outputs_are_refused(calibrated, tmp_path, changed, says):
    ended = apply(calibrated, make_outputs(tmp_path / "other.npz", **changed), tmp_path / "sets")
    assert ended.status == 2
    assert says in ended.err
    assert not (tmp_path / "sets").exists()


def test_an_unknown_level_is_refused(calibrated, tmp_path):
    ended = apply(calibrated, calibrated.outputs(1), tmp_path / "sets", "worst")
    assert ended.status == 2
    assert "no such level in the calibration. Use easy, medium, hard" in ended.err


def test_a_damaged_calibration_is_refused(calibrated, tmp_path):
    path = calibrated.calibration / "calibration.npz"
    path.write_bytes(path.read_bytes()[:2000])
    assert apply(calibrated, calibrated.outputs(1), tmp_path / "sets").status == 2


def test_a_calibration_by_the_published_min_max_is_not_applied(tree, tmp_path):
    """Its intervals are scaled and the truth is not: its lambda fits no other values."""
    for factor in (1, 4, 8):
        arrays = dict(np.load(tree.outputs(factor)))
        arrays["min_style_space_vector"][:], arrays["max_style_space_vector"][:] = -1, 1
        for name in (POINT, LOWER, UPPER):
            arrays[name] = (arrays[name] + arrays["mean_style_space_vector"]) / 2  # so that a lambda exists
        np.savez(tree.outputs(factor), **arrays)
    results_of("calibrate_rcps", *words(tree, "--dims", "all", "--total_runs", "2", "--norm_scheme",
                                        "min_max_legacy", "--alpha", "0.6"))
    ended = apply(tree, tree.outputs(1), tmp_path / "sets")
    assert ended.status == 2
    assert "was made with --norm_scheme min_max_legacy" in ended.err


def test_importance_in_units_of_the_range(tree, tmp_path):
    results_of("calibrate_rcps", *words(tree, "--dims", "all", "--total_runs", "2", "--norm_scheme", "min_max"))
    found = results_of("calibrate_rcps", "experiments", *words(tree), "--experiment", "importance", "--output_dir",
                       tmp_path / "x")["importance"]
    with (tree.calibration / "table_dims.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["level"] == "easy"]
    widths = {int(row["dim"]): float(row["width_calibrated"]) for row in rows}
    for row in found["ranking"]:
        assert row["importance_score"] == pytest.approx(widths[row["dimension_index"]], rel=1e-6)


def test_validate_says_what_is_there_and_names_the_first_fault(tree):
    results = results_of("calibrate_rcps", "validate", "--outputs", tree.outputs(1))
    assert results["files"][0]["num_images"] == 120
    assert results["files"][0]["crossed"] == 0
    arrays = dict(np.load(tree.outputs(1)))
    arrays[LOWER][:30], arrays[UPPER][:30] = arrays[UPPER][:30].copy(), arrays[LOWER][:30].copy()
    np.savez(tree.outputs(1), **arrays)
    crossed = results_of("calibrate_rcps", "validate", "--outputs", tree.outputs(1))["files"][0]
    assert crossed["crossed"] == pytest.approx(0.25)
    assert crossed["risk_floor"] == pytest.approx(0.25)
    arrays[UPPER][100, 3] = np.inf
    np.savez(tree.outputs(1), **arrays)
    ended = call_tool("calibrate_rcps", "validate", "--outputs", tree.outputs(1))
    assert ended.status == 2
    assert "row 100 of 'all_sv_hat_uq' holds NaN or infinity" in ended.err


def test_damage_inside_an_array_is_found_by_validate(tree):
    data = bytearray(tree.outputs(1).read_bytes())
    data[len(data) // 2] ^= 1
    tree.outputs(1).write_bytes(data)
    assert call_tool("calibrate_rcps", "validate", "--outputs", tree.outputs(1)).status == 2


def test_synthetic_outputs_have_the_risk_they_say(tmp_path):
    results = results_of("calibrate_rcps", "make-synthetic", "--base_dir", tmp_path, "--num_images", 400, "--num_dims",
                         50)
    for factor, scale in (("1", 0.85), ("16", 1.0), ("32", 1.25)):
        path = tmp_path / "synthetic/data/calibration_set_outputs_generated_data" / factor / "outputs.npz"
        found = Outputs(path).columns(range(50))
        missed = ~((found[LOWER] < found["all_sv"]) & (found["all_sv"] < found[UPPER]))
        assert missed.mean() == pytest.approx(results["true_risk"][factor]["1"], abs=0.02)
        assert results["true_risk"][factor]["1"] == pytest.approx(missed_share(1.0, scale=scale))


def test_crossed_synthetic_outputs_have_no_lambda(tmp_path):
    results_of("calibrate_rcps", "make-synthetic", "--base_dir", tmp_path, "--num_images", 100, "--num_dims", 20,
               "--crossed", "0.5")
    ended = call_tool("calibrate_rcps", "--base_dir", tmp_path, "--exp_name", "synthetic", "--dims", "all")
    assert ended.status == 2
    assert "of the truths lie on a side where the interval has no arm" in ended.err


def simulated(tmp_path, *more):
    """Return {(bound, group): row} of a simulation of 150 draws."""
    rows = results_of("calibrate_rcps", "simulate", "--repetitions", 150, "--output_dir", tmp_path / "s", "--overwrite",
                      *more)["rows"]
    return {(row["bound"], row["group"]): row for row in rows}


def keeps(row, delta=0.1, repetitions=150):
    """Return whether a share of draws above alpha is compatible with the promise."""
    above = round(row["share_above_alpha"] * repetitions)
    return binomtest(above, repetitions, delta, alternative="greater").pvalue > 1e-3


@pytest.mark.parametrize("number", [50, 200])
def test_bounds_keep_their_promise(tmp_path, number):
    rows = simulated(tmp_path, "-n", number)
    assert all(keeps(row) for row in rows.values() if row["promise"] == "delta")
    assert rows["crc", "mean"]["mean_risk"] <= 0.1
    assert rows["wsr", "mean"]["mean_risk"] > rows["hb", "mean"]["mean_risk"]


@pytest.mark.long
def test_binary_losses_keep_their_promise(tmp_path):
    one = simulated(tmp_path, "-n", 100, "--num_dims", 1)
    several = simulated(tmp_path, "-n", 100, "--loss", "any", "--bounds", "binomial", "wsr")
    assert all(keeps(row) for rows in (one, several) for row in rows.values() if row["promise"] == "delta")


def test_promises_of_levels(tmp_path):
    flags = ("-n", 100, "--scales", 0.85, 1, 1.25, "--bounds", "wsr", "--levels_as")
    mean, together = simulated(tmp_path, *flags, "mean"), simulated(tmp_path, *flags, "each_together")
    assert keeps(mean["wsr", "mean"])
    assert keeps(together["wsr", "any level"])


def test_own_widths_keep_the_promise(tmp_path):
    rows = simulated(tmp_path, "-n", 300, "--shape", "per_dim", "--dim_spread", 0.5, "--bounds", "wsr")
    assert keeps(rows["wsr", "mean"])


@pytest.mark.long
def test_looks_and_broken_promises(tmp_path):
    looks = {row["bound"]: row for row in results_of(
        "calibrate_rcps", "simulate", "-n", 3000, "--repetitions", 1000, "--looks", 60, "--bounds", "kl",
        "--output_dir", tmp_path)["looks"]}
    assert looks["anytime"]["p_value"] > 1e-3
    assert looks["wsr"]["share_claimed"] > 0.12
    pooled = results_of("calibrate_rcps", "simulate", "-n", 200, "--repetitions", 300, "--scales", 0.85, 1, 1.25,
                        "--levels_as", "pooled", "--bounds", "wsr", "--output_dir", tmp_path / "pooled")["rows"]
    assert pooled[0]["share_above_alpha"] > 0.15  # the published order breaks the guarantee


def test_figures_and_the_numbers_behind_them(calibrated, tmp_path):
    results = results_of("calibrate_rcps", "figures", *words(calibrated)[:4], "--image_index", 3, "--output_dir",
                         tmp_path / "f")
    for name in ("risk", "set_sizes", "residuals", "intervals_easy", "intervals_hard"):
        assert Image.open(tmp_path / "f" / f"{name}.png").width > 300
        assert (tmp_path / "f" / f"table_{name}.csv").exists()
    with (tmp_path / "f" / "table_intervals_hard.csv").open() as stream:
        rows = [{name: float(value) for name, value in row.items() if name != "name"} for row in csv.DictReader(stream)]
    only = sum(row["low"] < row["truth"] < row["high"] and not row["lower"] < row["truth"] < row["upper"]
               for row in rows)
    assert results["covered_by_calibration_only"]["hard"] == only


def test_endpoints_are_pictures_of_the_ends(calibrated, generator, tmp_path):
    path, network = generator
    results = results_of("calibrate_rcps", "endpoints", *words(calibrated)[:4], "--stylegan_path", path,
                         "--image_index", 1, "--output_dir", tmp_path / "e")
    assert results["pictures"] == 6
    panel = np.asarray(Image.open(tmp_path / "e" / "hard_00001.png"))
    assert panel.shape == (128, 5 * 128, 3)
    found = Outputs(calibrated.outputs(8))
    value = np.load(calibrated.calibration / "calibration.npz")["lambda_hat"][2, 0]
    lower = found.row(POINT, 1) + 0.5 - value * (found.row(POINT, 1) - found.row(LOWER, 1))
    with torch.no_grad():
        picture = network.synthesise(torch.from_numpy(lower.astype(np.float32))[None])[0]
    expected = ((picture.permute(1, 2, 0) + 1) * 127.5).clamp(0, 255).numpy()
    assert np.abs(panel[::8, 2 * 128 : 3 * 128 : 8].astype(float) - expected).max() <= 1.01


def test_importance_ranks_by_calibrated_width(calibrated, tmp_path):
    found = results_of("calibrate_rcps", "experiments", *words(calibrated), "--experiment", "importance",
                       "--compare_levels", "--output_dir", tmp_path / "x")["importance"]
    scores = [row["importance_score"] for row in found["ranking"]]
    assert scores == sorted(scores, reverse=True)
    assert {row["dimension_index"] for row in found["ranking"]} == set(range(40))
    comparison = json.loads((tmp_path / "x/importance_ranking/importance_comparison.json").read_text())
    assert {*comparison} == {"easy", "medium", "hard"}
    assert {*comparison["easy"][0]} == {"rank", "dimension_index", "select_index", "factor_name", "importance_score"}


@pytest.mark.parametrize("experiment", ["importance", "all"])
def test_a_level_that_is_not_there_is_refused_before_anything_is_made(calibrated, generator, experiment, tmp_path):
    pictures = ("--image_dir", tmp_path, "--stylegan_path", generator[0]) if experiment == "all" else ()
    flags = ("experiments", *words(calibrated), "--experiment", experiment, "--difficulty_level", "wrong", *pictures,
             "--output_dir", tmp_path / "x")
    for more in ((), ("--dry_run",)):
        assert "--difficulty_level wrong: no such level" in refusal_of("calibrate_rcps", *flags, *more)
    assert not (tmp_path / "x").exists()


def test_experiments_calibrate_where_nothing_is_saved(tree, tmp_path):
    assert results_of("calibrate_rcps", "experiments", *words(tree), "--dims", "all", "--total_runs", 2, "--experiment",
                      "importance", "--output_dir", tmp_path / "x")["importance"]["ranking"]
    assert json.loads((tree.calibration / "run.json").read_text())["status"] == "done"


def test_ablation_moves_one_coordinate(calibrated, generator, tmp_path):
    found = results_of("calibrate_rcps", "experiments", *words(calibrated), "--experiment", "ablation",
                       "--stylegan_path", generator[0], "--image_index", 2, "--output_dir", tmp_path / "x")["ablation"]
    assert {*found["scores"]} == {f"dim_{dim}" for dim in range(40)}
    record = json.loads((tmp_path / "x/ablation/ablation_results_2.json").read_text())
    assert record["perturbation_types"] == ["gaussian", "zero", "resample", "interval"]
    assert record["dimensions"]["dim_3"]["interval"].keys() == {"stability_score", "dimension_index"}
    low, high = (np.asarray(Image.open(tmp_path / f"x/ablation/visualizations/dim_3/interval_{end}.png"), float)
                 for end in ("low", "high"))
    assert np.sqrt((((high - low) / 255) ** 2).mean()) == pytest.approx(found["scores"]["dim_3"]["interval"])


def stress(tree, images, folder, *more):
    """Return the stress test's corruption levels."""
    return results_of("calibrate_rcps", "experiments", *words(tree), "--experiment", "stress_test", "--image_dir",
                      images, "--encoder_size", 16, "--output_dir", folder, *more)["stress_test"]["corruption_levels"]


def test_stress_test_corrupts_and_encodes(calibrated, encoder, images, tmp_path):
    levels = stress(calibrated, images, tmp_path / "x")
    assert list(levels) == ["none", "mild", "moderate", "severe", "extreme"]
    assert levels["none"]["num_samples"] == 4
    assert 0 <= levels["severe"]["risk"] <= 1
    assert levels["none"]["mean_interval_width"] != levels["severe"]["mean_interval_width"]
    assert len(list((tmp_path / "x/stress_test/corrupted/severe").glob("*.png"))) == 4


def test_an_encoder_that_sees_nothing_has_equal_widths(calibrated, encoder, images, tmp_path):
    value = torch.load(encoder, weights_only=True)
    for name, tensor in value["state_dict"].items():
        if name.startswith("projection") and name.endswith("weight"):
            tensor.zero_()
    torch.save(value, encoder)
    widths = [row["interval_widths"] for row in stress(calibrated, images, tmp_path / "x").values()]
    assert all(own == widths[0] for own in widths)


def test_from_outputs_is_the_mapping_of_names(calibrated, tmp_path):
    found = results_of("calibrate_rcps", "experiments", *words(calibrated), "--experiment", "stress_test",
                       "--from_outputs", "--num_samples", 50, "--output_dir", tmp_path / "x")["stress_test"]
    levels = found["corruption_levels"]
    assert levels["severe"]["interval_widths"] == levels["extreme"]["interval_widths"]
    assert levels["mild"]["num_samples"] == 50


def test_stress_test_asks_for_pictures(calibrated, tmp_path):
    ended = call_tool("calibrate_rcps", "experiments", *words(calibrated), "--experiment", "stress_test",
                      "--output_dir", tmp_path / "x")
    assert ended.status == 2
    assert "--image_dir: required by the stress test" in ended.err


def test_a_replaced_picture_is_noticed(calibrated, encoder, images, tmp_path):
    """Of the same size and an older time."""
    first = stress(calibrated, images, tmp_path / "x")
    path = images / "img_00002.png"
    data = bytearray(path.read_bytes())
    Image.fromarray(np.full((16, 16, 3), 7, np.uint8)).save(path)
    path.write_bytes(path.read_bytes().ljust(len(data), b"\0"))
    os.utime(path, (1, 1))
    assert stress(calibrated, images, tmp_path / "x")["none"] != first["none"]


def test_lpips_offline(tree, generator, tmp_path):
    """Without weights pixels are compared, and it is said so; the user's file is used where it is given."""
    from common.networks.lpips import Lpips

    results_of("calibrate_rcps", *words(tree, "--dims", "3,7", "--total_runs", 2, "--alpha", "0.3"))
    flags = ("experiments", *words(tree), "--experiment", "ablation", "--stylegan_path", generator[0])
    ended = call_tool("calibrate_rcps", *flags, "--output_dir", tmp_path / "x")
    assert ended.status == 0, ended.err
    assert "no --lpips_weights: pictures are compared by the root mean square" in ended.err
    torch.save(Lpips("vgg").state_dict(), tmp_path / "vgg.pth")
    found = results_of("calibrate_rcps", *flags, "--lpips_weights", tmp_path / "vgg.pth", "--output_dir",
                       tmp_path / "y")
    assert found["ablation"]["measure"] == "LPIPS"
