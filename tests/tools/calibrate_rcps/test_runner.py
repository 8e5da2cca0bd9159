"""The class that notebooks import: attributes, nesting and returns as in the original, numbers as published."""

import pickle
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import InputError
from common.paths import ExperimentDir
from tests.tools.calibrate_rcps.conftest import FACTORS, LEVELS
from tools.calibrate_rcps.runner import RCPS_Results_Runner, decorate_plot

CASE = Path(__file__).parents[2] / "golden" / "rcps" / "rcps_calibration"


def open_runner(tree, **more):
    """Return the runner of the fixture's experiment."""
    return RCPS_Results_Runner(str(tree.root.parent), tree.root.name, "models/superres_alpha_0.1.pt", list(FACTORS),
                               list(LEVELS), **{"dims": "all", **more})


def notebook(runner, runs):
    """Run the published notebook's cells up to the figures."""
    runner.compute_losses_prediction_sets()
    runner.calibrate_all_difficulty_levels(total_runs=runs)
    return runner


def test_golden_calibration_through_the_notebooks_cells(tmp_path):
    tree, want = ExperimentDir(tmp_path, "exp"), np.load(CASE / "case.npz")
    for factor in (1, 16, 32):
        tree.images(factor).mkdir(parents=True)
        shutil.copy(CASE / str(factor) / "outputs.npz", tree.outputs(factor))
    runner = notebook(RCPS_Results_Runner(str(tmp_path), "exp", "models/none.pt", [1, 16, 32], list(LEVELS),
                                          dims=",".join(map(str, want["dims"]))), 50)
    for level in LEVELS:
        stats = runner.all_rcps_stats[level]
        assert stats["idx_lambda_calib"] == want["idx_lambda_calib"].tolist()
        assert (stats["lambda_calib"] == want["lambda_calib"]).all()
        np.testing.assert_allclose(stats["mean_emp_risks"], want["mean_emp_risks"], atol=1e-9)
        np.testing.assert_allclose([np.mean(sizes) for sizes in stats["all_set_sizes"]], want[f"set_size_mean_{level}"],
                                   rtol=1e-5)
    uncalibrated = before(runner)
    np.testing.assert_allclose(uncalibrated, want["uncalibrated_test_risk"], atol=1e-9)
    misses = np.concatenate([np.stack([entry.sum(axis=1) for entry in runner.all_losses_per_lambda[level][0]])
                             for level in LEVELS], axis=1)
    assert (misses == want["miss_counts"]).all()
    lower = runner.all_prediction_sets["medium"][0][0][want["idx_lambda_calib"][-1]]
    np.testing.assert_allclose(lower, want["lower_medium_last"], rtol=1e-5)


def before(runner):
    """Return the test risks at lambda 1, as the notebook's histogram takes them, of all levels."""
    place = int(np.where(runner.lambda_values == 1)[0][0])
    return [np.mean([runner.all_losses_per_lambda[level][0][place][test].mean(axis=1) for level in LEVELS])
            for test in runner.test_idx_list["easy"]]


def test_attributes_have_the_originals_nesting(tree):
    runner = notebook(open_runner(tree, mean_style_vector=[]), 7)
    assert runner.lambda_values.shape == (110,)
    assert runner.lambda_values[10] == 1
    assert runner.difficulty_to_resize_factor == dict(zip(LEVELS, FACTORS))
    assert [runner.results_dict["hard"][name].shape for name in ("allz_np", "allz_hat_np", "allz_hat_lq_np",
                                                                 "allz_hat_uq_np")] == [(120, 40)] * 4
    (lower, upper), = runner.all_prediction_sets["easy"]
    assert (len(lower), upper[5].shape) == (110, (120, 40))
    assert np.asarray(runner.all_losses_per_lambda["easy"][0][-1]).shape == (120, 40)
    assert runner.indices_per_difficulty_level["medium"] == range(120, 240)
    assert [len(runner.test_idx_list[level]) for level in LEVELS] == [7, 0, 0]
    stats = runner.all_rcps_stats["hard"]
    assert stats["all_set_sizes"][-1].shape == (120, 40)
    assert stats["all_emp_risks"][0].shape == (120,)
    assert len(runner.select_indices) == len(runner.disent_dims) == 40
    runner.compute_losses_prediction_sets()  # a second time does not double the lists
    assert len(runner.all_prediction_sets["easy"]) == 1


def test_paths_are_the_documented_ones(tree):
    runner = open_runner(tree)
    assert runner.ckpt_path == str(tree.root / "models/superres_alpha_0.1.pt")
    assert runner.get_calibration_file_by_difficulty_level("hard") == str(tree.outputs(8))
    assert runner.calibration_results_dir == str(tree.root / "data/calibration_set_outputs_generated_data")
    assert runner.pretrained_models_dir == str(tree.root / "pretrained_models")


def test_one_level_is_calibrated_by_itself(tree):
    runner = open_runner(tree)
    runner.compute_losses_prediction_sets()
    runner.calibrate_per_difficulty_level(8, total_runs=5)
    assert {*runner.all_rcps_stats} == {"hard"}
    assert len(runner.test_idx_list["hard"]) == 5


def test_saved_calibration_is_plain(tree, tmp_path):
    runner = notebook(open_runner(tree), 3)
    path = runner.save_calibration()
    assert path == str(tree.results_pickle)
    with open(path, "rb") as stream:
        value = pickle.load(stream)  # noqa: S301 (our own)
    assert sorted(value) == ["all_losses_per_lambda", "all_prediction_sets", "all_rcps_stats", "test_idx_list"]
    assert isinstance(value["all_losses_per_lambda"]["easy"][0], list)


def test_no_lambda_is_an_error_not_an_empty_set(tree):
    with pytest.raises(InputError):
        notebook(open_runner(tree, alpha=1e-4), 3)


def test_new_matplotlib(tree):
    """Every figure is drawn without a warning."""
    import matplotlib as mpl

    runner, settings = notebook(open_runner(tree), 3), dict(mpl.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = runner.plot_set_sizes()
        axes = runner.plot_residuals()
        decorate_plot(axes, "level", "residual", "title", xticks=[1, 2, 3])
        for plot_type in ("true_value", "predicted_value", "prediction_interval", "calibration_interval"):
            drawn, count = runner.visualize_style_space_intervals("easy", 4, plot_type, select_groups=[range(5), [7]])
            drawn.canvas.draw()
        figure.canvas.draw()
    assert axes.get_title() == "title"
    assert 0 <= count <= 6
    assert dict(mpl.rcParams) == settings


@pytest.fixture
def rendering(tree, generator, encoder):
    """A runner of eight coordinates whose networks are there: a random generator and an encoder, of 16 px."""
    (tree.pretrained).mkdir()
    state = torch.load(generator[0], weights_only=True)
    torch.save({"state_dict": {f"decoder.{name}": tensor for name, tensor in state["g_ema"].items()},
                "latent_avg": torch.zeros(1, 6), "opts": {}}, tree.pretrained / "psp_celebs_super_resolution.pt")
    return notebook(open_runner(tree, dims="2,3,5,7,11,13,17,39"), 3)


def test_panels_have_the_originals_shapes(rendering):
    view, groups = rendering.show_outputs_across_difficulty_levels("hard", image_index=3)
    assert view.shape == (256, 6 * 256, 3)
    assert [group.shape for group in groups] == [(256, 768, 3)] * 8  # without published groups each dim by itself
    steps = rendering.interpolate_quantiles_along_each_factor("easy", image_index=3)
    assert steps[0].shape == (256, 11 * 256, 3)
    assert (steps[7][:, -256:] == groups_high(rendering, 7)).all()  # the last step is the upper end
    picture = np.full((40, 60, 3), 100, np.uint8)
    assert rendering.decode_single_image_across_difficulty_levels(picture, 4, 1.5).shape == (256, 1280, 3)
    assert rendering.decode_single_image(picture).shape == (256, 1280, 3)
    assert rendering.get_image_from_style_vectors(np.zeros(40)).shape == (256, 256, 3)


def groups_high(runner, place):
    """Return the upper end of one coordinate of image 3 at level easy."""
    return runner.show_outputs_across_difficulty_levels("easy", image_index=3)[1][place][:, 256:512]


def test_without_a_scheme_no_mean_is_added(rendering):
    plain = open_runner(rendering.tree, norm_scheme="none")
    point = plain._ends(plain._level("easy"), 3, 1.0)[0]
    assert point == pytest.approx(plain.results_dict["easy"]["allz_hat_np"][3])


def test_own_photograph_shows_its_own_ends(rendering):
    values = np.stack([np.full(40, value) for value in (-1.0, 0.0, 1.0)])
    one = rendering.show_outputs_across_difficulty_levels("easy", style_vectors=values)[0]
    two = rendering.show_outputs_across_difficulty_levels("easy", style_vectors=values * 2)[0]
    assert (one != two).any()


def test_small_helpers(tree):
    runner = open_runner(tree)
    assert runner.get_coverage_fraction(np.array([0.0, 2.0]), [-1, -1], [1, 1]) == 0.5
    assert runner.get_fnr(np.array([0.0, 2.0]), [-1, -1], [1, 1]) == 0.5
    assert runner.tensor2im(torch.zeros(3, 4, 5)).shape == (4, 5, 3)
    np.testing.assert_allclose(runner.min_max_norm(np.zeros(40)), 0, atol=1e-6)


@pytest.mark.parametrize(("more", "says"), [
    ({"levels_as": "all"}, "levels_as all: expected mean, each"), ({"rule": "x"}, "rule x: expected first_hit"),
    ({"bound": "x"}, "bound x: expected wsr"), ({"bound": "binomial"}, "bound binomial: is for losses of 0 and 1"),
    ({"alpha": 1.5}, "alpha 1.5: must be a number above 0 and below 1"), ({"delta": 0}, "delta 0: must be"),
    ({"difficulty_levels": ["a", "a", "b"]}, "a level is named twice"),
    ({"resize_factors": [1, 1, 8]}, "a factor is given twice"), ({"dims": [3, 3]}, "a dim is named twice")])
def test_words_of_the_constructor_act_or_are_refused(tree, more, says):
    words = {"resize_factors": [1, 4, 8], "difficulty_levels": ["easy", "medium", "hard"], "dims": "all", **more}
    with pytest.raises(InputError, match=re.escape(says)):
        RCPS_Results_Runner(str(tree.root.parent), tree.root.name, "m.pt", **words)


def test_coordinates_as_numbers_and_factors_as_text(tree):
    runner = RCPS_Results_Runner(tree.root.parent, tree.root.name, "m.pt", ("1", "4", "8"), ("easy", "medium", "hard"),
                                 dims=np.array([5, 2]))
    assert (runner.disent_dims == [5, 2]).all()
    assert runner.difficulty_to_resize_factor == {"easy": 1, "medium": 4, "hard": 8}
    with pytest.raises(InputError, match="total_runs 0"):
        runner.calibrate_all_difficulty_levels(total_runs=0)
