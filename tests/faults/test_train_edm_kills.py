"""Training killed at 20 random moments ends with the bytes of one quiet run."""

import random
import shutil
import signal
import time

import pytest

from tests.tools.train_edm.runs import contents, end, log_rows, start, write_colours

KILLS = 20
KEPT = ("--steps", "60", "--sample_every", "7", "--snapshot_every", "9", "--save_every", "4")
JOBS = {
    "plain": KEPT,
    "dropout, parts, memory": (*KEPT, "--dropout", "0.2", "--label_dropout", "0.1", "--xflip", "--accumulate", "2",
                               "--memory_gb", "0", "--num_workers", "3"),
}  # fmt: skip


@pytest.mark.parametrize("name", JOBS)
def test_killed_at_random_moments_it_ends_with_the_same_bytes(name, tmp_path):
    write_colours(tmp_path / "colours")
    words, moments, met = (*JOBS[name], "--quiet"), random.Random(name), 0
    began = time.monotonic()
    assert end(start(tmp_path, *words, "--output_dir", "whole")).status == 0
    seconds, expected = time.monotonic() - began, contents(tmp_path / "whole")
    assert len(expected) == 60 // 7 + 60 // 9 + 3
    for number in range(KILLS):
        process = start(tmp_path, *words, "--output_dir", "cut")
        time.sleep(moments.uniform(0.4, 0.95) * seconds)
        process.send_signal(signal.SIGKILL)
        met += end(process).status == -signal.SIGKILL
        if number % 4 == 3:
            assert end(start(tmp_path, *words, "--output_dir", "cut")).status == 0
            assert contents(tmp_path / "cut") == expected
            assert log_rows(tmp_path / "cut") == log_rows(tmp_path / "whole")
            shutil.rmtree(tmp_path / "cut")
    assert met >= KILLS // 2, f"{met} of {KILLS} kills came before the end"
