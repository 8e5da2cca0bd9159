"""Two processes under torchrun (gloo) do what one does: training, sampling, likelihood, asymmetry; killed ones
resume."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.tools.qc_ncsn.runs import (
    ROOT,
    contents,
    environment,
    leftovers,
    log_rows,
    run,
    torchrun,
)

TRAIN = ("train", "--config", "u_digits", "--config.model.nf=8", "--n_iters", "19", "--log_freq", "1", "--device",
         "cpu",
         "--config.training.snapshot_freq=10", "--config.optim.warmup=4", "--quiet")
VARIANTS = {
    "plain": (), "dropout": ("--config.model.dropout=0.2",),
    "qc": ("--balancing_fac", "0.003", "--slices", "2"),
    "qc, dropout, parts": ("--balancing_fac", "0.003", "--slices", "2", "--config.model.dropout=0.2", "--accumulate",
                           "2"),
    "qc, masks of their own": ("--balancing_fac", "0.003", "--slices", "2", "--config.model.dropout=0.2",
                               "--config.loss.slice_masks=separate"),
    "accumulate": ("--accumulate", "2"), "conservative": ("--config.model.energy=true",),
    "memory": ("--balancing_fac", "0.003", "--activation_checkpointing", "--config.model.dropout=0.2"),
    "uneven": ("--bs", "21", "--config.model.dropout=0.2"),
}
JOBS = {
    "pc": (("sample", "--num_samples", "20", "--bs", "4", "--num_scales", "10"), "eval_sampling/0"),
    "multistep": (("sample", "--num_samples", "20", "--bs", "4", "--method", "multistep", "--num_steps", "10"),
                  "eval_sampling/0"),
    "ode": (("sample", "--num_samples", "12", "--bs", "4", "--ode", "--rtol", "1e-2", "--atol", "1e-2"),
            "eval_sampling_ode/0"),
    "nll": (("eval", "nll", "--num_images", "14", "--bs", "4"), "nll"),
    "asym": (("eval", "asym", "--num_images", "14", "--bs", "4", "--nl", "5"), "asym"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A work folder with a trained network."""
    folder = tmp_path_factory.mktemp("trained")
    ended = run(*TRAIN, "--workdir", folder)
    assert ended.status == 0, ended.err
    return folder


@pytest.mark.parametrize("name", VARIANTS)
def test_two_processes_train_like_one(name, tmp_path):
    words = (*TRAIN, *VARIANTS[name])
    for count, folder in ((1, "one"), (2, "two")):
        ended = torchrun(count, *words, "--workdir", tmp_path / folder)
        assert ended.status == 0, ended.err
    worst = 0.0
    for mine, expected in zip(log_rows(tmp_path / "two"), log_rows(tmp_path / "one")):
        worst = max(worst, abs(mine["loss"] / expected["loss"] - 1))
        if mine["step"] < 5:  # later, rounding has gone through Adam too often
            assert mine["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-4)
    assert worst < 1e-5
    print(f"{name}: losses of 20 steps agree to {worst:.1e}")


@pytest.mark.parametrize("name", JOBS)
def test_two_processes_give_the_bytes_of_one(name, trained, tmp_path):
    words, place = JOBS[name]
    for count, folder in ((1, "one"), (2, "two")):
        shutil.copytree(trained / "checkpoints", tmp_path / folder / "checkpoints")
        ended = torchrun(count, *words, "--device", "cpu", "--workdir", tmp_path / folder, "--json", "--quiet")
        assert ended.status == 0, ended.err
        assert len(ended.out.splitlines()) == 1
    assert contents(tmp_path / "two" / place) == contents(tmp_path / "one" / place)


def test_other_batch_sizes_and_processes_agree(trained, tmp_path):
    found = []
    for count, size in ((1, 14), (2, 3)):
        folder = tmp_path / str(count)
        shutil.copytree(trained / "checkpoints", folder / "checkpoints")
        ended = torchrun(count, "eval", "nll", "--num_images", "14", "--bs", size, "--device", "cpu", "--workdir",
                         folder, "--quiet")
        assert ended.status == 0, ended.err
        files = sorted((folder / "nll").glob("bpd_*.npz"), key=lambda path: int(path.stem[4:]))
        found.append(np.concatenate([np.load(path)["bpd"] for path in files]))
    np.testing.assert_allclose(found[0], found[1], atol=0.02)


def children(parent):
    """Return the numbers of a process's children (Linux)."""
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/stat")
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_two_processes_go_on_after_a_kill(how, tmp_path):
    words = (*TRAIN, "--n_iters", "60", "--config.training.snapshot_freq_for_preemption=5",
             "--config.model.dropout=0.2")
    assert torchrun(2, *words, "--workdir", tmp_path / "whole").status == 0
    folder = tmp_path / "cut"
    log = folder / "log.jsonl"
    for count in (8, 30):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
                   "-m", "tools.qc_ncsn", *words, "--workdir", str(folder)]
        process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        while process.poll() is None and not (log.exists() and log.read_text().count("\n") > count):
            time.sleep(0.005)
        assert process.poll() is None
        # of all processes, as when a machine goes down: torchrun's end alone leaves its workers
        if how == signal.SIGKILL:
            for number in (process.pid, *children(process.pid)):
                os.kill(number, how)
        else:
            process.terminate()
        process.wait(timeout=60)
    assert torchrun(2, *words, "--workdir", folder).status == 0
    assert leftovers(folder) == []
    assert contents(folder) == contents(tmp_path / "whole")
    assert log_rows(folder) == log_rows(tmp_path / "whole")
