"""Both stages of train_encoder: killed at random moments, and in several processes, they end as one quiet run."""

import random
import shutil
import signal
import time

import pytest

from tests.tools.commands import torchrun_tool
from tests.tools.train_edm.runs import contents, end, log_rows
from tests.tools.train_encoder.runs import PRETRAIN, TRAIN, start, write_material

KILLS, TOGETHER = 20, 4  # in all, and of one run
KEPT = ("--n_iters", "60", "--log_imgs_every", "7", "--save_every", "4", "--jitter", "--noise", "fresh")
JOBS = {
    "pretrain, a truncation, parts": (*PRETRAIN, *KEPT, "--truncation_max", "0.7", "--accumulate", "2"),
    "train, all terms, threads": (*TRAIN, *KEPT, "--fake_vector_MSE", "1", "--num_workers", "3", "--memory_gb", "0"),
}


@pytest.mark.parametrize("name", JOBS)
def test_killed_at_random_moments_it_ends_with_the_same_bytes(name, tmp_path):
    write_material(tmp_path)
    words, moments = (*JOBS[name], "--quiet"), random.Random(name)
    assert end(start(tmp_path, *words, "--output_dir", "whole")).status == 0
    expected = contents(tmp_path / "whole")
    assert {"last.pt", "best.pt", "state.pth", "step_56.jpg", "val_images_results.json"} <= set(expected)
    for _ in range(KILLS // TOGETHER // len(JOBS) + 1):
        for step in sorted(moments.sample(range(1, 56), TOGETHER)):
            process, log = start(tmp_path, *words, "--output_dir", "cut"), tmp_path / "cut" / "log.jsonl"
            while process.poll() is None and not (log.exists() and log.read_text().count("\n") >= step):
                time.sleep(0.002)
            time.sleep(moments.uniform(0, 0.04))
            process.send_signal(signal.SIGKILL)
            assert end(process).status == -signal.SIGKILL
        assert end(start(tmp_path, *words, "--output_dir", "cut")).status == 0
        assert contents(tmp_path / "cut") == expected
        assert log_rows(tmp_path / "cut") == log_rows(tmp_path / "whole")
        shutil.rmtree(tmp_path / "cut")


@pytest.mark.parametrize("name", JOBS)
def test_two_and_three_processes_train_like_one(name, tmp_path, monkeypatch):
    write_material(tmp_path)
    monkeypatch.chdir(tmp_path)
    words, rows = (*JOBS[name], "--n_iters", "5", "--log_imgs_every", "0", "--accumulate", "1", "--quiet"), {}
    for count in (1, 2, 3):
        ended = torchrun_tool(count, "train_encoder", *words, "--output_dir", f"by_{count}")
        assert ended.status == 0, ended.err
        rows[count] = [row["loss"] for row in log_rows(f"by_{count}")]
    for count in (2, 3):
        assert rows[count] == pytest.approx(rows[1], rel=1e-4)
