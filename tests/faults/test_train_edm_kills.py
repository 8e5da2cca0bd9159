"""Training killed at 20 random moments ends with the bytes of one quiet run."""

import random
import shutil
import signal
import time

import pytest

from tests.tools.train_edm.runs import contents, end, log_rows, start, write_colours

KILLS, TOGETHER = 20, 4  # in all, and of one run
KEPT = ("--steps", "60", "--sample_every", "7", "--snapshot_every", "9", "--save_every", "4")
JOBS = {
    "plain": KEPT,
    "dropout, parts, memory": (*KEPT, "--dropout", "0.2", "--label_dropout", "0.1", "--xflip", "--accumulate", "2",
                               "--memory_gb", "0", "--num_workers", "3"),
}


def kill_at(folder, words, step, delay):
    """Start a training, wait for a step in its log and `delay` seconds more, and kill it; it must not have ended."""
    process, log = start(folder, *words, "--output_dir", "cut"), folder / "cut" / "log.jsonl"
    while process.poll() is None and not (log.exists() and log.read_text().count("\n") >= step):
        time.sleep(0.002)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    assert end(process).status == -signal.SIGKILL


@pytest.mark.parametrize("name", JOBS)
def test_killed_at_random_moments_it_ends_with_the_same_bytes(name, tmp_path):
    write_colours(tmp_path / "colours")
    words, moments = (*JOBS[name], "--quiet"), random.Random(name)
    assert end(start(tmp_path, *words, "--output_dir", "whole")).status == 0
    expected = contents(tmp_path / "whole")
    assert len(expected) == 60 // 7 + 60 // 9 + 3
    for _ in range(KILLS // TOGETHER):
        for step in sorted(moments.sample(range(1, 52), TOGETHER)):
            kill_at(tmp_path, words, step, moments.uniform(0, 0.04))
        assert end(start(tmp_path, *words, "--output_dir", "cut")).status == 0
        assert contents(tmp_path / "cut") == expected
        assert log_rows(tmp_path / "cut") == log_rows(tmp_path / "whole")
        shutil.rmtree(tmp_path / "cut")
