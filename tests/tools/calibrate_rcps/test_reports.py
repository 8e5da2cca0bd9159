"""What calibrate_rcps says beside lambda, and its numbers where files are not as the demo's."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from common.errors import InputError
from common.paths import ExperimentDir
from common.rcps.outputs import TRUTH, Outputs
from tests.tools.calibrate_rcps.conftest import FACTORS, LEVELS, make_outputs, words
from tests.tools.commands import ROOT, call_tool, results_of
from tools.calibrate_rcps.figures import row_with_truth
from tools.calibrate_rcps.runner import RCPS_Results_Runner

CASE = Path(__file__).parents[2] / "golden" / "rcps" / "rcps_calibration"
NAMED = ("low", "middle", "high")


def quick(tree, *more):
    """Return the flags of a calibration of all coordinates with few splits."""
    return words(tree, "--dims", "all", "--alpha", "0.2", "--total_runs", 4, *more)


@pytest.mark.parametrize("relative", [True, False])
def test_the_published_tree_through_parity_has_the_published_choices(relative, tmp_path, monkeypatch):
    """With names of its own for experiment and levels, from a relative and an absolute folder."""
    tree, want = ExperimentDir(tmp_path / "base", "mine"), np.load(CASE / "case.npz")
    for factor in (1, 16, 32):
        tree.images(factor).mkdir(parents=True)
        shutil.copy(CASE / str(factor) / "outputs.npz", tree.outputs(factor))
    monkeypatch.chdir(tmp_path)
    base = "base" if relative else tmp_path / "base"
    results_of("calibrate_rcps", "--base_dir", base, "--exp_name", "mine", "--resize_factors", "1,16,32",
               "--difficulty_levels", *NAMED, "--dims", ",".join(map(str, want["dims"])), "--parity")
    with np.load(tree.calibration / "calibration.npz") as stored:
        assert (stored["idx_lambda_calib"].ravel() == want["idx_lambda_calib"]).all()
        np.testing.assert_allclose(stored["mean_emp_risks"], want["mean_emp_risks"], atol=1e-9)
        np.testing.assert_allclose(stored["uncalibrated_risks"], want["uncalibrated_test_risk"], atol=1e-9)
    found = results_of("calibrate_rcps", "experiments", "--base_dir", base, "--exp_name", "mine", "--experiment",
                       "stress_test", "--from_outputs", "--output_dir", "x", "--run_index", -1)["stress_test"]
    for corruption, level in (("mild", "easy"), ("moderate", "medium"), ("severe", "hard"), ("extreme", "hard")):
        np.testing.assert_allclose(found["corruption_levels"][corruption]["interval_widths"],
                                   want[f"width_{level}_last"], rtol=1e-5)
    runner = RCPS_Results_Runner(str(base), "mine", "models/none.pt", [1, 16, 32], list(NAMED),
                                 dims=",".join(map(str, want["dims"])))
    assert runner.get_calibration_file_by_difficulty_level("high") == str(Path(base, *tree.outputs(32).parts[-5:]))


def test_what_the_promise_does_not_say(tree):
    ended = call_tool("calibrate_rcps", *quick(tree, "--alpha", "0.2", "0.1"))
    assert "note: level hard by itself has a risk of 0." in ended.err
    assert "calibrate with --levels_as each_together" in ended.err
    assert "level easy by itself" not in ended.err
    assert "Several alphas" in ended.err
    assert "with a standard error of 0.0" in ended.err
    ended = call_tool("calibrate_rcps", *words(tree, "--dims", "all", "--levels_as", "each_together", "--alpha", "0.2",
                                               "--overwrite"))
    assert "by itself" not in ended.err


def test_the_standard_error_of_a_split_is_that_of_its_images(tree):
    results = results_of("calibrate_rcps", *quick(tree))
    spread = results["test_risk_sd"]  # over splits, whose calibration images vary too
    assert 0.3 * spread < results["test_risk_se"]["mean"] < 3 * spread
    assert results["alphas"] == []


@pytest.mark.parametrize(("flags", "why"), [
    (["--rule", "first_hit"], "a lambda above the first that passes may fail"),
    (["--norm_scheme", "min_max_legacy", "--alpha", "0.95"], "min_max_legacy scales the sets and not the truth"),
])
def test_no_promise_is_made_that_does_not_hold(tree, flags, why):
    results = results_of("calibrate_rcps", *quick(tree, *flags))
    assert results["promise"].startswith(f"None that holds: {why}.")


def test_the_first_hit_of_a_monotone_bound_is_promised(tree):
    results = results_of("calibrate_rcps", *quick(tree, "--rule", "first_hit",
                                                  "--bound", "bet"))
    assert results["promise"].startswith("With probability 0.9")


def test_truths_that_no_lambda_covers_are_told(tree):
    for factor in FACTORS:
        arrays = dict(np.load(tree.outputs(factor)))
        arrays["all_sv_hat_uq"][:2] = arrays["all_sv_hat"][:2] - 1
        np.savez(tree.outputs(factor), **arrays)
    ended = call_tool("calibrate_rcps", *quick(tree))
    assert "of the truths of level easy: its quantiles cross" in ended.err


def test_experiments_calibrate_the_outputs_that_are_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = [f"{level}={make_outputs(tmp_path / f'{level}.npz')}" for level in ("one", "two")]
    found = results_of("calibrate_rcps", "experiments", "--outputs", *files, "--dims", "all", "--experiment",
                       "importance", "--difficulty_level", "two", "--output_dir", "x")["importance"]
    assert len(found["ranking"]) == 40
    with np.load("assets/super_resolution/calibration/calibration.npz") as stored:
        assert stored["levels"].tolist() == ["one", "two"]


def test_widths_of_the_stress_test_in_units_of_the_range(tree, encoder, images, tmp_path):
    """min_max: those of `mean` by 2 / (max - min), which is 1/4 for these outputs."""
    widths = []
    for scheme in ("mean", "min_max"):
        results_of("calibrate_rcps", *quick(tree, "--norm_scheme", scheme, "--overwrite"))
        levels = results_of("calibrate_rcps", "experiments", *words(tree), "--experiment", "stress_test", "--image_dir",
                            images, "--encoder_size", 16, "--num_samples", 1, "--output_dir", tmp_path / scheme)
        widths.append(levels["stress_test"]["corruption_levels"]["mild"]["interval_widths"])
    assert widths[1] == pytest.approx(np.array(widths[0]) / 4)


def test_images_with_a_truth_are_measured_among_others(tree, tmp_path):
    results_of("calibrate_rcps", *quick(tree))

    def risk(path):
        words_of = ("--base_dir", tree.root.parent, "--exp_name", "exp", "--outputs", f"easy={path}", "--output_dir",
                    tmp_path / path.stem)
        (row,) = results_of("calibrate_rcps", "apply", *words_of)["levels"]
        return row["risk"], row["with_truth"]

    arrays = dict(np.load(tree.outputs(1)))
    for name in (*(key for key in arrays if key.startswith("all_sv")), "image_names", "has_truth"):
        arrays[name] = arrays[name][:50]
    np.savez(tmp_path / "half.npz", **arrays)
    whole = dict(np.load(tree.outputs(1)))
    whole["has_truth"][50:] = False
    whole[TRUTH][50:] = np.nan
    np.savez(tmp_path / "some.npz", **whole)
    assert risk(tmp_path / "some.npz") == risk(tmp_path / "half.npz")
    assert risk(tmp_path / "some.npz")[1] == 50


def test_figures_count_images_as_the_file_does(tree, tmp_path):
    """Images without a truth, which have no place in the figures, do not move the numbers of the others."""
    results_of("calibrate_rcps", *quick(tree))
    for factor in FACTORS:
        arrays = dict(np.load(tree.outputs(factor)))
        arrays["has_truth"][:3] = False
        arrays[TRUTH][:3] = np.nan
        np.savez(tree.outputs(factor), **arrays)
    assert row_with_truth(Outputs(tree.outputs(8)), 119) == 116
    ended = call_tool("calibrate_rcps", "figures", "--base_dir", tree.root.parent, "--exp_name", "exp", "--output_dir",
                      tmp_path / "x", "--image_index", 1)
    assert ended.status == 2
    assert "image 1 has no truth. Pass another --image_index, such as 3" in ended.err


@pytest.mark.parametrize("table", ["levels", "histogram"])
def test_tables_at_paper_scale_ask_for_their_data_in_one_whole_line(table):
    variables = {name: value for name, value in os.environ.items() if name != "DATA"}
    done = subprocess.run(["bash", f"docs/chains/table_rcps_{table}.sh"], cwd=ROOT, env={**variables, "SCALE": "paper"},
                          capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.endswith("1/outputs.npz, and 16 and 32 beside it.\n")


def test_unknown_levels_and_factors_are_named(tree):
    runner = RCPS_Results_Runner(str(tree.root.parent), "exp", "models/none.pt", list(FACTORS), list(LEVELS),
                                 dims="all")
    with pytest.raises(InputError, match="no level worst"):
        runner.visualize_style_space_intervals("worst", 0)
    with pytest.raises(InputError, match="no level of factor 2"):
        runner.calibrate_per_difficulty_level(2)
