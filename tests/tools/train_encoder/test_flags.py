"""train_encoder: presets, flags that contradict each other, and bad input are one line, and nothing is written."""

import os
from dataclasses import replace

import pytest
import torch

from tests.tools.commands import refusal_of
from tests.tools.train_encoder.runs import CONFIG, PRETRAIN, TRAIN, train, write_decision, write_gan
from tools.train_encoder.loop import make_optimiser
from tools.train_encoder.options import PretrainOptions, TrainOptions, settled, weights_of

pytestmark = pytest.mark.usefixtures("here")
WRONG = {
    "no generator": (("--blobgan_weights", "none.ckpt"), "none.ckpt"),
    "no pictures": (("--dataset_path", "none"), "none"),
    "no start": (("--start_weights", "none.pt"), "Pretrain one"),
    "no decision model": (("--decision_weights", "none.tar"), "none.tar"),
    "decision model left out": (("--decision_weights", "none"), "--real_decision"),
    "two distances": (("--lpips_weights", "vgg.pth"), "there is one perceptual distance"),
    "truncation": (("--truncation_min", "0.5"), "--truncation_max"),
    "truncation of an early latent": (("--truncation_max", "0.5", "--mlp_idx", "1"), "--mlp_idx 1"),
    "module": (("--mlp_idx", "9"), "4 modules"),
    "word": (("--mlp_idx", "last"), "whole number or raw"),
    "channels": (("--channels", "8"), "--channels 8"),
    "nothing to train": (("--preset", "rect_no_decision", "--real_lpips", "0", "--fake_lpips", "0", "--real_MSE", "0",
                          "--fake_MSE", "0", "--fake_latents_MSE", "0"), "all terms have weight 0"),
    "parts without a row": (("--accumulate", "5"), "--batch_size 4: is less than --accumulate"),
    "the end of no fall": (("--schedule", "constant", "--lr_floor", "0.2"), "--lr_floor: acts on --schedule cosine"),
    "halvings of a cosine": (("--schedule", "cosine", "--halve_every", "9"), "--halve_every: acts on --schedule orig"),
    "truncation of no picture": (("--preset", "rect_no_decision", "--fake_lpips", "0", "--fake_MSE", "0",
                                  "--fake_latents_MSE", "0", "--truncation_max", "0.5"),
                                 "--truncation_max: acts on terms of generated pictures"),
    "pixels of no term": (("--preset", "streets", "--real_MSE", "0", "--loss_type", "l2"),
                          "--loss_type: acts on --real_MSE or --fake_MSE"),
    "negative": (("--real_MSE", "-1"), "--real_MSE"),
    "unknown": (("--real_L2", "1"), "--real_L2"),
}


def refused(*words):
    line = refusal_of("train_encoder", *words, "--output_dir", "out", "--quiet")
    assert not os.path.exists("out")
    return line


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_one_line(name):
    words, expected = WRONG[name]
    assert expected in refused(*TRAIN, *words)


def test_T24_missing_trunk_is_named_with_its_address_and_heads_are_told_from_it(here):
    without = [word for word in TRAIN if word not in ("--perceptual",)]
    without.remove("decision.tar")
    address = "https://download.pytorch.org/models/vgg16-397923af.pth"
    assert address in refused(*without)
    assert address in refused(*without, "--lpips_weights", "vgg16-397923af.pth")
    torch.save({f"lin{index}.model.1.weight": torch.rand(1, 4, 1, 1) for index in range(5)}, "vgg.pth")
    line = refused(*without, "--lpips_weights", "vgg.pth")
    assert "learned layers alone" in line
    assert address in line


def test_T38_an_encoder_of_another_size_or_transform_is_refused(here):
    train(*PRETRAIN, "--n_iters", "1", out="square")
    write_gan(here / "wide.ckpt", replace(CONFIG, aspect_ratio=2))
    write_decision(here / "wide.tar", (16, 32))
    line = refused(*TRAIN, "--blobgan_weights", "wide.ckpt", "--start_weights", "square/best.pt", "--decision_weights",
                   "wide.tar", "--perceptual", "wide.tar")
    assert "aspect_ratio is 1, the generator's 2" in line


def test_T38_a_model_with_one_style_for_the_picture_is_refused(here):
    write_gan(here / "gan.ckpt", replace(CONFIG, spatial_style=False, noise_dim=CONFIG.dim))
    for words in (PRETRAIN, TRAIN):
        assert "gan.ckpt: its pictures have one style each, which no layout holds" in refused(*words)


def test_a_decision_model_of_another_size_is_refused(here):
    write_decision(here / "large.tar", (32, 32))
    assert "32 x 32 px" in refused(*TRAIN, "--decision_weights", "large.tar")


def test_held_out_pictures_of_which_none_can_be_read_are_refused(here):
    (here / "val").mkdir()
    for number in range(2):
        (here / "val" / f"{number}.png").write_bytes(b"no picture")
    assert "can be read" in refused(*TRAIN, "--val_path", "val").split(": ")[-1]


def test_another_option_on_the_same_folder_is_refused(here):
    train(*PRETRAIN, "--n_iters", "2")
    line = refusal_of("train_encoder", *PRETRAIN, "--n_iters", "2", "--jitter", "--output_dir", "out", "--quiet")
    assert "has jitter False" in line


def test_presets_are_the_published_weights():
    rect = weights_of(settled(TrainOptions()))
    assert rect == {"real_lpips": 1, "real_MSE": 0.1, "real_decision": 0.05, "fake_lpips": 1, "fake_MSE": 1,
                    "fake_decision": 0.1, "fake_latents_MSE": 10, "fake_vector_MSE": 0}
    none = weights_of(settled(TrainOptions(preset="rect_no_decision")))
    assert none == {**rect, "real_decision": 0, "fake_decision": 0}
    square = settled(TrainOptions(preset="square", fake_decision=0.5))
    assert weights_of(square) == {**rect, "real_MSE": 1, "real_decision": 0, "fake_decision": 0.5,
                                  "fake_latents_MSE": 5}
    assert (square.lr, square.loss_type, square.halve_every) == (0.002, "l1", 5000)
    first = settled(PretrainOptions())
    assert (first.lr, first.batch_size, first.n_iters, first.halve_every) == (0.005, 16, 150_000, 2500)


def rates(steps, **flags):
    options = settled(PretrainOptions(n_iters=steps, lr=1.0, **flags))
    schedule = make_optimiser(torch.nn.Linear(1, 1), options, torch.device("cpu")).schedule
    return [schedule(step) for step in range(steps)]


def test_schedules():
    assert rates(6, schedule="original", halve_every=2) == [1, 1, 0.5, 0.5, 0.25, 0.25]
    assert rates(3, schedule="constant") == [1, 1, 1]
    assert rates(4, schedule="linear") == [1, 0.75, 0.5, 0.25]
    assert rates(4, schedule="linear", lr_floor=0.5) == [1, 0.875, 0.75, 0.625]
    assert rates(3, schedule="cosine") == pytest.approx([1, 0.5, 0])
    assert rates(3, schedule="cosine", lr_floor=0.2) == pytest.approx([1, 0.6, 0.2])
