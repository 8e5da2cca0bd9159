"""What the commands say and draw for people."""

import csv
import importlib.util
import json
import os
import signal
import time

import pytest
from PIL import Image

from common.files import write_json
from tests.tools.qc_ncsn.runs import call, finish, good, leftovers, start
from tools.qc_ncsn.compare import command as compare
from tools.qc_ncsn.work_dir import WorkDir, work_dir

SMALL = ("--config", "qc_digits", "--config.model.nf=4", "--config.model.ch_mult=1",
         "--config.model.attn_resolutions=()", "--bs", "4", "--device", "cpu", "--config.training.snapshot_freq=2")

LOGGERS = ("tensorboard", "wandb")


def test_training_says_what_it_does_and_where_it_ended(tmp_path):
    words = ("train", *SMALL, "--workdir", tmp_path / "w", "--slices", "2")
    said = call(*words, "--n_iters", "2").err
    assert "data: digits, train split, 1,500 images of 8 x 8 x 1" in said
    assert "quasi-conservative QC-NCSN++" in said
    assert "parameters, on cpu" in said
    assert "regulariser: lambda 0.003, K = 2, sigma2" in said
    assert "steps 0 to 2 at batch size 4, from random weights" in said
    assert "loss " in said
    assert "reg " in said
    assert f"trained to step 2: newest snapshot {tmp_path / 'w' / 'checkpoints' / 'checkpoint_1.pth'}" in said
    assert f"next: qc_ncsn sample --workdir {tmp_path / 'w'}" in said
    said = call(*words, "--n_iters", "4").err
    assert f"from {tmp_path / 'w' / 'checkpoints-meta' / 'checkpoint.pth'} (step 2)" in said


def test_a_dry_run_counts_the_steps_that_remain(tmp_path):
    words = ("train", *SMALL, "--workdir", tmp_path / "w")
    assert good(*words, "--n_iters", "4", "--dry_run")["steps"] == 5
    good(*words, "--n_iters", "4")
    assert good(*words, "--n_iters", "9", "--dry_run")["steps"] == 5
    assert good(*words, "--n_iters", "4", "--dry_run")["steps"] == 0


@pytest.mark.parametrize("words", [("--tensorboard",), ("--config.training.snapshot_nll=true", "--data_dir", "data",
                                                        "--dataset", "cifar10")])
def test_a_dry_run_finds_what_the_run_would_miss(words, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec",
                        lambda name, *package: None if name in LOGGERS else found(name, *package))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    ended = call("train", *SMALL, "--workdir", tmp_path / "w", "--n_iters", "2", "--dry_run", *words)
    assert ended.status == 2
    assert ("tensorboard: the package is not installed" if words == ("--tensorboard",) else "cifar10") in ended.err


@pytest.mark.long
def test_a_signal_during_a_snapshot_is_answered_at_once(tmp_path):
    words = ("train", *SMALL, "--workdir", tmp_path / "w", "--n_iters", "4", "--config.training.snapshot_sampling=true",
             "--config.sampling.num_scales=1000000")
    process = start(*words)
    state, deadline = tmp_path / "w" / "checkpoints-meta" / "checkpoint.pth", time.monotonic() + 60
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)  # a million steps of the sampler take hours
    process.send_signal(signal.SIGINT)
    ended = finish(process, 20)
    assert ended.status == 130, ended.err
    assert "progress saved" in ended.err
    assert not leftovers(tmp_path / "w")


def test_a_signal_during_a_step_is_answered_in_words_and_a_second_one_ends_it(monkeypatch, tmp_path, capfd):
    from tools.qc_ncsn.train.run import ScoreTraining

    step = ScoreTraining._step

    def long_step(run, number, parts):
        if number == 1:
            os.kill(os.getpid(), signal.SIGINT)
            assert "stopping after step 1, with the state saved" in capfd.readouterr().err
            os.kill(os.getpid(), signal.SIGINT)
            pytest.fail("the second signal was not answered")
        return step(run, number, parts)

    monkeypatch.setattr(ScoreTraining, "_step", long_step)
    assert call("train", *SMALL, "--workdir", tmp_path / "w", "--n_iters", "2").status == 130


def test_results_in_front_of_a_work_folder_is_not_put_there_twice():
    assert [str(work_dir(name)) for name in ("u", "results/u", "./u", "/a/u", "results", "resultsx/u")] == [
        "results/u", "results/u", "u", "/a/u", "results/results", "results/resultsx/u"]


def test_tables_hold_numbers_and_quote_what_needs_it(tmp_path):
    for name, nll in (("a,b", 4.0), ("c", 3.5)):
        work = WorkDir(tmp_path / name)
        write_json(work.nll / "run.json", {"status": "done", "tool": "qc_ncsn", "command": "qc_ncsn eval nll",
                                           "options": {"weights": "raw", "num_images": 3, "split": "test"},
                                           "results": {"nll": nll, "nll_se": 0.25}})
    good("compare", "--workdirs", tmp_path / "a,b", tmp_path / "c", "--output_dir", tmp_path / "t")
    rows = list(csv.reader((tmp_path / "t" / "table.csv").open()))
    assert rows[0] == ["measure", "a,b", "a,b se", "c", "c se"]
    assert rows[1] == ["nll", "4.0", "0.25", "3.5", "0.25"]
    assert {len(row) for row in rows} == {5}
    assert compare.numbers({"x": {"nll": 1.5}})[1] == ["nll", 1.5, None]


def test_small_samples_are_enlarged_and_a_likelihood_s_table_is_quoted(tmp_path):
    good("train", *SMALL, "--workdir", tmp_path / "a,b", "--n_iters", "2")
    good("sample", "--workdir", tmp_path / "a,b", "--method", "multistep", "--num_steps", "2", "--num_samples", "4")
    assert Image.open(tmp_path / "a,b" / "eval_sampling" / "0" / "samples_0.png").size == (4 * 22, 4 * 22)
    good("eval", "nll", "--workdir", tmp_path / "a,b", "--num_images", "1", "--rtol", "0.5", "--atol", "0.5")
    rows = dict(csv.reader((tmp_path / "a,b" / "nll" / "table.csv").open()))
    assert rows["checkpoint"].endswith("a,b/checkpoints/checkpoint_1.pth")
    assert json.loads(rows["nll"]) > 0
