"""A quantile encoder's training: killed at random moments, and in several processes, it ends as one quiet run."""

import random
import shutil
import signal
import time

import pytest

from tests.tools.commands import torchrun_tool
from tests.tools.train_edm.runs import contents, end, log_rows
from tests.tools.train_quantile_encoder.runs import TINY, VALIDATED, start, write_material

KILLS, TOGETHER = 20, 4  # in all, and of one run
KEPT = (*VALIDATED, "--max_steps", "60", "--image_interval", "7", "--save_interval", "9", "--state_interval", "4")
JOBS = {
    "ranger": KEPT,
    "adam, parts, threads, images": (*KEPT, "--optim_name", "adam", "--accumulate", "2", "--workers", "3",
                                     "--memory_gb", "0", "--real_train_data_path", "real", "--l2_lambda", "0.5"),
}


@pytest.mark.parametrize("name", JOBS)
def test_killed_at_random_moments_it_ends_with_the_same_bytes(name, tmp_path):
    write_material(tmp_path)
    words, moments = (*JOBS[name], "--quiet"), random.Random(name)
    assert end(start(tmp_path, *words, "--exp_dir", "whole")).status == 0
    expected = contents(tmp_path / "whole")
    assert len(expected) == 60 // 7 + 60 // 9 + 3
    for _ in range(KILLS // TOGETHER // len(JOBS) + 1):
        for step in sorted(moments.sample(range(1, 52), TOGETHER)):
            process, log = start(tmp_path, *words, "--exp_dir", "cut"), tmp_path / "cut" / "log.jsonl"
            while process.poll() is None and not (log.exists() and log.read_text().count("\n") >= step):
                time.sleep(0.002)
            time.sleep(moments.uniform(0, 0.04))
            process.send_signal(signal.SIGKILL)
            assert end(process).status == -signal.SIGKILL
        assert end(start(tmp_path, *words, "--exp_dir", "cut")).status == 0
        assert contents(tmp_path / "cut") == expected
        assert log_rows(tmp_path / "cut") == log_rows(tmp_path / "whole")
        shutil.rmtree(tmp_path / "cut")


@pytest.mark.parametrize("more", [(), ("--optim_name", "adam"), ("--batch_size", "9", "--precision", "bf16"),
                                  ("--real_train_data_path", "real", "--l2_lambda", "0.5", "--w_norm_lambda", "0.01")])
def test_two_and_three_processes_train_like_one(more, tmp_path, monkeypatch):
    write_material(tmp_path)
    monkeypatch.chdir(tmp_path)
    words = (*TINY, *VALIDATED, "--max_steps", "20", *more, "--quiet")
    rows = {}
    for count in (1, 2, 3):
        ended = torchrun_tool(count, "train_quantile_encoder", *words, "--exp_dir", f"by_{count}")
        assert ended.status == 0, ended.err
        rows[count] = [row["loss"] for row in log_rows(f"by_{count}")]
    tolerance = 2e-2 if "bf16" in more else 1e-5
    for count in (2, 3):
        assert rows[count] == pytest.approx(rows[1], rel=tolerance)
