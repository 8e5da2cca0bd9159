"""`qc_ncsn train` from end to end: what it writes, what it says, where it starts, and its snapshots."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from common.formats.checkpoints import load_torch
from tests.tools.qc_ncsn.runs import ROOT, TINY, call, checkpoints_equal, good, log_rows, run

PUBLISHED = ROOT / "tests" / "golden" / "qc_ncsn" / "train_ckpt" / "checkpoint_1.pth"
AS_PUBLISHED = ("--config.data.dataset=photos32", "--config.data.num_channels=3", "--config.model.fourier_scale=16",
                "--config.model.ch_mult=1,2", "--config.model.attn_resolutions=4")
TRAIN = ("train", *TINY, "--n_iters", "6", "--log_freq", "1")


def tensors(path):
    return load_torch(path)["model"]


def test_a_run_writes_the_published_layout_and_a_record(tmp_path):
    results = good(*TRAIN, "--workdir", tmp_path / "W", "--config.training.snapshot_freq=3",
                   "--config.training.snapshot_nll=true", "--config.training.snapshot_sampling=true",
                   "--config.sampling.num_scales=4", "--config.model.sigma_max=5")
    assert set(results) == {"step", "training_loss", "training_reg", "parameters", "damaged",
                            "images_per_second"}
    assert results["step"] == 6
    names = {str(path.relative_to(tmp_path / "W")) for path in (tmp_path / "W").rglob("*") if path.is_file()}
    assert names == {
        "run.json", "log.jsonl", "stdout.txt", "checkpoints/checkpoint_1.pth", "checkpoints/checkpoint_2.pth",
        "checkpoints-meta/checkpoint.pth", "samples/iter_3/sample.np", "samples/iter_3/sample.png",
        "samples/iter_6/sample.np", "samples/iter_6/sample.png",
    }
    with open(tmp_path / "W" / "samples" / "iter_6" / "sample.np", "rb") as stream:
        pixels = np.load(stream)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (9, 8, 8, 1))
    assert Image.open(tmp_path / "W" / "samples" / "iter_6" / "sample.png").size == (128, 128)  # enlarged four times
    record = json.loads((tmp_path / "W" / "run.json").read_text())
    assert record["status"] == "done"
    assert record["results"] == results
    assert record["options"]["n_iters"] == 6
    assert record["derived"]["model.nf"] == 4
    assert record["derived"]["data"]
    assert {"python", "torch", "numpy", "genprobe"} <= set(record["versions"])
    assert record["machine"]["device"] == "cpu"
    text = (tmp_path / "W" / "stdout.txt").read_text()
    assert "INFO - training_run.py - " in text
    assert "step: 6, training_loss: " in text
    assert "step: 3, nll: " in text
    assert [row["step"] for row in log_rows(tmp_path / "W")] == list(range(7))


def test_json_puts_one_object_on_stdout_and_people_s_words_on_stderr(tmp_path):
    ended = run(*TRAIN, "--workdir", tmp_path / "W", "--json")
    assert ended.status == 0
    assert len(ended.out.splitlines()) == 1
    found = json.loads(ended.out)
    assert set(found) == {"tool", "command", "options", "results", "outputs", "seconds"}
    assert (found["tool"], found["command"]) == ("qc_ncsn", "qc_ncsn train")
    assert "training: " in ended.err
    quiet = call(*TRAIN, "--workdir", tmp_path / "Q", "--quiet", "--n_iters", "1")
    assert (quiet.status, quiet.out, quiet.err) == (0, "", "")


def test_the_loss_falls(tmp_path):
    good("train", "--config", "u_digits", "--config.model.nf=8", "--config.model.ch_mult=1",
         "--config.model.attn_resolutions=()", "--config.optim.warmup=5", "--workdir", tmp_path, "--n_iters", "40",
         "--log_freq", "1", "--bs", "16", "--device", "cpu")
    losses = [row["loss"] for row in log_rows(tmp_path)]
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])


def test_work_folders_lie_below_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good(*TRAIN, "--workdir", "a/b", "--n_iters", "1")
    assert (tmp_path / "results" / "a" / "b" / "run.json").exists()
    good(*TRAIN, "--workdir", "./here", "--n_iters", "1")
    assert (tmp_path / "here" / "run.json").exists()


def test_a_published_checkpoint_without_a_step_is_gone_on_from(tmp_path):
    """Weights, average and moments are taken over; the first step is the configuration's, and warm-up starts again."""
    good(*TRAIN, *AS_PUBLISHED, "--restore", PUBLISHED, "--workdir", tmp_path, "--n_iters", "0", "--bs", "2")
    before, after = load_torch(PUBLISHED), load_torch(tmp_path / "checkpoints-meta" / "checkpoint.pth")
    # the first rate is 0
    assert all(torch.equal(before["model"][name], after["model"][name]) for name in before["model"])
    assert after["step"] == 0
    assert after["ema"]["num_updates"] == before["ema"]["num_updates"] + 1
    assert after["optimizer"]["state"][1]["step"] == before["optimizer"]["state"][1]["step"] + 1
    good(*TRAIN, *AS_PUBLISHED, "--restore", PUBLISHED, "--workdir", tmp_path / "on", "--init_step", "3", "--bs",
         "2")
    assert [row["step"] for row in log_rows(tmp_path / "on")] == [3, 4, 5, 6]


def test_our_own_checkpoint_is_gone_on_from_after_its_step(tmp_path):
    good(*TRAIN, "--workdir", tmp_path / "u")
    meta = tmp_path / "u" / "checkpoints-meta" / "checkpoint.pth"
    words = ("train", *TINY, "--config", "qc_digits", "--restore", meta, "--n_iters", "9", "--log_freq", "1",
             "--slices", "2", "--bs", "4")
    good(*words, "--workdir", tmp_path / "qc")
    rows = log_rows(tmp_path / "qc")
    assert [row["step"] for row in rows] == [7, 8, 9]
    assert rows[0]["lr"] == 0
    assert all(row["reg"] != 0 for row in rows)
    good(*words, "--workdir", tmp_path / "fresh", "--fresh_optimizer")
    moments = load_torch(tmp_path / "fresh" / "checkpoints-meta" / "checkpoint.pth")["optimizer"]["state"][1]["step"]
    assert int(moments) == 3


def test_a_snapshot_right_after_a_start_is_a_file_alone(tmp_path):
    """The original spends a likelihood and a 1000-step sampling on it; its tests ran before."""
    good(*TRAIN, "--init_step", "4", "--config.training.snapshot_freq=4", "--config.training.snapshot_sampling=true",
         "--config.training.snapshot_nll=true", "--workdir", tmp_path)
    assert (tmp_path / "checkpoints" / "checkpoint_1.pth").exists()
    assert not (tmp_path / "samples").exists()


@pytest.mark.parametrize("words", [
    ("--accumulate", "3"), ("--activation_checkpointing",), ("--num_workers", "2"),
    ("--accumulate", "2", "--num_workers", "1"),
])
def test_how_a_batch_is_worked_on_changes_no_more_than_rounding(words, tmp_path):
    base = (*TRAIN, "--n_iters", "3", "--balancing_fac", "0.003", "--slices", "2",
            "--config.model.dropout=0.2", "--config.optim.warmup=2")
    good(*base, "--workdir", tmp_path / "plain")
    good(*base, "--workdir", tmp_path / "other", *words)
    for mine, theirs in zip(log_rows(tmp_path / "other"), log_rows(tmp_path / "plain")):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
        assert mine["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-4)
    if words == ("--num_workers", "2"):
        assert checkpoints_equal(tmp_path / "other", tmp_path / "plain")


def test_the_seed_gives_the_weights_and_the_batches(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        good(*TRAIN, "--workdir", tmp_path / name, "--seed", seed, "--n_iters", "3")
    assert checkpoints_equal(tmp_path / "a", tmp_path / "b")
    assert not checkpoints_equal(tmp_path / "a", tmp_path / "c")


def test_the_published_path_of_a_configuration_is_a_preset(tmp_path):
    ended = call("train", "--config", "configs/u_ncsn/training/cifar10_ncsnpp_deep_continuous.py", "--workdir",
                 tmp_path / "W",
                 "--dataset", "photos32", "--config.model.nf=8", "--config.model.num_res_blocks=1", "--dry_run",
                 "--device", "cpu")
    assert ended.status == 0, ended.err
    assert "would train 450,002 steps at batch size 128" in ended.err
    assert not (tmp_path / "W").exists()
