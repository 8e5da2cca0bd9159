"""Killed at random moments and started again, every job of qc_ncsn ends with the bytes of an uninterrupted one."""

import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.tools.qc_ncsn.runs import (
    check_complete,
    contents,
    kill_after,
    leftovers,
    log_rows,
    run,
    start,
)

KILLS = 20
TRAIN = ("train", "--config", "u_digits", "--config.model.nf=8", "--n_iters", "60",
         "--config.training.snapshot_freq=20",
         "--config.training.snapshot_freq_for_preemption=5", "--log_freq", "1", "--device", "cpu")
SAMPLED = ("--config.training.snapshot_sampling=true", "--config.training.snapshot_nll=true",
           "--config.sampling.num_scales=20")
# name: (command, folder of its outputs, a file that shows that its work has begun)
JOBS = {
    "train_u": ((*TRAIN, *SAMPLED), ".", "run.json"),
    "train_qc": ((*TRAIN, "--balancing_fac", "0.003", "--slices", "2", "--config.model.dropout=0.1"), ".", "run.json"),
    "train_c": ((*TRAIN, "--config.model.energy=true", "--accumulate", "2"), ".", "run.json"),
    "train_workers": ((*TRAIN, "--num_workers", "3"), ".", "run.json"),
    "sample_pc": (("sample", "--num_samples", "100", "--bs", "10", "--num_scales", "40"), "eval_sampling/0",
                  "run.json"),
    "sample_multistep": (("sample", "--num_samples", "200", "--bs", "10", "--method", "multistep", "--num_steps", "30"),
                         "eval_sampling/0", "run.json"),
    "sample_heun": (("sample", "--num_samples", "200", "--bs", "10", "--method", "heun", "--num_steps", "15"),
                    "eval_sampling/0", "run.json"),
    "sample_ode": (("sample", "--num_samples", "30", "--bs", "5", "--ode", "--rtol", "1e-2", "--atol", "1e-2"),
                   "eval_sampling_ode/0", "run.json"),
    "nll": (("eval", "nll", "--num_images", "20", "--bs", "5", "--total_repeat", "2"), "nll", "run.json"),
    "asym": (("eval", "asym", "--num_images", "50", "--bs", "20", "--nl", "40"), "asym", "run.json"),
    "asym_exact": (("eval", "asym", "--exact", "--num_images", "20", "--bs", "10", "--nl", "20"), "asym_exact",
                   "run.json"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A work folder with a trained network."""
    folder = tmp_path_factory.mktemp("trained")
    ended = run(*TRAIN, "--workdir", folder, "--quiet")
    assert ended.status == 0, ended.err
    return folder


def prepare(folder, name, trained):
    """Return (command, folder of the outputs) of a job in a new work folder."""
    words, place, _ = JOBS[name]
    folder.mkdir()
    if words[0] != "train":
        shutil.copytree(trained / "checkpoints", folder / "checkpoints")
    return (*words, "--workdir", str(folder), "--quiet"), folder / place


@pytest.mark.parametrize("name", JOBS)
def test_killed_at_random_moments_it_ends_with_the_same_bytes(name, trained, tmp_path):
    words, place = prepare(tmp_path / "whole", name, trained)
    process = start(*words)
    while not (place / "run.json").exists():
        time.sleep(0.002)
    began = time.monotonic()
    process.communicate(timeout=600)
    work_seconds = time.monotonic() - began
    assert process.returncode == 0

    hits, moments = 0, random.Random(name)
    cut, cut_place = prepare(tmp_path / "cut", name, trained)
    # Moments over the whole of the work: each kill comes a random share of it after the restart went on working.
    while hits < KILLS:
        if hits and hits % 4 == 0:  # often enough that jobs reach their last files, too
            ended = run(*cut)
            assert ended.status == 0, ended.err
            shutil.rmtree(tmp_path / "cut")
            prepare(tmp_path / "cut", name, trained)
        before = _record_state(cut_place)
        ended, running = kill_after(cut, tmp_path / "cut", lambda state=before: _record_state(cut_place) != state,
                                    moments.uniform(0, 0.6) * work_seconds)
        if running:
            assert ended.status == -signal.SIGKILL
            hits += 1
        else:  # it was done before the kill came: begin a new one
            assert ended.status == 0, ended.err
            assert contents(cut_place) == contents(tmp_path / "whole" / JOBS[name][1])
            shutil.rmtree(tmp_path / "cut")
            prepare(tmp_path / "cut", name, trained)
    ended = run(*cut)
    assert ended.status == 0, ended.err
    assert leftovers(tmp_path / "cut") == []
    assert contents(cut_place) == contents(tmp_path / "whole" / JOBS[name][1])
    if words[0] == "train":
        assert log_rows(tmp_path / "cut") == log_rows(tmp_path / "whole")


def _record_state(place):
    """Return what changes when a command begins its work: the record's time of writing."""
    path = Path(place) / "run.json"
    return path.stat().st_mtime_ns if path.exists() else None


@pytest.mark.parametrize("name", ["train_u", "train_qc", "sample_pc", "nll", "asym"])
def test_sigterm_saves_and_the_same_command_goes_on(name, trained, tmp_path):
    words, place = prepare(tmp_path / "whole", name, trained)
    assert run(*words).status == 0
    cut, cut_place = prepare(tmp_path / "cut", name, trained)
    begun = (lambda: (tmp_path / "cut" / "log.jsonl").exists()) if words[0] == "train" else \
        (lambda: any(cut_place.glob("**/*.npz")))
    ended, running = kill_after(cut, tmp_path / "cut", begun, 0.3, signal.SIGTERM)
    assert running
    assert ended.status == 130
    assert ended.err.startswith("interrupted; progress saved, resume with: ")
    assert len(ended.err.splitlines()) == 1
    assert leftovers(tmp_path / "cut") == []
    check_complete(tmp_path / "cut")
    assert run(*cut).status == 0
    assert contents(cut_place) == contents(tmp_path / "whole" / JOBS[name][1])


@pytest.mark.parametrize("name", ["train_u", "sample_multistep", "nll", "asym"])
def test_killed_while_overwriting_it_ends_with_the_same_bytes(name, trained, tmp_path):
    words, place = prepare(tmp_path / "whole", name, trained)
    assert run(*words).status == 0
    expected = contents(place)
    moments = random.Random(name)
    assert run(*words, "--overwrite", "--seed", "1").status == 0
    for _ in range(5):
        before = _record_state(place)
        kill_after((*words, "--overwrite"), tmp_path / "whole", lambda state=before: _record_state(place) != state,
                   moments.uniform(0, 0.05))
    assert run(*words).status == 0
    assert contents(place) == expected
