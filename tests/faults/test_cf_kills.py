"""blobex_inv_cf killed at random moments, and in several processes, ends as one quiet run."""

import random
import shutil
import signal
import time

import pytest

from tests.kills import end
from tests.tools.blobex_inv_cf.runs import WORDS, write_material
from tests.tools.blobex_inv_cf.test_runs import lasting
from tests.tools.commands import start_tool, torchrun_tool

KILLS, TOGETHER = 20, 4  # in all, and of one run
JOBS = {"plain": ("--bs", "2", "--n_iters_inv", "10"),
        "several at once": ("--bs", "2", "--num_diverse", "2", "--n_iters_cf", "10")}
LONGEST = 0.3  # seconds from a batch's end to the kill


@pytest.mark.parametrize("name", JOBS)
def test_killed_at_random_moments_it_ends_with_the_same_bytes(name, tmp_path):
    write_material(tmp_path, images=9)
    words, moments = (*WORDS, *JOBS[name], "--quiet"), random.Random(name)
    end(start_tool("blobex_inv_cf", tmp_path, *words, "--output_dir", "whole"))
    expected, met = lasting(tmp_path / "whole"), 0
    assert {"metadata_4.pt", "snapshot_4.jpg", "all_inversions.pt", "pairs.csv"} <= set(expected)
    while met < KILLS // len(JOBS):
        for count in sorted(moments.sample(range(5), TOGETHER)):
            process, place = start_tool("blobex_inv_cf", tmp_path, *words, "--output_dir", "cut"), tmp_path / "cut"
            while process.poll() is None and not (
                    (place / "run.json").exists() and len([*place.glob("metadata_*.pt")]) >= count):
                time.sleep(0.002)
            time.sleep(moments.uniform(0, LONGEST))
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=300)
            met += process.returncode == -signal.SIGKILL
        end(start_tool("blobex_inv_cf", tmp_path, *words, "--output_dir", "cut"))
        assert lasting(tmp_path / "cut") == expected
        shutil.rmtree(tmp_path / "cut")


@pytest.mark.parametrize("name", JOBS)
def test_two_and_three_processes_write_what_one_writes(name, tmp_path, monkeypatch):
    write_material(tmp_path)
    monkeypatch.chdir(tmp_path)
    for count in (1, 2, 3):
        ended = torchrun_tool(count, "blobex_inv_cf", *WORDS, *JOBS[name], "--output_dir", f"by_{count}", "--quiet")
        assert ended.status == 0, ended.err
        assert lasting(tmp_path / f"by_{count}") == lasting(tmp_path / "by_1")
