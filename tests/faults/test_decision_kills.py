"""A decision model's training: killed at random moments, it ends as one quiet run."""

import shutil
import time

import pytest

from tests.kills import kill
from tests.tools.train_decision_model.runs import AUGMENTED, start, write_material
from tests.tools.train_edm.runs import contents, end, log_rows

KILLS, TOGETHER = 20, 4  # in all, and of one run
JOBS = {
    "constant": ("--steps", "80", "--lr_schedule", "constant"),
    "one cycle, parts, threads, augmented, calibrated": (
        "--steps", "80", *AUGMENTED, "--accumulate", "2", "--num_workers", "3", "--memory_gb", "0", "--calibrate",
        "--pos_weight", "auto"),
}


@pytest.mark.parametrize("name", JOBS)
def test_killed_at_random_moments_it_ends_with_the_same_bytes(name, tmp_path):
    write_material(tmp_path)
    words = (*JOBS[name], "--quiet")
    began = time.monotonic()
    assert end(start(tmp_path, *words, "--output_dir", "whole")).status == 0
    seconds, expected = time.monotonic() - began, contents(tmp_path / "whole")
    assert {"checkpoint.tar", "state.pth", "held_out.npz", "attributes.csv", "inputs.png",
            "reliability.png"} == set(expected)
    kills = kill(lambda: start(tmp_path, *words, "--output_dir", "cut"), seconds, KILLS // len(JOBS), (0.5, 1.0), name)
    for number, before in enumerate(kills, 1):
        if not before or number % TOGETHER == 0 or number == KILLS // len(JOBS):
            assert end(start(tmp_path, *words, "--output_dir", "cut")).status == 0
            assert contents(tmp_path / "cut") == expected
            assert log_rows(tmp_path / "cut") == log_rows(tmp_path / "whole")
            shutil.rmtree(tmp_path / "cut")
