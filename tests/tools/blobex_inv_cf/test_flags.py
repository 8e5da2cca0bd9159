"""blobex_inv_cf's flags: values that cannot be had are refused by name, and a flag without effect changes nothing."""

import pytest

from common.effects import without_effect
from common.images.suffixes import file_stems
from tests.tools.blobex_inv_cf.runs import WORDS
from tests.tools.commands import call_tool, refusal_of, results_of
from tools.blobex_inv_cf.goals import wanted
from tools.blobex_inv_cf.options import ExplainOptions
from tools.blobex_inv_cf.run import acts
from tools.blobex_inv_cf.sweep import SweepOptions, combinations

SCORED = ("--segmentation_weights", "decision.tar", "--target_classes")


@pytest.mark.parametrize(("words", "message"), [
    (["--num_diverse", "99999999999999999999"], "--num_diverse 99999999999999999999: must be at most"),
    (["--noreal_images", "--num_imgs", "90000000000"], "--num_imgs 90000000000: must be from 1 to 10,000,000"),
    (["--coarse", "2"], "--coarse 2: a network that is compared by takes no pictures of 8 x 8"),
    (["--lr_ratio", "sizes=1", "sizes=2"], "--lr_ratio: sizes is given twice"),
    (["--objective", "attribute:2", "attribute:Left"], "--objective attribute:Left: is the same as attribute:2"),
    (["--class_names", "a", "b"], "--class_names: acts on programs"),
    ([*SCORED, "Stop"], "--segmentation_weights decision.tar: the model has 4 attributes"),
    ([*SCORED, "Stp"], "--target_classes Stp: no class or attribute"),
    ([word for term in ("lpips", "l2", "decision_fm", "latent_prox") for word in (f"--lambda_inv_{term}", "0")],
     "all weights of the inversion are 0: nothing is compared"),
    (["--output_dir", "val"], "--output_dir val: is inside the folder of images val"),
    (["--output_dir", "val/out"], "--output_dir val/out: is inside the folder of images val")])
def test_values_that_cannot_be_had_are_refused_by_name(here, words, message):
    assert message in refusal_of("blobex_inv_cf", *WORDS, "--output_dir", "new", *words)
    assert not (here / "new").exists()
    assert not (here / "val" / "run.json").exists()


def test_a_flag_without_effect_is_named_and_another_value_of_it_changes_nothing(here):
    words = [*WORDS, "--load_inversion", "--inversions_path", "out/all_inversions.pt", "--max_images", "1",
             "--n_iters_cf", "2", "--output_dir", "again"]
    ended = call_tool("blobex_inv_cf", *words)
    assert "note: without effect here: --n_iters_inv (acts on inversions)" in ended.err
    ended = call_tool("blobex_inv_cf", *words, "--n_iters_inv", "9", "--lambda_prox", "sizes=2")
    assert ended.status == 0
    assert "again: up to date" in ended.err


def test_which_flags_have_no_effect():
    given = {"num_imgs": 3, "margin": 2.0, "lr_inv": 0.1, "patience": 2, "lambda_prox": ["xs=1"]}

    def idle(**more):
        options = ExplainOptions(**given, **more)
        return {*without_effect(options, acts(options))}

    assert idle() == {"num_imgs", "lambda_prox"}
    assert idle(real_images=False, early_stop="off", lambda_prox_cf=1.0) == {"lr_inv", "margin", "patience"}
    assert idle(inversion_only=True) == {*given} - {"lr_inv"}


def test_a_name_with_an_equals_sign_and_the_name_class_are_names():
    assert wanted(ExplainOptions(target=["a=1=0"]), ("b", "a=1")).targets == {1: -1}
    assert wanted(ExplainOptions(target=["class=1"]), ("a", "b", "class")).targets == {2: 1}
    assert wanted(ExplainOptions(target=["class=1"]), ("a", "b")).targets == {1: 1}


def test_combinations_that_differ_late_have_folders_of_their_own():
    options = SweepOptions(learning_rate_cf=[0.1234567, 0.1234568], n_iters_cf=[25], lambda_prox_cf=[0.0])
    assert [name for name, _ in combinations(options)] == ["run_0.1234567_25_0", "run_0.1234568_25_0"]


def test_files_of_images_with_one_stem_do_not_replace_each_other(here):
    assert file_stems(["a/x.png", "b/x.png"]) == ["a/x", "b/x"]
    assert file_stems(["x.jpg", "x.png", "x.jpg.png", "v1.0", "v1.1"]) == ["x.jpg", "x.png", "x.jpg_2", "v1.0", "v1.1"]
    for old, new in (("00.png", "x.png"), ("01.png", "x.jpg"), ("02.png", "x_0.png")):
        (here / "val" / old).rename(here / "val" / new)
    results_of("blobex_inv_cf", *WORDS, "--output_dir", "three", "--inversion_only", "--n_iters_inv", "1")
    results_of("blobex_inv_cf", "blobs", "three/all_inversions.pt", "--blobgan_weights", "gan.ckpt", "--output_dir",
               "blobs", "--device", "cpu")
    assert len([*(here / "blobs").glob("*.png")]) == 5
