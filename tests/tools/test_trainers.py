"""What both trainers promise alike: damaged logs, listeners, hang-ups, numbers that are not finite, damaged images."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from common.datasets import open_dataset
from common.training.batches import Epochs
from tests.tools.commands import ROOT, call_tool, environment, refusal_of, results_of
from tests.tools.qc_ncsn import runs as qc
from tests.tools.train_edm import runs as edm

TRAINERS = {
    "qc_ncsn": ("train", *qc.TINY, "--log_freq", "1", "--config.optim.warmup=2",
                "--config.training.snapshot_freq_for_preemption=3", "--workdir", "./out"),
    "train_edm": (*edm.TINY, "--lr_decay", "none", "--save_every", "3", "--output_dir", "out"),
}
TOTAL = {"qc_ncsn": "--n_iters", "train_edm": "--steps"}
STATE = {"qc_ncsn": "checkpoints-meta/checkpoint.pth", "train_edm": "checkpoint.pth"}
both = pytest.mark.parametrize("tool", TRAINERS)


@pytest.fixture(autouse=True)
def here(own_folder):
    edm.write_colours(own_folder / "colours")
    return own_folder


def command(tool, steps, *words):
    return (*TRAINERS[tool], TOTAL[tool], steps, *words)


def saved_step(tool):
    return torch.load(f"out/{STATE[tool]}", weights_only=True)["step"]


def damage(path):
    """Put what is not a row into a log, and half a line at its end."""
    with open(path, "ab") as log:
        log.write(b'\xff\xfe\n{"loss": 1.0}\n{"step": "4", "loss": 1.0}\n{"step": 9, "lo')


@both
def test_a_damaged_log_does_not_stop_an_extended_run(tool, here):
    results_of(tool, *command(tool, 4))
    damage(here / "out" / "log.jsonl")
    results_of(tool, *command(tool, 7))
    os.rename("out", "extended")
    results_of(tool, *command(tool, 7))
    assert edm.log_rows("extended") == edm.log_rows("out")
    assert edm.log_rows("out")[-1]["step"] == 7


def test_compare_draws_what_a_damaged_log_still_holds(here):
    results_of("qc_ncsn", *command("qc_ncsn", 4))
    damage(here / "out" / "log.jsonl")
    results_of("qc_ncsn", "compare", "--workdirs", "./out", "--output_dir", "compared")
    assert (here / "compared" / "loss.png").exists()


@both
@pytest.mark.parametrize("listener", ["tensorboard", "wandb"])
def test_a_listener_whose_package_is_missing_is_refused(tool, listener, here):
    message = refusal_of(tool, *command(tool, 4), f"--{listener}", "--quiet")
    assert f"pip install {listener}" in message
    assert not (here / "out").exists()


@both
def test_a_hang_up_saves(tool, monkeypatch):
    if tool == "qc_ncsn":
        monkeypatch.setattr("tools.qc_ncsn.train.run.test_snapshot", lambda *_: os.kill(os.getpid(), signal.SIGHUP))
        words = ("--config.training.snapshot_freq=5", "--config.training.snapshot_freq_for_preemption=100")
    else:
        monkeypatch.setattr("tools.train_edm.loop.draw_samples", lambda *_: os.kill(os.getpid(), signal.SIGHUP))
        words = ("--sample_every", "5", "--save_every", "100")
    ended = call_tool(tool, *command(tool, 20, *words), "--quiet")
    assert ended.status == 130
    assert ended.err.count("\n") == 1
    assert saved_step(tool) == edm.log_rows("out")[-1]["step"] == 5


@pytest.mark.long
@both
def test_it_outlives_the_reader_of_its_messages(tool, here):
    words = [sys.executable, "-m", f"tools.{tool}", *map(str, command(tool, 12))]
    process = subprocess.Popen(words, cwd=here, env={**environment(), "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    process.stderr.close()
    process.stdout.close()
    assert process.wait(timeout=120) == 0
    assert saved_step(tool) == 12
    assert json.loads((here / "out" / "run.json").read_text())["status"] == "done"


@both
def test_a_loss_that_is_not_finite_is_refused_though_its_gradient_is(tool, here, monkeypatch):
    results_of(tool, *command(tool, 4))
    before = {path: path.read_bytes() for path in (here / "out").rglob("*.pth")}
    if tool == "qc_ncsn":
        from tools.qc_ncsn.losses import training_loss as right

        monkeypatch.setattr("tools.qc_ncsn.train.step.training_loss", lambda *arguments: [
            value + float("inf") for value in right(*arguments)])
    else:
        from tools.train_edm.loss import edm_loss as right

        monkeypatch.setattr("tools.train_edm.step.edm_loss", lambda *arguments: right(*arguments) + float("inf"))
    message = refusal_of(tool, *command(tool, 8), "--quiet")
    assert "no longer finite at step 5; the state after step 4 is saved" in message
    assert {path: path.read_bytes() for path in (here / "out").rglob("*.pth")} == before


def test_an_unreadable_image_amid_a_training_is_replaced_by_the_same_draw_with_any_workers(here):
    (here / "images").mkdir()
    for number in range(72):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(here / "images" / f"{number:02d}.png")
    images = open_dataset("images", "train")
    damaged = here / "images" / images.names([Epochs(len(images), 0, 4)(9, 2)])[0]  # the third row of step 9
    damaged.write_bytes(damaged.read_bytes()[:-40])
    words = command("qc_ncsn", 12, "--bs", "4", "--dataset", "images", "--config.data.num_channels=3")
    weights = []
    for workers in ("0", "2"):
        assert results_of("qc_ncsn", *words, "--num_workers", workers, "--overwrite")["damaged"] == 1
        assert saved_step("qc_ncsn") == 12
        weights.append((here / "out" / "checkpoints-meta" / "checkpoint.pth").read_bytes())
    assert weights[0] == weights[1]


def test_images_in_memory_and_the_fused_update_of_qc_ncsn(here):
    (here / "images").mkdir()
    for number in range(20):
        Image.fromarray(np.full((8, 8, 3), 10 * number, np.uint8)).save(here / "images" / f"{number:02d}.png")
    words = (*TRAINERS["qc_ncsn"], "--dataset", "images", "--config.data.num_channels=3", "--n_iters", "6")
    for folder, more in (("kept", ()), ("read", ("--memory_gb", "0")), ("fused", ("--fused",))):
        results_of("qc_ncsn", *words, "--workdir", f"./{folder}", *more)
    assert qc.checkpoints_equal("kept", "read")
    for mine, theirs in zip(qc.log_rows("fused"), qc.log_rows("kept")):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
    message = refusal_of("qc_ncsn", *words, "--workdir", "./kept", "--fused", "--quiet")
    assert "has fused False, this command has True" in message
