"""train_quantile_encoder: flags that are not served, and bad input, are refused in one line, nothing is written."""

import os

import numpy as np
import pytest
import torch

from tests.tools.commands import refusal_of
from tests.tools.interval_networks import save_generator
from tests.tools.train_quantile_encoder.runs import TINY, train

pytestmark = pytest.mark.usefixtures("here")
REFUSED = [
    ("--start_from_latent_avg=false",), ("--no_use_style_vector_average",), ("--input_nc", "4"), ("--label_nc", "2"),
    ("--pretrained_psp_resolution", "512"), ("--experiment_type", "inpainting"), ("--mask_threshold_low", "0.2"),
    ("--mask_threshold_high", "0.9"), ("--train_decoder", "True"), ("--learn_in_w",), ("--normalize_sv",),
    ("--moco_lambda", "0.5"), ("--wandb_run_name", "mine"), ("--output_size", "1024"),
    ("--encoder_type", "GradualStyleEncoder_with_quantiles"),
]
WRONG = {
    "no point": (("--nomse",), "nothing trains the point"),
    "lpips without weights": (("--lpips_lambda", "1"), "--lpips_weights"),
    "id without weights": (("--id_lambda", "1"), "--id_weights"),
    "real without loss": (("--real_train_data_path", "real"), "--real_train_data_path"),
    "crop of small images": (("--l2_lambda_crop", "1"), "256 px"),
    "probabilities": (("--resize_probabilities", ".5"), "1 probabilities for 2 factors"),
    "sum": (("--resize_probabilities", ".5,.6"), "sum to 1"),
    "words": (("--resize_probabilities", "a,b"), "expected numbers"),
    "factor": (("--resize_factors", "3"), "3"),
    "batch": (("--batch_size", "2", "--accumulate", "2"), "--batch_size"),
    "no generator": (("--stylegan_weights", "none.pt"), "none.pt"),
    "no images": (("--generated_train_data_path", "none"), "none"),
    "without latents": (("--generated_train_data_path", "real"), "has no latents"),
    "prefix": (("--generated_data_dir_prefix", "x"), "begins with 'x'"),
    "dims": (("--dims", "9999"), "9999"),
    "two starts": (("--checkpoint_path", "a", "--pretrained_model_path", "b"), "choose one"),
    "mps": (("--device", "mps"), "mps"),
    "mask and images": (("--use_quantile_loss_mask", "--l2_lambda", "1"), "--use_quantile_loss_mask"),
}


def refused(*words):
    line = refusal_of("train_quantile_encoder", *TINY, "--exp_dir", "out", *words, "--quiet")
    assert not os.path.exists("out")
    return line


@pytest.mark.parametrize("words", REFUSED, ids=lambda words: words[0])
def test_a_flag_that_is_not_served_is_refused_by_name(words):
    assert words[0].split("=")[0].replace("--no_", "--").split("--")[1].removeprefix("no_") in refused(*words)


def test_values_that_mean_what_is_done_anyway_are_taken():
    train("--max_steps", "1", "--train_decoder", "False", "--start_from_latent_avg", "--moco_lambda", "0",
          "--output_size", "16", "--input_nc", "3")


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_one_line(name):
    words, expected = WRONG[name]
    assert expected in refused(*words)


def test_an_unreadable_image_of_the_validation_is_named(here):
    path = here / "val/generated/1x/img_00003.png"
    path.unlink()
    path.write_bytes(b"no image")
    assert "img_00003.png" in refused("--val_data_path", "val/generated/1x")


def test_images_that_are_degraded_already_are_refused(here):
    path = here / "train" / "generated" / "1x" / "latents_00003.npz"
    with np.load(path) as arrays:
        content = {name: arrays[name] for name in arrays.files}
    path.unlink()  # a link to the shared one
    np.savez(path, **{**content, "resize_factor": np.int64(4)})
    assert "degraded by 4 already" in refused()


def test_a_foreign_state_is_refused(here):
    train("--max_steps", "2")
    torch.save({"step": 2}, "out/checkpoint.pth")
    line = refusal_of("train_quantile_encoder", *TINY, "--exp_dir", "out", "--quiet")
    assert "checkpoint.pth" in line


def test_another_option_on_the_same_folder_is_refused(here):
    train("--max_steps", "2")
    line = refusal_of("train_quantile_encoder", *TINY, "--exp_dir", "out", "--alpha", "0.2", "--quiet")
    assert "has alpha 0.1" in line


def test_images_of_another_generator_are_refused(here):
    save_generator(here / "other.pt", seed=1)
    line = refused("--stylegan_weights", "other.pt")
    assert "latents_00001.npz: comes from a different generator than --stylegan_weights" in line


def test_flags_that_act_on_nothing_are_refused():
    for words, why in ((("--generated_share", ".4"), "--real_train_data_path"), (("--lr_floor", ".5"), "cosine"),
                       (("--lpips_weights", "g.pt"), "--lpips_lambda"), (("--id_weights", "g.pt"), "--id_lambda")):
        line = refused(*words)
        assert line.startswith(f"error: {words[0]}: ")
        assert why in line


def test_pictures_are_not_drawn_among_the_images(here):
    for place in ("train/generated/1x", "train/generated/1x/run"):
        line = refusal_of("train_quantile_encoder", *TINY, "--exp_dir", place, "--quiet")
        assert f"--exp_dir {place}: lies in --generated_train_data_path" in line
    assert not list((here / "train/generated/1x").glob("run*"))


def test_other_encoders_in_the_folder_of_models_stay(here):
    mine = here / "out" / "models" / "mine.pt"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    train("--max_steps", "1")
    train("--max_steps", "1", "--overwrite")
    assert mine.read_bytes() == b"mine"
    published = here / "published" / "models" / "superres_alpha_0.1.pt"
    published.parent.mkdir(parents=True)
    published.write_bytes(b"published")
    assert "superres_alpha_0.1.pt: is in the way" in \
        refusal_of("train_quantile_encoder", *TINY, "--exp_dir", "published", "--quiet")
