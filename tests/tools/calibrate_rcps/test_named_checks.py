"""Named checks of public reports, second cases: another subcommand, another option, the notebooks' class."""

import pickle
import warnings

import numpy as np
import pytest

from common.errors import InputError
from common.rcps.choice import NoLambda
from common.rcps.levels import level_groups
from common.rcps.outputs import KEYS, TRUTH
from common.rcps.sets import Intervals
from tests.tools.calibrate_rcps.conftest import make_outputs, words
from tests.tools.commands import refusal_of, results_of
from tools.calibrate_rcps.calibration import Group, Rules, calibrate, conformal_quantiles, share_missed
from tools.calibrate_rcps.levels import find_outputs, open_levels, read_levels
from tools.calibrate_rcps.options import LevelOptions
from tools.calibrate_rcps.plots import set_sizes
from tools.calibrate_rcps.report import rounded_up
from tools.calibrate_rcps.runner import RCPS_Results_Runner
from tools.process_embeddings.write import write_plot


def flags(tree, *more):
    return words(tree, "--dims", "all", "--total_runs", "2", *more)


def fill(tree, **arrays):
    """Give the outputs of all levels other arrays; a number fills one."""
    for factor in (1, 4, 8):
        with np.load(tree.outputs(factor)) as archive:
            found = dict(archive)
        for key, value in arrays.items():
            found[key] = np.broadcast_to(np.float32(value), found[key].shape)
        np.savez(tree.outputs(factor), **{name: np.array(array, order="C") for name, array in found.items()})


def test_ties_are_covered_by_the_lambda_that_is_shown(tree):
    fill(tree, **dict(zip(KEYS, (1, 0, -1, 1))), mean_style_space_vector=0)  # every truth lies on an edge
    assert results_of("calibrate_rcps", *flags(tree, "--bound", "hb"))["lambda_hat"]["mean"] == [1.0001]
    values = [np.nextafter(0.7, 1), 0.7, 1.00004, 1e30, 0.0]
    assert rounded_up(values) == [0.7001, 0.7, 1.0001, 1e30, 0.0]


def test_no_lambda_is_said_by_validate_of_arms_without_length(tree):
    fill(tree, **dict.fromkeys(KEYS, 1), mean_style_space_vector=0)  # truth, point and ends are one number
    assert "1.0000 of the truths lie on a side" in refusal_of("calibrate_rcps", *flags(tree))
    found = results_of("calibrate_rcps", "validate", "--outputs", tree.outputs(1))["files"][0]
    assert (found["risk_floor"], found["worst_dims"][0]) == (1.0, "dim_0")


def test_no_lambda_is_said_of_a_grid_with_separate_sides(tree):
    with np.load(tree.outputs(1)) as archive:
        far = archive[TRUTH] * 60
    fill(tree, **{TRUTH: far})
    assert "no lambda up to 10 reaches alpha 0.05 with bound wsr" in \
        refusal_of("calibrate_rcps", *flags(tree, "--sides", "separate"))


def test_no_lambda_is_said_of_one_level_in_notebooks_and_pickles(tree):
    for factor in (1, 4, 8):
        make_outputs(tree.outputs(factor), count=28, resize_factor=factor)  # a split of 22 is too few, 28 are enough
    runner = RCPS_Results_Runner(tree.root.parent, tree.root.name, "m.pt", (1, 4, 8), ("easy", "medium", "hard"),
                                 dims="all")
    with pytest.raises(InputError, match="no lambda passes in 3 of 3 splits"):
        runner.calibrate_per_difficulty_level(8, total_runs=3)
    runner.alpha = 1e-4
    with pytest.raises(NoLambda, match="28 images are too few"):
        runner.calibrate_per_difficulty_level(8, total_runs=3)
    results_of("calibrate_rcps", *words(tree, "--dims", "all", "--levels_as", "mean", "--grid", "published",
                                        "--total_runs", 3, "--pickle"))
    with tree.results_pickle.open("rb") as stream:
        stats = pickle.load(stream)["all_rcps_stats"]["hard"]  # noqa: S301 (our own)
    assert stats["idx_lambda_calib"] == [-1] * 3
    assert all(np.isnan(risks).all() for risks in stats["all_emp_risks"])


def test_unattainable_names_the_images_that_are_needed_in_all(tree):
    for factor in (1, 4, 8):
        make_outputs(tree.outputs(factor), count=8, resize_factor=factor)
    line = refusal_of("calibrate_rcps", *flags(tree, "--shape", "per_dim:.5"))
    assert "8 images are too few (4 of them are left to choose lambda)" in line
    assert "at least 49 are needed" in line  # 24 of them give the shape, 25 choose lambda


@pytest.mark.parametrize("most", [3, 4])
def test_joint_dims_of_both_arms_add_up(tree, most):
    """With a lambda for each arm the share of images with more than J misses in all is at most alpha."""
    options = LevelOptions(base_dir=str(tree.root.parent), exp_name="exp", resize_factors=["1"],
                           difficulty_levels=["easy"])
    make_outputs(tree.outputs(1), seed=3, count=400, resize_factor=1)
    found = find_outputs(options)
    levels = read_levels(found, open_levels(found), list(range(40)))
    rules = Rules(alpha=0.2, bound="hb", loss=f"more_than:{most}", sides="separate", grid=None, runs=1)
    (made,) = calibrate(levels, rules)
    missed = made.group.missed(0, made.setting)
    assert (missed.sum(axis=1) > most).mean() <= 0.2
    lower, upper = (made.group.missed(0, made.setting) & side for side in (
        levels[0].intervals.residual <= 0, levels[0].intervals.residual > 0))
    assert (lower.sum(axis=1) > most // 2).mean() <= 0.1
    assert (upper.sum(axis=1) > most - most // 2).mean() <= 0.1


def test_n_plus_one_of_an_own_width():
    values = np.arange(1.0, 100)[:, None]  # the ceil(100 * 0.71) = 71st smallest, an exact product
    assert conformal_quantiles(values, 0.29).tolist() == [71]
    assert conformal_quantiles(np.arange(1.0, 30)[:, None], 0.1).tolist() == [27]


def test_new_matplotlib_draws_names_as_they_are(tree):
    """Every figure, without a warning: names with dollar signs, in other scripts, behind an underscore."""
    levels = [f"{name}={tree.outputs(factor)}" for name, factor in (("$^$", 1), ("_猫", 4), ("5%", 8))]
    results_of("calibrate_rcps", "--outputs", *levels, "--dims", "0,3", "--total_runs", 2, "--output_dir",
               tree.root / "c")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results_of("calibrate_rcps", "figures", "--calibration", tree.root / "c", "--outputs", *levels, "--output_dir",
                   tree.root / "figures")
        axes = set_sizes({"_b": np.ones(9), "$^$": np.ones(9)})[1]
        write_plot(tree.root / "map.png", np.eye(4)[:, :2], np.array([0, 0, 1, 1]), ["$^$", "_b"], None)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [" _b", "$^$"]
    assert {path.name for path in (tree.root / "figures").glob("*.png")} >= {"intervals_$^$.png", "intervals_5%.png"}


@pytest.mark.parametrize(("sides", "parts"), [("one", 1), ("separate", 2)])
def test_sides_of_their_own_share_alpha_and_delta(sides, parts):
    """The union of two arms' promises is the one that was asked for: alpha / 2 and delta / 2 each."""
    draws = np.random.default_rng(0)
    level = Intervals(draws.standard_normal((20, 3)), np.ones((20, 3)), np.ones((20, 3)), np.zeros((20, 3), bool))
    group = Group("one", [0], 0.04, [level], Rules(alpha=0.2, sides=sides))
    assert len(group.sides) == parts
    test = group.test(3)
    assert (float(test.alpha), test.delta, test.width) == (pytest.approx(0.2 / parts), 0.04 / parts, 3)


def test_levels_that_hold_together_share_delta():
    names, counts = ["easy", "medium", "hard"], [50, 50, 50]
    assert level_groups(names, counts, "mean", 0.1) == [("mean", [0, 1, 2], 0.1)]
    assert level_groups(names, counts, "each", 0.1) == [(name, [place], 0.1) for place, name in enumerate(names)]
    assert [delta for _, _, delta in level_groups(names, counts, "each_together", 0.1)] == [0.1 / 3] * 3


@pytest.mark.parametrize(("loss", "losses"), [
    ("fraction", [0, 0.25, 0.5, 0.75]), ("any", [0, 1, 1, 1]), ("more_than:1", [0, 0, 1, 1])])
def test_the_loss_of_an_image_by_how_many_coordinates_are_missed(loss, losses):
    missed = np.arange(4) < np.arange(4)[:, None]  # none, one, two, three of four
    assert share_missed(missed, loss).tolist() == losses


def test_the_quantile_of_a_coordinate_is_positive_and_finite_whatever_its_values():
    values = np.array([[0.2, 0.0, np.inf], [0.5, 0.0, np.inf], [np.inf, 0.0, np.inf], [np.inf, 0.0, np.inf]])
    assert conformal_quantiles(values, 0.25).tolist() == [0.5, 1, 1]  # the 4th of 4
    assert conformal_quantiles(values, 0.6).tolist() == [0.5, 1, 1]  # the 2nd
