"""BlobGAN's training with jitter, R1, parts, FID and retention: killed at random moments, it ends as a quiet run."""

import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from tests.kills import end, kill
from tests.tools.commands import start_tool, torchrun_tool
from tests.tools.train_blobgan.runs import TINY, log_rows
from tests.tools.train_edm.runs import contents

KILLS, TOGETHER = 20, 5  # in all, and of one run
WORDS = (*TINY, "--max_steps", "60", "--batch_size", "8", "--stddev_rows", "4", "--accumulate", "2",
         "--log_every_n_steps", "2", "--state_every", "7", "--every_n_train_steps", "4", "--save_top_k", "2",
         "--monitor", "train/fid",
         "--log_fid_every_n_steps", "4", "--fid_n_imgs", "30", "--extractor", "small", "--reference", "digits",
         "--log_images_every_n_steps", "9", "--num_workers", "2", "--safetensors", "--quiet")


def test_killed_at_random_moments_it_ends_with_the_same_bytes(tmp_path):
    began = time.monotonic()
    end(start_tool("train_blobgan", tmp_path, *WORDS, "--output_dir", "whole"))
    seconds, expected = time.monotonic() - began, contents(tmp_path / "whole")
    assert sum(name.endswith(".ckpt") for name in expected) in (2, 3)
    for number in range(KILLS // TOGETHER):
        for before in kill(lambda: start_tool("train_blobgan", tmp_path, *WORDS, "--output_dir", "cut"), seconds,
                           TOGETHER, (0.2, 0.9), number):
            if not before:
                shutil.rmtree(tmp_path / "cut")
        end(start_tool("train_blobgan", tmp_path, *WORDS, "--output_dir", "cut"))
        assert contents(tmp_path / "cut") == expected
        assert log_rows(tmp_path / "cut") == log_rows(tmp_path / "whole")
        shutil.rmtree(tmp_path / "cut")


def kept_by_fid(folder, count):
    """Return the steps whose checkpoints should be there: the newest, the best by FID, and the `count` lowest."""
    scores = {row["step"]: row["train/fid"] for row in log_rows(folder) if row.get("train/fid") is not None}
    ranked = sorted(scores, key=lambda step: (scores[step], -step))
    return sorted({max(scores), *ranked[: max(count, 1)]}), scores


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_best_by_fid_stay_whatever_is_killed_between(tmp_path, count):
    words = (*WORDS, "--save_top_k", count, "--max_steps", "40")
    process = start_tool("train_blobgan", tmp_path, *words, "--output_dir", "cut")
    while process.poll() is None and not any((tmp_path / "cut/checkpoints").glob("*step=16.ckpt")):
        time.sleep(0.002)
    process.kill()
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL
    end(start_tool("train_blobgan", tmp_path, *words, "--output_dir", "cut"))
    steps, scores = kept_by_fid(tmp_path / "cut", count)
    assert len(scores) == 10
    assert sorted(int(path.stem.rpartition("=")[2]) for path in (tmp_path / "cut/checkpoints").glob("*.ckpt")) == steps


def test_two_processes_go_on_with_a_run_as_the_originals_words_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        ended = torchrun_tool(2, "train_blobgan", *words, "--quiet")
        assert ended.status == 0, ended.err

    words = (*TINY, "--stddev_rows", "4", "--every_n_train_steps", "4", "--lr_fall", "0", "--log_dir", "logs")
    run(*words, "wandb.id=whole")
    run(*words, "wandb.id=half", "--max_steps", "8")
    run("resume.id=half", "--max_steps", "12", "--device", "cpu")
    run("resume.id=whole", "resume.step=4", "wandb.id=again", "--device", "cpu")
    run("resume.id=latest_run", "wandb.id=null", "--max_steps", "16", "--device", "cpu")
    runs = {path.name.rpartition("-")[2]: path / "files" for path in Path("logs/wandb").glob("run-*")}
    last, = runs.keys() - {"whole", "half", "again"}
    expected = (runs["whole"] / "checkpoints/epoch=0-step=12.ckpt").read_bytes()
    assert (runs["half"] / "checkpoints/epoch=0-step=12.ckpt").read_bytes() == expected
    weights = [torch.load(runs[name] / "checkpoints/epoch=0-step=12.ckpt", weights_only=True)["state_dict"]
               for name in ("whole", "again")]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert {path.name for path in (runs[last] / "checkpoints").iterdir()} == {"epoch=0-step=16.ckpt"}
    assert all({"hydra_config.yaml", "model_summary.txt", "run.json"} <= {path.name for path in folder.iterdir()}
               for folder in runs.values())
