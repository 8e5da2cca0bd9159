"""train_edm: it learns; killed, stopped, extended, split over parts and processes it ends the same."""

import json
import math
import os
import signal
import time

import numpy as np
import pytest
import torch
from PIL import Image

from common.files import read_json, write_json
from tests.tools.commands import call_tool, results_of, torchrun_tool
from tests.tools.train_edm.runs import TINY, contents, end, log_rows, start, train

pytestmark = pytest.mark.usefixtures("here")


def test_the_loss_falls_and_samples_have_the_colours_of_their_classes(here):
    results = train("--steps", "80", "--lr", "5e-3", "--sample_steps", "8", "--save_every", "1000")
    assert set(results) == {"steps", "training_loss", "ema_loss", "parameters", "images", "classes", "damaged",
                            "images_per_second", "network"}
    assert (results["steps"], results["images"], results["classes"], results["damaged"]) == (80, 18, 3, 0)
    losses = [row["loss"] for row in log_rows()]
    assert results["training_loss"] < 0.75 * np.mean(losses[:10])
    assert results["training_loss"] == pytest.approx(np.mean(losses[-50:]))
    grid = np.asarray(Image.open(here / "out" / "samples.png")).astype(int)
    bands = [band.mean((0, 1)) for band in np.array_split(grid, 3)]
    assert [int(np.argmax(band)) for band in bands] == [0, 1, 2]


@pytest.mark.long  # as tests/faults does 40 times
def test_a_killed_run_ends_with_the_bytes_of_an_uninterrupted_one(here):
    words = ("--sample_every", "8", "--snapshot_every", "6", "--dropout", "0.2", "--label_dropout", "0.2", "--xflip")
    train(*words, out="whole")
    process = start(here, *words, "--output_dir", "cut", "--quiet")
    log = here / "cut" / "log.jsonl"
    while process.poll() is None and not (log.exists() and log.read_text().count("\n") > 8):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert end(process).status in (-signal.SIGKILL, 0)  # on a busy machine it may end just before the signal
    train(*words, out="cut")
    assert contents("cut") == contents("whole")
    assert log_rows("cut") == log_rows("whole")
    assert {"samples/step_0000008.png", "snapshots/network_0000006.safetensors", "samples.png"} <= set(contents("cut"))


def test_a_run_killed_after_its_last_step_still_gets_its_files(here):
    train("--steps", "2")
    before = contents("out")
    for name in ("samples.png", "network.safetensors"):
        (here / "out" / name).unlink()
    record = read_json(here / "out" / "run.json")
    write_json(here / "out" / "run.json", {**record, "status": "running"})
    train("--steps", "2")
    assert contents("out") == before


def test_told_to_stop_it_saves_and_names_the_command_that_goes_on(here, monkeypatch):
    monkeypatch.setattr("tools.train_edm.loop.draw_samples", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    ended = call_tool("train_edm", *TINY, "--sample_every", "7", "--save_every", "100", "--output_dir", "out",
                      "--quiet")
    assert ended.status == 130
    assert ended.err.startswith("interrupted; progress saved, resume with: ")
    assert torch.load(here / "out" / "checkpoint.pth", weights_only=True)["step"] == log_rows()[-1]["step"] == 7


def test_more_steps_go_on_and_give_the_bytes_of_a_longer_run(here):
    train("--lr_decay", "none", "--steps", "5")
    before = (here / "out" / "network.safetensors").stat().st_mtime_ns
    train("--lr_decay", "none", "--steps", "5")  # finished: answers, touches nothing
    assert (here / "out" / "network.safetensors").stat().st_mtime_ns == before
    train("--lr_decay", "none", "--steps", "8")
    train("--lr_decay", "none", "--steps", "8", out="straight")
    assert contents("out") == contents("straight")
    assert log_rows() == log_rows("straight")


@pytest.mark.long
def test_the_number_of_parts_of_a_batch_changes_nothing_but_rounding():
    words = ("--dropout", "0.2", "--label_dropout", "0.2", "--steps", "20", "--batch_size", "9")
    train(*words)
    train(*words, "--accumulate", "4", out="parts")
    for one, other in zip(log_rows(), log_rows("parts")):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-5)


@pytest.mark.long
def test_two_processes_train_like_one(here):
    words = (*TINY, "--dropout", "0.2", "--steps", "20")
    train(*words)
    ended = torchrun_tool(2, "train_edm", *words, "--output_dir", "two", "--json", "--quiet")
    assert ended.status == 0, ended.err
    assert set(ended.results) == set(json.loads((here / "out" / "run.json").read_text())["results"])
    assert len(log_rows("two")) == 20
    for one, other in zip(log_rows(), log_rows("two")):
        assert abs(one["loss"] - other["loss"]) < 1e-5


def test_losses_that_are_no_numbers_end_the_run_and_keep_what_was_saved(here):
    train("--lr_decay", "none", "--steps", "5")
    saved = contents("out")
    state = torch.load(here / "out" / "checkpoint.pth", weights_only=True)
    state["model"]["model.out_conv.bias"] += 1e30
    torch.save(state, here / "out" / "checkpoint.pth")
    saved["checkpoint.pth"] = (here / "out" / "checkpoint.pth").read_bytes()
    ended = call_tool("train_edm", *TINY, "--lr_decay", "none", "--steps", "20", "--output_dir", "out", "--quiet")
    assert ended.status == 2
    assert "no longer finite at step 6; the state after step 5 is saved" in ended.err
    assert ended.err.count("\n") == 1
    assert contents("out") == saved


@pytest.mark.long
def test_lower_precision_and_its_weights(here):
    results = train("--precision", "bf16")
    plain = train(out="plain")
    assert results["ema_loss"] == pytest.approx(plain["ema_loss"], rel=0.05)
    state = torch.load(here / "out" / "checkpoint.pth", weights_only=True)
    assert {tensor.dtype for tensor in state["model"].values()} == {torch.float32}


def test_a_dry_run_writes_nothing(here):
    results = train("--dry_run")
    assert results == {"steps": 24, "images": 18, "classes": 3}
    assert not (here / "out").exists()


def test_overwriting_starts_anew():
    train("--steps", "2", "--seed", "1")
    first = contents("out")
    train("--steps", "2", "--seed", "2", "--overwrite")
    assert contents("out")["network.safetensors"] != first["network.safetensors"]
    train("--steps", "2", "--seed", "1", "--overwrite")
    assert contents("out") == first


@pytest.mark.long
def test_a_network_can_be_trained_further():
    first = train("--steps", "60", "--lr", "5e-3", "--save_every", "1000")
    further = train("--steps", "3", "--lr", "1e-6", "--restore", "out/network.safetensors", out="further")
    assert further["ema_loss"] == pytest.approx(first["ema_loss"], abs=0.01)
    fresh = train("--steps", "3", "--lr", "1e-6", out="fresh")
    assert fresh["ema_loss"] > 1.3 * first["ema_loss"]


@pytest.mark.parametrize("words", [("--noconditional",), ("--data", "digits")])
def test_other_sources_train_too(words, here):
    base = [word
            for word in TINY
            if word not in ("--class_balanced", *(("--npz_dir", "colours") if "--data" in words else ()))]
    results = results_of("train_edm", *base, *words, "--steps", "2", "--output_dir", "out")
    assert results["classes"] == (10 if "--data" in words else 0)
    assert math.isfinite(results["training_loss"])
    assert (here / "out" / "samples.png").exists()
