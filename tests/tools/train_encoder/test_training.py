"""train_encoder: it learns, resumes, splits over parts and processes, and writes what its page says."""

import json
import math
import os
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from common.networks.blobgan.encoder_files import read_encoder
from common.networks.blobgan.files import read_blobgan
from tests.tools.commands import call_tool, refusal_of, results_of, torchrun_tool
from tests.tools.train_edm.runs import contents, log_rows
from tests.tools.train_encoder.runs import PRETRAIN, TRAIN, train, write_images
from tools.train_encoder.loop import EncoderTraining

pytestmark = pytest.mark.usefixtures("here")
ALL_TERMS = ("--real_lpips", "1", "--real_MSE", "1", "--real_decision", "0.5", "--fake_lpips", "1", "--fake_MSE", "1",
             "--fake_decision", "0.5", "--fake_latents_MSE", "1", "--fake_vector_MSE", "1")
ALL_DRAWS = ("--jitter", "--noise", "fresh", "--truncation_max", "0.5")


def test_both_stages_learn_and_the_second_starts_from_the_first(here):
    first = train(*PRETRAIN, "--mlp_idx", "raw", "--n_iters", "100", "--batch_size", "16", "--lr", "0.004",
                  "--save_every", "30", "--init", "random", out="pre")
    rows = log_rows("pre")
    assert np.mean([row["loss"] for row in rows[-10:]]) < 0.5 * np.mean([row["loss"] for row in rows[:5]])
    assert first["best_held_out_loss"] == min(row["val_loss"] for row in rows if "val_loss" in row)
    results = train(*TRAIN, "--start_weights", "pre/best.pt", "--n_iters", "40", "--save_every", "20", "--schedule",
                    "linear", "--preset", "streets", "--channels", "8", "12", "12", out="fine")
    rows = log_rows("fine")
    assert np.mean([row["loss"] for row in rows[-10:]]) < 0.95 * np.mean([row["loss"] for row in rows[:5]])
    assert set(rows[0]) == {"step", "loss", "real_lpips", "real_MSE", "fake_vector_MSE", "lr", "grad_norm"}
    assert results["weights"] == "ema"


@pytest.mark.parametrize(("idx", "arch"), [("-1", ("stylegan",)), ("raw", ("stylegan",)),
                                           ("1", ("resnet", "--channels", "8", "8"))])
def test_a_new_encoder_begins_at_the_mean_latent(idx, arch, here):
    gan = read_blobgan("gan.ckpt")
    place = idx if idx == "raw" else int(idx)
    z = torch.randn(4000, 6, generator=torch.Generator().manual_seed(1))
    latents = gan.layout_net.latent(z, place)
    mean, spread = latents.mean(dim=0), latents.std(dim=0).mean()
    pictures = torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1
    away = {}
    for init in ("mean", "random"):
        train(*PRETRAIN, "--n_iters", "1", "--lr", "1e-9", "--mlp_idx", idx, "--arch", *arch, "--init", init, out=init)
        away[init] = (read_encoder(f"{init}/last.pt", gan).network(pictures) - mean).square().mean().sqrt()
    assert away["mean"] < 0.5 * spread
    assert away["mean"] < 0.5 * away["random"]


def test_the_preset_of_the_streets_predicts_all_numbers_of_the_blobs(here):
    small = ("--preset", "streets", "--channels", "8", "12", "12", "--n_iters", "1")
    train(*PRETRAIN, *small, out="pre")
    train(*TRAIN[:-2], *small, "--start_weights", "pre/best.pt", out="fine")
    train(*PRETRAIN, *small, "--mlp_idx", "-1", out="one")
    gan = read_blobgan("gan.ckpt")
    assert read_encoder("pre/best.pt", gan).config.mlp_idx == read_encoder("fine/best.pt", gan).config.mlp_idx == "raw"
    assert read_encoder("one/best.pt", gan).config.mlp_idx == -1


def test_the_files_are_the_published_ones(here):
    train(*TRAIN, out="out")
    stored = torch.load("out/last.pt", weights_only=True)
    assert set(stored) == {"model", "optimizer", "scheduler", "iter", "config"}
    assert stored["iter"] == 12
    assert stored["scheduler"]["last_epoch"] == 12
    gan = read_blobgan("gan.ckpt")
    assert stored["config"]["outputs"] == gan.layout_net.latent_dim() == 12
    assert stored["model"]["final_linear.1.weight"].shape == (12, 12)
    adam = torch.optim.Adam(read_encoder("out/last.pt", gan).network.parameters())
    adam.load_state_dict(stored["optimizer"])
    quality = json.loads(open("out/val_images_results.json").read())
    assert len(quality) == 2  # a tenth of the pictures
    assert set(next(iter(quality.values()))) == {"perceptual", "l1", "l2", "decisions_real", "decisions_reconstruction"}


@pytest.mark.parametrize("words", [PRETRAIN, TRAIN])
def test_pictures_have_the_originals_rows_in_their_order(words, here):
    train(*words, "--log_imgs_every", "2", "--batch_size", "3", "--n_iters", "4")
    picture = Image.open("out/step_2.jpg")
    rows = 4 if words is PRETRAIN else 7
    assert picture.size == (2 * (2 + 3 * 18), 2 * (2 + rows * 18))  # of 16 px and 2 px between, twice as large
    assert os.path.exists("out/step_4.jpg")
    if words is TRAIN:  # the first row is the pictures of the step
        pixels = np.asarray(picture)[4:36:2, 4:36:2].astype(int)
        from common.datasets.prepared import Rows, open_prepared
        from common.images.squash import for_network

        images = open_prepared("images", "train", for_network(16), hold_out=True)
        expected = Rows(images, 0, 3).pixels(2, 0, 1)[0][0].astype(int)
        assert np.abs(pixels - expected).mean() < 8


def test_T39_best_is_the_one_of_the_smallest_loss_on_held_out_pictures(here, monkeypatch):
    losses = iter([3.0, 1.0, 2.0, 4.0])
    right = EncoderTraining._validate

    def made_up(self, step):
        values = right(self, step)
        self.best = dict(before[-1])
        loss = next(losses)
        if loss < self.best["loss"]:
            self.best = {"loss": loss, "step": step}
        before.append(self.best)
        return {**values, "val_loss": loss}

    before = [{"loss": float("inf"), "step": 0}]
    monkeypatch.setattr(EncoderTraining, "_validate", made_up)
    results = train(*TRAIN, "--n_iters", "8", "--save_every", "2")
    assert (results["best_step"], results["best_held_out_loss"]) == (4, 1.0)
    assert [torch.load(f"out/{name}.pt", weights_only=True)["iter"] for name in ("best", "last")] == [4, 8]


def test_T39_held_out_pictures_are_not_trained_on(here):
    write_images(here / "val", 5, first=100)
    results = train(*TRAIN, "--val_path", "val", "--n_iters", "1")
    assert results["quality_images"] == 5
    names = set(json.loads(open("out/val_images_results.json").read()))
    assert names == {f"{number:02d}.png" for number in range(5)}
    record = json.loads(open("out/run.json").read())
    assert record["derived"]["real pictures"]["count"] == 20


def test_T39_a_held_out_loss_that_is_not_finite_ends_the_run(here, monkeypatch):
    right = EncoderTraining._named

    def named(self, sums, count):
        values = right(self, sums, count)
        return {**values, "loss": math.nan} if count == 6 else values  # of the held-out pictures

    monkeypatch.setattr(EncoderTraining, "_named", named)
    said = refusal_of("train_encoder", *PRETRAIN, "--output_dir", "out", "--quiet")
    assert "the held-out loss is no longer finite at step 5" in said


def test_T39_pictures_that_are_both_held_out_and_trained_on_are_said(here):
    words = (*TRAIN, "--val_path", "images", "--output_dir", "out", "--dry_run")
    assert "note: the held-out pictures of --val_path are those that are trained on" in call_tool("train_encoder",
                                                                                                  *words).err


def test_T6_the_best_so_far_that_is_gone_is_missed_at_once(here):
    words = (*PRETRAIN, "--schedule", "constant", "--output_dir", "out", "--n_iters")
    train(*words, "12")
    whole = torch.load("out/state.pth", weights_only=True)
    torch.save({**whole, "extra": {"loss": 0.1, "step": 5}}, "out/state.pth")
    os.remove("out/best.pt")
    assert "best.pt: it is gone, and was the best so far" in refusal_of("train_encoder", *words, "14")
    torch.save({**whole, "extra": {"loss": "a", "step": 5}}, "out/state.pth")
    assert "its record of the held-out loss is damaged" in refusal_of("train_encoder", *words, "14")
    torch.save({**whole, "extra": {"loss": 0.1, "step": 12}}, "out/state.pth")
    assert train(*words, "12", "--log_every", "2")["best_step"] == 12
    assert os.path.exists("out/best.pt")


def test_T38_weights_that_predict_another_latent_of_the_same_width_are_refused(here):
    train(*PRETRAIN, "--n_iters", "1", "--mlp_idx", "2")
    words = (*PRETRAIN, "--n_iters", "1", "--output_dir", "other", "--start_weights", "out/best.pt")
    said = refusal_of("train_encoder", *words)
    assert "out/best.pt: it predicts the latent before module 2, this training that before 3" in said
    assert train(*words, "--mlp_idx", "-2", out="other")["steps"] == 1


def test_T40_jitter_is_off_unless_asked_for_and_in_the_record(here):
    for out, words in (("off", ()), ("on", ("--jitter",))):
        train(*TRAIN, *words, "--n_iters", "2", out=out)
        assert json.loads(open(f"{out}/run.json").read())["options"]["jitter"] == (out == "on")
    assert log_rows("off")[0]["fake_MSE"] != log_rows("on")[0]["fake_MSE"]


def test_T16_the_averaged_networks_are_used_and_the_record_says_so(here):
    found = {weights: train(*PRETRAIN, "--n_iters", "1", *words, out=weights)
             for weights, words in (("ema", ()), ("raw", ("--live_weights",)))}
    assert {name: results["weights"] for name, results in found.items()} == {"ema": "ema", "raw": "raw"}
    assert found["ema"]["l1"] != found["raw"]["l1"]


@pytest.mark.parametrize("words", [PRETRAIN, (*TRAIN, *ALL_TERMS)])
def test_more_steps_go_on_and_give_the_bytes_of_a_longer_run(words, here):
    words = (*words, *ALL_DRAWS, "--schedule", "original", "--log_imgs_every", "4")
    train(*words, "--n_iters", "5")
    train(*words, "--n_iters", "8")
    train(*words, "--n_iters", "8", out="straight")
    assert contents("out") == contents("straight")
    assert log_rows("out") == log_rows("straight")


def test_a_finished_training_whose_log_was_removed_ends_without_its_loss(here):
    before = train(*PRETRAIN, "--n_iters", "1")
    os.remove("out/log.jsonl")
    assert train(*PRETRAIN, "--n_iters", "1") == {**before, "loss": None, "images_per_second": 0.0}


def test_stopped_it_saves_and_resumes(here, monkeypatch):
    words = (*TRAIN, "--log_imgs_every", "3", "--n_iters", "6")
    train(*words, out="whole")
    with monkeypatch.context() as patched:
        patched.setattr("tools.train_encoder.loop.draw_grid", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        ended = call_tool("train_encoder", *words, "--output_dir", "out", "--quiet")
    assert ended.status == 130
    assert torch.load("out/state.pth", weights_only=True)["step"] == log_rows("out")[-1]["step"] == 3
    train(*words)
    assert contents("out") == contents("whole")


@pytest.mark.parametrize("words", [PRETRAIN, (*TRAIN, *ALL_TERMS)])
def test_parts_train_alike(words, here):
    train(*words, *ALL_DRAWS, "--n_iters", "5", out="one")
    train(*words, *ALL_DRAWS, "--n_iters", "5", "--accumulate", "2", out="parts")
    check_alike("parts")


@pytest.mark.long
@pytest.mark.parametrize("words", [PRETRAIN, (*TRAIN, *ALL_TERMS)])
def test_processes_train_alike(words, here):
    words = (*words, *ALL_DRAWS, "--n_iters", "5")
    train(*words, out="one")
    ended = torchrun_tool(2, "train_encoder", *words, "--output_dir", "two", "--quiet")
    assert ended.status == 0, ended.err
    check_alike("two")
    one, two = (json.loads(open(f"{name}/val_images_results.json").read()) for name in ("one", "two"))
    assert one.keys() == two.keys()


def check_alike(folder):
    """Compare the losses of a run with those of the run in one part and process."""
    for mine, theirs in zip(log_rows("one"), log_rows(folder), strict=True):
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-4)
    assert log_rows(folder)[4]["val_loss"] == pytest.approx(log_rows("one")[4]["val_loss"], rel=1e-4)


def test_an_unreadable_picture_is_replaced_and_counted(here):
    path = here / "images" / "03.png"
    data = path.read_bytes()
    path.unlink()  # a link to the shared one
    path.write_bytes(data[:60])
    results = train(*TRAIN, "--n_iters", "6")
    assert results["damaged"] + (2 - results["quality_images"]) == 1


@pytest.mark.parametrize("words", [("--arch", "resnet", "--channels", "8", "8"), ("--mlp_idx", "raw"),
                                   ("--mlp_idx", "1"), ("--precision", "bf16"), ("--schedule", "constant"),
                                   ("--preset", "square")])
def test_other_networks_latents_and_precisions_train(words, here):
    results = train(*TRAIN, *words, "--n_iters", "3", "--fake_vector_MSE", "1")
    assert np.isfinite(results["loss"])
    file = read_encoder("out/best.pt", read_blobgan("gan.ckpt"))
    widths = {"raw": 4 + 12 + 3 * (6 + 12), "1": 6}
    assert file.config.outputs == widths.get(words[1], 12)


def test_dry_run_writes_nothing(here):
    before = contents(".")
    results = results_of("train_encoder", *TRAIN, "--output_dir", "out", "--dry_run")
    assert results["steps"] == 12
    assert contents(".") == before


def test_terms_of_weight_zero_need_no_network(here):
    os.remove("decision.tar")
    words = ("--blobgan_weights", "gan.ckpt", "--dataset_path", "images", "--start_weights", "none", "--n_iters", "2",
             "--device", "cpu", "--batch_size", "4")
    found = train("train", *words, "--preset", "rect_no_decision", "--real_lpips", "0", "--fake_lpips", "0")
    assert "agreement" not in found
    assert set(log_rows("out")[0]) >= {"real_MSE", "fake_MSE", "fake_latents_MSE"}
