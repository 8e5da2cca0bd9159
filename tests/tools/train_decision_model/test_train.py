"""train_decision_model: it learns, resumes, splits over parts and processes, and writes the published dictionary."""

import csv
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from common.networks.decision import open_decision_model
from tests.tools.commands import call_tool, refusal_of, results_of, torchrun_tool
from tests.tools.train_decision_model.runs import AUGMENTED, TINY, train, write_bddoia
from tests.tools.train_edm.runs import contents, log_rows
from tools.train_decision_model.measure import measure

pytestmark = pytest.mark.usefixtures("here")
CONSTANT = ("--lr_schedule", "constant")


def test_it_learns_and_writes_the_published_dictionary(here):
    results = train("--steps", "80", "--lr", "1e-2", "--calibrate", *AUGMENTED[:-1], "--val_interval", "20")
    assert results["least_accuracy"] >= 0.95
    assert results["mean_auroc"] > 0.99
    assert len(results["temperature"]) == len(results["ece_before"]) == len(results["ece_after"]) == 2
    stored = torch.load("out/checkpoint.tar", weights_only=True)
    assert {"epoch", "optimizer_state_dict", "loss", "model_state_dict"} < set(stored)
    assert (stored["attributes"], stored["input_size"], stored["kind"]) == (["red", "green"], [16, 24], "attributes")
    assert stored["loss"] == results["held_out_loss"]
    losses = {row["step"]: row["held_out_loss"] for row in log_rows() if "held_out_loss" in row}
    assert results["held_out_loss"] == min(losses.values()) == losses[results["best_step"]]
    with np.load("out/held_out.npz") as held_out:
        assert held_out["names"].tolist() == ["red", "green"]
        assert held_out["images"][0] == "100.png"
        again = measure(held_out["scores"], held_out["truth"])
        logits = held_out["logits"]
    assert {name: results[name] for name in again} == again
    model = open_decision_model("out/checkpoint.tar")
    x = torch.from_numpy(np.asarray(Image.open("val/100.png")).transpose(2, 0, 1)[None].copy()).float() / 127.5 - 1
    assert model.logits(x)[0].numpy() == pytest.approx(logits[0] / results["temperature"], rel=1e-4)
    with open("out/attributes.csv") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["auroc"]) for row in rows] == results["auroc"]
    for name in ("inputs.png", "reliability.png"):
        assert np.asarray(Image.open(here / "out" / name)).std() > 10


@pytest.mark.parametrize("more", [(), (*AUGMENTED, "--memory_gb", "0", "--num_workers", "2")])
def test_more_steps_go_on_and_give_the_bytes_of_a_longer_run(more):
    train(*CONSTANT, *more, "--steps", "4")
    train(*CONSTANT, *more, "--steps", "7")
    train(*CONSTANT, *more, "--steps", "7", out="straight")
    for name in ("state.pth", "checkpoint.tar", "held_out.npz", "attributes.csv", "inputs.png"):
        assert Path("out", name).read_bytes() == Path("straight", name).read_bytes(), name


def test_a_cycle_cannot_be_extended():
    train("--steps", "4")
    assert "steps of the cycle 4, this command has 5" in refusal_of("train_decision_model", *TINY, "--steps", "5",
                                                                    "--output_dir", "out")


def test_one_cycle_is_torchs():
    from tools.train_decision_model.loop import OneCycle

    parameter = torch.nn.Parameter(torch.zeros(1))
    inner = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(inner, 0.004, total_steps=50, cycle_momentum=False)
    ours = OneCycle(0.004, 50)
    for n in range(50):
        assert ours(n) == pytest.approx(inner.param_groups[0]["lr"], rel=1e-6)
        inner.step()
        if n < 49:
            theirs.step()


def test_the_loss_is_torchs(here):
    from tools.train_decision_model.losses import Losses
    from tools.train_decision_model.sources import LabelledFiles, Source

    draws = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(12, 3, generator=draws), torch.randint(0, 2, (12, 3), generator=draws)
    part = LabelledFiles(here, [""] * 12, targets.numpy().astype(np.uint8))
    source = Source(("a", "b", "c"), "attributes", part, part, [])
    plain = torch.nn.functional.binary_cross_entropy(logits.sigmoid(), targets.float())
    assert float(Losses(source, "none", "cpu")(logits, targets.float()).mean()) == pytest.approx(float(plain), rel=1e-5)
    positives = targets.float().mean(dim=0)
    weighted = torch.nn.BCEWithLogitsLoss(pos_weight=(1 - positives) / positives)(logits, targets.float())
    auto = Losses(source, "auto", "cpu")(logits, targets.float()).mean()
    assert float(auto) == pytest.approx(float(weighted), rel=1e-5)


def test_a_hang_up_saves_and_the_next_run_goes_on(monkeypatch):
    from tools.train_decision_model.loop import DecisionTraining

    right = DecisionTraining._step

    def step(self, number, parts):
        if number == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return right(self, number, parts)

    monkeypatch.setattr(DecisionTraining, "_step", step)
    ended = call_tool("train_decision_model", *TINY, "--output_dir", "out", "--quiet")
    assert ended.status == 130
    assert torch.load("out/state.pth", weights_only=True)["step"] == 6
    monkeypatch.setattr(DecisionTraining, "_step", right)
    train()
    train(out="straight")
    assert contents("out") == contents("straight")
    assert log_rows() == log_rows("straight")


def test_a_checkpoint_that_is_gone_is_named():
    train(*CONSTANT, "--steps", "6")
    Path("out/checkpoint.tar").unlink()
    assert "checkpoint.tar: it is gone" in refusal_of("train_decision_model", *TINY, *CONSTANT, "--output_dir", "out")


@pytest.mark.long
def test_parts_give_the_losses_of_the_whole_batch_where_batch_norm_is_apart(monkeypatch):
    """Without batch norm, whose statistics are those of a part."""
    monkeypatch.setattr("common.networks.decision_networks.nn.BatchNorm2d", lambda width: torch.nn.GroupNorm(1, width))
    monkeypatch.setattr("tools.train_decision_model.loop.share_statistics", lambda network: None)
    rows = []
    for parts in ("1", "2", "4"):
        train(*AUGMENTED, "--accumulate", parts, "--val_interval", "100", out=f"by_{parts}")
        rows.append([row["loss"] for row in log_rows(f"by_{parts}")])
    assert rows[1] == pytest.approx(rows[0], rel=1e-4)
    assert rows[2] == pytest.approx(rows[0], rel=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("more", [(), (*AUGMENTED, "--batch_size", "9", "--calibrate")])
def test_two_and_three_processes_train_like_one(more):
    rows = {}
    for count in (1, 2, 3):
        ended = torchrun_tool(count, "train_decision_model", *TINY, *more, "--output_dir", f"by_{count}", "--quiet")
        assert ended.status == 0, ended.err
        rows[count] = [row["loss"] for row in log_rows(f"by_{count}")]
    for count in (2, 3):
        assert rows[count] == pytest.approx(rows[1], rel=1e-4)


@pytest.mark.long
def test_densenet_with_reasons_and_resnet(here):
    write_bddoia(here / "oia")
    words = ("--bddoia", "oia", "--size", "32x32", "--batch_size", "4", "--steps", "3", "--save_interval", "2",
             "--num_workers", "0", "--device", "cpu")
    results = results_of("train_decision_model", *words, "--reasons", "--output_dir", "densenet")
    assert 0 <= results["mean_reason_accuracy"] <= 1
    assert len(results["reasons"]) == 21
    assert results["parameters"] == 6_953_856 + 1024 * 4 + 4 + 1028 * 21 + 21
    assert open_decision_model("densenet/checkpoint.tar").config.reasons[2] == "forward: light is green"
    for name in ("out", "again"):
        results_of("train_decision_model", *words, "--arch", "resnet18", "--imagenet_weights", "none", "--output_dir",
                   name)
    assert contents("out") == contents("again")


def test_dry_run_and_an_unfinished_loss(monkeypatch):
    ended = call_tool("train_decision_model", *TINY, "--dry_run", "--output_dir", "out")
    assert ended.status == 0
    assert "would train 24 steps at batch size 8 on 40 images into out, 21 held out" in ended.err
    assert not Path("out").exists()
    monkeypatch.setattr("tools.train_decision_model.losses.F.binary_cross_entropy_with_logits",
                        lambda logits, *_, **__: logits * float("nan"))
    message = refusal_of("train_decision_model", *TINY, "--output_dir", "out", "--quiet")
    assert "no longer finite at step 1; nothing was saved" in message
