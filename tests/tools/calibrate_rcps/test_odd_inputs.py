"""calibrate_rcps on files and flags that its authors did not write: refused by name, or right."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from common.rcps.bounds import RiskTest, capital_bound
from common.rcps.choice import choose_exact
from common.rcps.outputs import KEYS, TRUTH, Outputs
from tests.tools.calibrate_rcps.conftest import make_outputs, words
from tests.tools.commands import call_tool, refusal_of, results_of
from tools.calibrate_rcps.apply import outward
from tools.calibrate_rcps.figures import ranges


def arrays(path):
    with np.load(path) as archive:
        return dict(archive)


def change(path, **changed):
    """Write an outputs.npz again with some arrays replaced, or (None) left out."""
    np.savez(path, **{name: array for name, array in {**arrays(path), **changed}.items() if array is not None})


def flags(tree, *more):
    return words(tree, "--dims", "all", "--total_runs", "2", *more)


def test_levels_near_0_and_1_end_quickly(tree):
    for more, least in ((("--alpha", "1e-300"), "more than 262,144"), (("--delta", "1e-300"), "at least 7248"),
                        (("--alpha", "1e-9", "--bound", "hb"), "more than 1,000,000,000"),
                        (("--delta", "1e-12", "--bound", "bentkus"), "more than 1,000,000,000")):
        assert least in refusal_of("calibrate_rcps", *flags(tree, *more))
    assert RiskTest("hb", 1e-6, 0.1, 33).least_images() == 2302584  # -ln(.1) / -ln(1 - 1e-6), rounded up
    assert RiskTest("bet", 0.1, 0.1, 33).least_images() is not None
    results_of("calibrate_rcps", *flags(tree, "--alpha", "0.9999999999999999", "--bound", "bet"))


def test_a_bet_above_1_has_a_bound_where_everything_is_missed():
    test = RiskTest("bet", 0.1, 0.1, 1)  # of 50 images: nu = 1.01
    assert test.upper_bound(np.eye(50, dtype=int)[0]) < 0.2
    assert test.upper_bound(np.ones(50, int)) == 1.0
    losses, bets = np.array([0, 1.0]), np.full(2, 3.0)
    found = capital_bound(losses, bets, 0.5, at_end=True)  # (1 + 3 mu)(1 - 3 (1 - mu)) = 2
    assert (1 + 3 * found) * (3 * found - 2) == pytest.approx(2)


def test_an_arm_without_a_miss_needs_no_width():
    critical = np.full((200, 3), -np.inf)  # every truth lies on the other side
    assert choose_exact(critical, RiskTest("bet", 0.1, 0.1, 3)) == 0.0
    critical[:2, 0] = 5.0
    assert choose_exact(critical, RiskTest("bet", 0.1, 0.1, 3)) == 0.0


def test_shares_without_an_image_are_refused(tree):
    assert "--calibration_share 0.004: is less than one of 120 images" in \
        refusal_of("calibrate_rcps", *flags(tree, "--calibration_share", ".004"))
    assert "--shape per_dim:0.001: is less than one of 120 images" in \
        refusal_of("calibrate_rcps", *flags(tree, "--shape", "per_dim:.001"))


@pytest.mark.parametrize(("named", "says"), [
    (("a", "a"), "--outputs a: a level is named twice"), (("a/b", "c"), "no slash"), (("..", "c"), "not dots alone")])
def test_names_of_levels(tree, named, says):
    pairs = [f"{name}={tree.outputs(factor)}" for name, factor in zip(named, (1, 4))]
    assert says in refusal_of("calibrate_rcps", "--outputs", *pairs, "--dims", "all")


def test_apply_takes_a_level_once_and_keeps_the_sets_of_others(tree, tmp_path):
    results_of("calibrate_rcps", *flags(tree))
    pairs = {level: f"{level}={tree.outputs(factor)}" for level, factor in (("easy", 1), ("hard", 8))}
    command = ("apply", "--calibration", tree.calibration, "--output_dir", tmp_path / "sets", "--outputs")
    assert "a level is named twice" in refusal_of("calibrate_rcps", *command, pairs["easy"], pairs["easy"])
    results_of("calibrate_rcps", *command, pairs["easy"])
    assert "has levels ['easy'], this command has ['hard']" in refusal_of("calibrate_rcps", *command, pairs["hard"])
    Path(tmp_path, "sets", "sets_mine.npz").write_bytes(b"mine")
    results_of("calibrate_rcps", *command, pairs["easy"], "--overwrite")
    assert Path(tmp_path, "sets", "sets_mine.npz").read_bytes() == b"mine"


def test_another_spelling_is_the_same_job(tree):
    results_of("calibrate_rcps", *flags(tree))
    record = (tree.calibration / "run.json").read_bytes()
    for more in (("--resize_factors", "1", "4", "08"), ("--difficulty_levels", "easy,medium,hard"),
                 ("--bound", "wsr", "--grid", "fine", "--levels_as", "mean", "--rule", "rigorous"),
                 ("--alpha", ".1", ".1")):
        results_of("calibrate_rcps", *flags(tree, *more))
    assert (tree.calibration / "run.json").read_bytes() == record
    assert "has bound wsr, this command has anytime" in refusal_of("calibrate_rcps", *flags(tree, "--anytime"))


def test_images_of_one_name_from_two_folders_are_not_one_image(tree):
    make_outputs(tree.outputs(4), seed=5, resize_factor=4)  # img_00000.png, ... of another seed
    assert "image 0 of level medium is not that of easy" in refusal_of("calibrate_rcps", *flags(tree))
    results_of("calibrate_rcps", *flags(tree, "--levels_as", "each"))


def test_half_floats_and_missing_truths_stay_the_same_images(tree):
    for factor in (1, 4, 8):
        truth = arrays(tree.outputs(factor))[TRUTH]
        truth[5] = np.nan
        change(tree.outputs(factor), **{TRUTH: truth}, image_names=None, has_truth=np.arange(120) != 5)
    found = arrays(tree.outputs(4))
    change(tree.outputs(4), **{key: found[key].astype(np.float16) for key in KEYS})
    assert results_of("calibrate_rcps", *flags(tree, "--drop_missing"))["num_images"] == [119] * 3


@pytest.mark.parametrize(("changed", "says"), [
    ({"encoder": np.array("xyz")}, "was made by a different encoder than"),
    ({"resize_factor": np.array(16)}, "was made at resize factor 16, level medium is for 4"),
    ({"resize_factor": np.array("x")}, "'resize_factor' is <U1 with shape (), expected one value"),
    ({"resize_factor": np.array([4, 4])}, "'resize_factor' is int64 with shape (2,)"),
    ({"image_names": np.array([None] * 120)}, "'image_names' holds Python objects. Save numpy.array(list)"),
    ({"has_truth": np.array(["no"] * 120)}, "'has_truth' is <U2"),
    ({TRUTH: np.zeros((120, 40), int)}, "Save it as numpy.float32")])
def test_small_arrays_of_other_kinds_are_named(tree, changed, says):
    change(tree.outputs(4), **changed)
    assert says in refusal_of("calibrate_rcps", *flags(tree))


def test_whole_numbers_as_statistics_and_bytes_as_names_are_read(tree):
    expected = results_of("calibrate_rcps", *flags(tree, "--norm_scheme", "min_max"))
    names = arrays(tree.outputs(4))["image_names"]
    for factor in (1, 4, 8):
        change(tree.outputs(factor), image_names=names.astype("S"), min_style_space_vector=np.full(40, -4),
               max_style_space_vector=np.full(40, 4))
    found = results_of("calibrate_rcps", *flags(tree, "--norm_scheme", "min_max"))
    assert found["lambda_hat"] == expected["lambda_hat"]


def test_truths_that_no_lambda_covers_are_counted_by_level_and_coordinate(tree):
    found = arrays(tree.outputs(4))
    for key, value in ((KEYS[2], 9e3), (KEYS[3], -9e3)):
        found[key][:60, :39] = value
    change(tree.outputs(4), **found)
    line = refusal_of("calibrate_rcps", *flags(tree))
    assert "quantiles cross: easy 0 %, medium 49 %, hard 0 %; worst coordinates: dim_0 17 %, dim_1 17 %" in line


def test_a_single_coordinate_has_losses_of_0_and_1(tree):
    command = ("--outputs", f"one={tree.outputs(1)}", "--dims", "3", "--bound", "binomial", "--total_runs", "2",
               "--output_dir", tree.root / "one")
    assert results_of("calibrate_rcps", *command)["bound"] == "binomial"
    assert "is for losses of 0 and 1" in refusal_of("calibrate_rcps", *command[:3], "3,4", *command[4:])


def test_apply_measures_the_loss_that_was_calibrated(tree, tmp_path):
    saved = results_of("calibrate_rcps", *flags(tree, "--loss", "any", "--levels_as", "each", "--alpha", ".3",
                                                "--norm_scheme", "min_max"))
    applied = results_of("calibrate_rcps", "apply", "--calibration", tree.calibration, "--outputs",
                         f"hard={tree.outputs(8)}", "--output_dir", tmp_path / "sets")["levels"][0]
    assert applied["risk"] == pytest.approx(saved["levels"][2]["risk_calibrated"], abs=0.02)  # its lambda is rounded
    assert applied["mean_width"] == pytest.approx(saved["levels"][2]["width_calibrated"])


def test_a_saved_calibration_is_not_used_for_other_outputs_or_options(tree, tmp_path):
    results_of("calibrate_rcps", *flags(tree))
    base = ("experiments", "--base_dir", tree.root.parent, "--exp_name", "exp", "--experiment", "importance",
            "--output_dir", tmp_path / "out")
    path = make_outputs(tmp_path / "other.npz", encoder="zzz")
    other = [f"{level}={path}" for level in ("easy", "medium", "hard")]
    assert "was made by a different encoder than the calibration's" in \
        refusal_of("calibrate_rcps", *base, "--outputs", *other)
    for more in (("--dims", "0"), ("--total_runs", "7"), ("--resize_factors", "1,16")):
        assert f"{more[0]}: acts where nothing is calibrated yet" in refusal_of("calibrate_rcps", *base, *more)
    for more in (("--noise_std", ".2"), ("--image_dir", "x"), ("--from_outputs",), ("--encoder_size", "16")):
        assert f"{more[0]}: acts on --experiment " in refusal_of("calibrate_rcps", *base, *more)
    found = results_of("calibrate_rcps", *base, "--dims", "all", "--num_samples", 999)
    assert found["importance"]["num_samples"] == 120


def test_a_calibration_of_named_files_asks_for_them(tree, tmp_path):
    results_of("calibrate_rcps", "--outputs", f"a={tree.outputs(1)}", "--dims", "all", "--total_runs", "2",
               "--output_dir", tmp_path / "named")
    assert "--outputs: required: the calibration was made of files named by --outputs" in \
        refusal_of("calibrate_rcps", "figures", "--calibration", tmp_path / "named")


def test_pictures_that_others_put_beside_end_points_stay(tree, generator, tmp_path):
    results_of("calibrate_rcps", *flags(tree))
    tmp_path.joinpath("ends").mkdir()
    for name in ("mine.png", "easy_00004.png", "easy_00003.png"):
        tmp_path.joinpath("ends", name).write_bytes(b"mine")
    command = ("endpoints", "--base_dir", tree.root.parent, "--exp_name", "exp", "--stylegan_path", generator[0],
               "--device", "cpu", "--output_dir", tmp_path / "ends", "--image_index", "3", "3", "--dry_run")
    assert "easy_00003.png: is in the way" in refusal_of("calibrate_rcps", *command)
    tmp_path.joinpath("ends", "easy_00003.png").unlink()
    ended = call_tool("calibrate_rcps", *command, "--overwrite")
    assert "would draw 1 image at 3 levels" in ended.err
    assert "remove" not in ended.err


def test_corrupted_pictures_of_equal_names_are_all_kept(tree, encoder, images, tmp_path):
    results_of("calibrate_rcps", *flags(tree))
    shutil.copytree(images, images / "inner")
    results = results_of("calibrate_rcps", "experiments", "--base_dir", tree.root.parent, "--exp_name", "exp",
                         "--experiment", "stress_test", "--image_dir", images, "--encoder_size", 16, "--device", "cpu",
                         "--num_samples", "6", "--output_dir", tmp_path / "out")
    assert results["stress_test"]["corruption_levels"]["mild"]["num_samples"] == 6
    assert len(list(Path(tmp_path, "out/stress_test/corrupted/mild").rglob("*.png"))) == 6


def test_made_outputs_need_room_and_equal_scales_are_two_levels(tmp_path):
    assert "the files would take" in refusal_of("calibrate_rcps", "make-synthetic", "--base_dir", tmp_path,
                                                "--num_images", 10**13)
    rows = results_of("calibrate_rcps", "simulate", "--scales", 1, 1, "--levels_as", "each", "--bounds", "hb",
                      "--repetitions", 2, "--num_images", 60, "--output_dir", tmp_path / "sim")["rows"]
    assert [row["group"] for row in rows] == ["scale_1_1", "scale_1_2", "any level"]


def test_a_note_says_where_two_levels_are_one_file(tree, tmp_path):
    ended = call_tool("calibrate_rcps", "--outputs", f"a={tree.outputs(1)}", f"b={tree.outputs(1)}", "--dims", "all",
                      "--total_runs", "2", "--output_dir", tmp_path / "out", "--json")
    assert "note: level b has the same contents as level a" in ended.err
    assert json.loads(ended.out)["results"]["lambda_hat"].keys() == {"mean"}


def test_edges_are_rounded_outward_and_the_deciding_truth_is_covered(tree, tmp_path):
    saved = results_of("calibrate_rcps", *flags(tree, "--bound", "hb", "--levels_as", "each"))
    applied = results_of("calibrate_rcps", "apply", "--calibration", tree.calibration, "--outputs", *[
        f"{level}={tree.outputs(factor)}" for level, factor in (("easy", 1), ("medium", 4), ("hard", 8))],
        "--output_dir", tmp_path / "sets")["levels"]
    assert [row["risk"] for row in applied] == [pytest.approx(row["risk_calibrated"], abs=1e-12)
                                                for row in saved["levels"]]
    edges = np.array([1 + 1e-9, 1 - 1e-9, 0.1, -0.1, 1e-50])
    assert (np.float64(outward(edges, -np.inf)) <= edges).all()
    assert (np.float64(outward(edges, np.inf)) >= edges).all()
    assert (outward(np.float64(np.float32(edges)), np.inf) == np.float32(edges)).all()


def test_one_split_of_several_levels_has_one_number_each(tree):
    results_of("calibrate_rcps", *words(tree, "--dims", "all", "--total_runs", "1", "--levels_as", "each"))
    found = arrays(tree.calibration / "calibration.npz")
    assert {found[name].shape for name in ("lambda_calib", "idx_lambda_calib", "mean_emp_risks",
                                           "uncalibrated_risks")} == {(3, 1)}


def test_the_stress_test_takes_pictures_of_factor_1_of_the_calibrated_generator(tree, encoder, images, tmp_path):
    results_of("calibrate_rcps", *flags(tree))
    command = ("experiments", "--base_dir", tree.root.parent, "--exp_name", "exp", "--experiment", "stress_test",
               "--image_dir", images, "--encoder_size", 16, "--device", "cpu", "--output_dir")
    assert "lies in --image_dir" in refusal_of("calibrate_rcps", *command, images / "out")
    code = arrays(images / "latents_00003.npz")["style_vectors"]
    for changed, says in (({"resize_factor": np.array(8)}, "its image is degraded by 8 already"),
                          ({"style_vectors": code[:, 1:]}, "has 39 numbers, expected 40")):
        np.savez(images / "latents_00003.npz", **{"style_vectors": code, **changed})
        assert f"latents_00003.npz: {says}" in refusal_of("calibrate_rcps", *command, tmp_path / "out").replace(
            "'style_vectors' ", "")


@pytest.mark.parametrize(("more", "says"), [
    (("--parity", "--loss", "any"), "--loss any: --parity means fraction"),
    (("--parity", "--sides", "separate"), "--sides separate: --parity means one"),
    (("--parity", "--shape", "per_dim"), "--shape per_dim: --parity means one"),
    (("--parity", "--seed", "3"), "--seed: acts on seeded splits"),
    (("--guarantee", "crc", "--delta", ".2"), "--delta: --guarantee crc has a test of its own")])
def test_flags_that_contradict_each_other(tree, more, says):
    assert says in refusal_of("calibrate_rcps", *flags(tree, *more))


def test_flags_of_the_tree_beside_named_files(tree):
    named = ("--outputs", f"a={tree.outputs(1)}", "--dims", "all")
    for more in (("--resize_factors", "1"), ("--exp_name", "exp"), ("--difficulty_levels", "a")):
        assert more[0] in refusal_of("calibrate_rcps", *named, *more).partition(": ")[2]


def test_figures_need_ranges_and_take_coordinates_that_never_change(tree, tmp_path):
    results_of("calibrate_rcps", *flags(tree))
    found = arrays(tree.outputs(4))
    low, span = ranges(Outputs(tree.outputs(4)), [0])
    assert (low[0], span[0]) == (-4, 8)
    change(tree.outputs(4), min_style_space_vector=found["max_style_space_vector"])
    assert ranges(Outputs(tree.outputs(4)), [0])[1] == 1
    change(tree.outputs(4), min_style_space_vector=None)
    line = refusal_of("calibrate_rcps", "figures", "--calibration", tree.calibration, "--base_dir", tree.root.parent,
                      "--exp_name", "exp", "--output_dir", tmp_path / "figures")
    assert "has no 'min_style_space_vector'. Write it again with generate_outputs_npz." in line
    assert not (tmp_path / "figures").exists()
