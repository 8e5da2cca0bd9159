"""train_quantile_encoder: it learns, resumes, splits over parts and processes, and writes what the chain reads."""

import math
import os
import signal
import time

import numpy as np
import pytest
import torch
from PIL import Image

from common.networks.quantile_encoder_weights import load_quantile_encoder
from tests.tools.commands import call_tool, results_of, torchrun_tool
from tests.tools.float64_guard import NoFloat64
from tests.tools.train_edm.runs import contents, end, log_rows
from tests.tools.train_quantile_encoder.runs import TINY, VALIDATED, start, train

pytestmark = pytest.mark.usefixtures("here")
ALL = (*VALIDATED, "--image_interval", "7", "--save_interval", "9")


def test_it_learns_and_the_chain_reads_what_it_writes(here):
    results = train(*VALIDATED, "--max_steps", "80", "--optim_name", "adam", "--learning_rate", "8e-3",
                    "--val_interval", "100", "--lr_decay", "cosine", out="assets/super_resolution")
    rows = log_rows("assets/super_resolution")
    assert results["training_loss"] < 0.5 * np.mean([row["loss"] for row in rows[:10]])
    assert min(results["r2_1x"], results["r2_4x"]) > 0.3
    assert 0.4 < results["coverage_1x"] < 1
    assert results["width_1x"] > 0.1
    assert results["encoder"] == "assets/super_resolution/models/superres_alpha_0.1.pt"
    outputs = results_of("generate_outputs_npz", "--resize_factor", 4, "--image_dir", "val/generated/1x",
                         "--output_path", "outputs.npz", "--device", "cpu")
    assert (outputs["num_images"], outputs["with_truth"], outputs["encoder_size"]) == (30, 30, 16)
    assert outputs["statistics"] == "encoder"
    picture = np.asarray(Image.open(here / "assets/super_resolution/predictions.png"))
    assert picture.std() > 10


def test_the_container_is_the_published_one(here):
    train("--max_steps", "2", "--alpha", "0.2")
    stored = torch.load("out/models/superres_alpha_0.2.pt", weights_only=True)
    assert {"state_dict", "opts", "latent_avg", "style_space_latent_avg", "style_space_latent_min",
            "style_space_latent_max", "_STYLE_SPACE_MIN", "_STYLE_SPACE_MAX"} == set(stored)
    assert (stored["opts"]["input_nc"], stored["opts"]["alpha"]) == (3, 0.2)
    with np.load("train/generated/1x/style_statistics.npz") as statistics:
        np.testing.assert_array_equal(stored["style_space_latent_avg"], statistics["mean"])


@pytest.mark.long  # as tests/faults does 20 times
def test_a_killed_run_ends_with_the_bytes_of_an_uninterrupted_one(here):
    train(*ALL, out="whole")
    process = start(here, *ALL, "--exp_dir", "cut", "--quiet")
    log = here / "cut" / "log.jsonl"
    while process.poll() is None and not (log.exists() and log.read_text().count("\n") > 8):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert end(process).status in (-signal.SIGKILL, 0)
    train(*ALL, out="cut")
    assert contents("cut") == contents("whole")
    assert log_rows("cut") == log_rows("whole")
    assert {"checkpoint.pth", "models/superres_alpha_0.1.pt", "checkpoints/iteration_9.pt", "images/step_0000014.png",
            "predictions.png"} <= set(contents("whole"))


def test_more_steps_go_on_and_give_the_bytes_of_a_longer_run(here):
    train("--max_steps", "3")
    train("--max_steps", "6")
    train("--max_steps", "6", out="straight")
    assert contents("out") == contents("straight")
    assert log_rows() == log_rows("straight")


def test_an_unreadable_image_is_replaced_and_counted(here):
    path = here / "train/generated/1x/img_00003.png"
    data = path.read_bytes()
    path.unlink()  # a link to the shared one
    path.write_bytes(data[:60])
    assert train("--max_steps", "4")["damaged"] == 1  # three batches are all images
    train("--max_steps", "4", "--workers", "3", "--memory_gb", "0", out="again")
    assert contents("out") == contents("again")


def test_stopped_it_saves(here, monkeypatch):
    monkeypatch.setattr("tools.train_quantile_encoder.loop.draw_predictions",
                        lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    ended = call_tool("train_quantile_encoder", *TINY, "--image_interval", "3", "--exp_dir", "out", "--quiet")
    assert ended.status == 130
    assert torch.load("out/checkpoint.pth", weights_only=True)["step"] == log_rows()[-1]["step"] == 3


@pytest.mark.long
def test_two_processes_train_like_one(here):
    words = (*ALL, "--real_train_data_path", "real", "--l2_lambda", "0.5", "--max_steps", "20")
    train(*words, out="one")
    ended = torchrun_tool(2, "train_quantile_encoder", *TINY, *words, "--exp_dir", "two", "--quiet")
    assert ended.status == 0, ended.err
    one, two = log_rows("one"), log_rows("two")
    for mine, other in zip(one, two, strict=True):
        assert other["loss"] == pytest.approx(mine["loss"], rel=1e-5)
    for name in ("coverage_1x", "width_4x", "r2_1x", "crossing_4x"):
        assert two[15][name] == pytest.approx(one[15][name], rel=1e-3, abs=1e-3)


def test_a_batch_in_parts_gives_the_gradient_of_its_parts_means(here):
    words = ("--max_steps", "3", "--learning_rate", "1e-6")  # batch norm sees a part at a time: close, not equal
    train(*words, out="whole")
    train(*words, "--accumulate", "2", out="parts")
    for one, other in zip(log_rows("whole"), log_rows("parts")):
        assert other["loss"] == pytest.approx(one["loss"], rel=0.1)
        assert other["loss"] != one["loss"]


def test_bf16_trains_close_to_float32(here):
    train("--max_steps", "3", out="full")
    train("--max_steps", "3", "--precision", "bf16", out="half")
    for one, other in zip(log_rows("full"), log_rows("half")):
        assert math.isclose(one["loss"], other["loss"], rel_tol=0.05)


def test_mps_has_no_float64(here):
    with NoFloat64():
        train("--max_steps", "3", "--l2_lambda", "0.1", "--w_norm_lambda", "0.1", "--real_train_data_path", "real")
    assert len(log_rows()) == 3


@pytest.mark.parametrize("words", [("--pretrained_model_path", "first/models/superres_alpha_0.1.pt"),
                                   ("--checkpoint_path", "first/models/superres_alpha_0.1.pt")])
def test_it_starts_from_weights_of_a_file(here, words):
    train("--max_steps", "2", out="first")
    before = load_quantile_encoder("first/models/superres_alpha_0.1.pt").network.state_dict()
    train("--max_steps", "1", "--learning_rate", "1e-12", *words)
    after = load_quantile_encoder("out/models/superres_alpha_0.1.pt").network.state_dict()
    assert torch.allclose(after["body.0.res_layer.1.weight"], before["body.0.res_layer.1.weight"], atol=1e-8)
    same = torch.allclose(after["projection.0.weight"], before["projection.0.weight"], atol=1e-8)
    assert same == ("--checkpoint_path" in words)


def test_masked_coordinates_alone_are_trained(here):
    train("--max_steps", "3", "--use_quantile_loss_mask", "--dims", "3,5", "--optim_name", "adam", "--checkpoint_path",
          first_encoder())
    before = load_quantile_encoder("first/models/superres_alpha_0.1.pt").network.projection[0].bias
    change = (load_quantile_encoder("out/models/superres_alpha_0.1.pt").network.projection[0].bias - before).abs()
    assert sorted(change.nonzero().flatten().tolist()) == [3, 5]


def first_encoder():
    train("--max_steps", "1", out="first")
    return "first/models/superres_alpha_0.1.pt"


@pytest.mark.parametrize("name", ["ir_se50", "ir50", "resnet18"])
@pytest.mark.long
def test_every_encoder_trains_a_step(here, name):
    results = train("--max_steps", "1", "--encoder_type", name)
    assert math.isfinite(results["training_loss"])
    assert load_quantile_encoder(results["encoder"]).network.config.pooling
