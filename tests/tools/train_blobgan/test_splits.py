"""A batch in parts, and in processes: the same training in float64, the same gradients in float32."""

import subprocess
import sys

import pytest
import torch

from tests.tools.commands import ROOT, environment, refusal_of, torchrun_tool
from tests.tools.train_blobgan.runs import TINY, flat, log_rows, state, train
from tools.train_blobgan import networks, optimisers
from tools.train_blobgan.batches import draw_noise
from tools.train_blobgan.parts import divisors, fitting_parts, split_rows

WORDS = ("--max_steps", "20", "--batch_size", "16", "--stddev_rows", "4", "--quiet")
SPLITS = {"parts 2": ("--accumulate", "2"), "parts 4": ("--accumulate", "4")}


@pytest.fixture(autouse=True)
def here(own_folder):
    return own_folder


def double_in_two_processes(*words):
    """Train in float64 in two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m",
               "tests.tools.train_blobgan.double", *TINY, *words]
    done = subprocess.run(command, env={**environment(), "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
                          timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def check_equal(folder, relative=1e-10):
    """Compare every number of the log, and the weights, with those of the run in one part."""
    rows, expected = log_rows(folder), log_rows("one")
    assert len(rows) == len(expected) == 20
    for row, other in zip(rows, expected):
        assert row == pytest.approx(other, rel=relative, abs=1e-12)
    ours, theirs = (flat(state(name)["networks"]) for name in (folder, "one"))
    assert float((ours - theirs).abs().max()) <= 1e-8 * float(theirs.abs().max())


@pytest.mark.long
def test_T8_parts_give_the_same_losses_in_float64(monkeypatch):
    monkeypatch.setattr(networks, "DTYPE", torch.float64)
    train(*WORDS, out="one")
    assert log_rows("one")[3]["train/D_R1"] > 0
    for name, more in SPLITS.items():
        train(*WORDS, *more, out=name)
        check_equal(name)


@pytest.mark.long
def test_T8_processes_give_the_same_losses_in_float64(monkeypatch):
    monkeypatch.setattr(networks, "DTYPE", torch.float64)
    train(*WORDS, out="one")
    for name, more in {"two": (), "two in parts": ("--accumulate", "2")}.items():
        double_in_two_processes(*WORDS, *more, "--output_dir", name)
        check_equal(name)


@pytest.mark.long
def test_T8_shares_of_a_set_are_gathered(monkeypatch):
    monkeypatch.setattr(networks, "DTYPE", torch.float64)
    whole = ("--max_steps", "20", "--batch_size", "12", "--quiet")  # one set of 12: no process has all of it
    train(*whole, out="one")
    double_in_two_processes(*whole, "--output_dir", "two")
    check_equal("two")


def test_T8_gradients_of_a_step_in_float32(monkeypatch):
    """Both turns of a step with R1, from one state: each gradient to 1e-5 of the largest."""
    taken, right = {}, optimisers.Optimiser.step

    def keep(self, norm):
        taken.setdefault(name, []).append([parameter.grad.clone() for parameter in self.parameters()])
        return right(self, norm)

    monkeypatch.setattr(optimisers.Optimiser, "step", keep)
    for name, more in {"one": (), **SPLITS}.items():
        train("--max_steps", "1", "--D_reg_every", "1", *WORDS[2:], *more, out=name)
    for name in SPLITS:
        for ours, theirs in zip(taken[name], taken["one"]):
            largest = max(float(gradient.abs().max()) for gradient in theirs)
            assert max(float((mine - other).abs().max()) for mine, other in zip(ours, theirs)) <= 1e-5 * largest


def test_T8_the_first_losses_in_float32():
    train(*WORDS, "--max_steps", "3", out="one")
    train(*WORDS, "--max_steps", "3", "--accumulate", "4", out="parts")
    for row, other in zip(log_rows("parts"), log_rows("one")):
        assert [row[name] for name in ("train/G", "train/D_real", "train/D_fake")] == pytest.approx(
            [other[name] for name in ("train/G", "train/D_real", "train/D_fake")], rel=1e-5)


@pytest.mark.parametrize(("words", "said"), [
    (("--batch_size", "10", "--stddev_rows", "4"), "Use one of 1, 2, 5, 10"),
    (("--batch_size", "12", "--stddev_rows", "4", "--accumulate", "4"), "Use one of 1, 2, 3"),
    (("--batch_size", "12", "--accumulate", "2"), "Use one of 1, or smaller --stddev_rows"),
    (("--batch_size", "65536", "--stddev_rows", "3"), "Use one of 1, 2, 4, 8, 16"),
    (("--batch_size", "100000000000"), "must be from 1 to 65,536"),
    (("--accumulate", "100000000000"), "must be from 1 to 65,536"),
    (("--stddev_rows", "100000000000"), "must be from 1 to 65,536"),
    (("trainer.gpus=100000000000",), "expected a whole number from -1 to 65,536"),
    (("trainer.accumulate_grad_batches=100000000000",), "expected a whole number from 1 to 65,536"),
    (("dataset.dataloader.batch_size=100000000000",), "expected a whole number from 1 to 65,536"),
    (("dataset.dataloader.batch_size=4", "trainer.gpus=60000"), "are more than a batch may have: 65,536")])
def test_T10_a_split_that_does_not_hold_whole_sets_is_refused(words, said, here):
    assert said in refusal_of("train_blobgan", *TINY, *words, "--output_dir", "out", "--quiet")
    assert not (here / "out").exists()


def test_T10_the_splits_that_are_named_are_all_that_fit():
    for batch in range(1, 40):
        assert divisors(batch) == [number for number in range(1, batch + 1) if batch % number == 0]
        for rows in divisors(batch):
            for processes in (1, 2, 3, 8):
                fitting = [parts for parts in range(1, batch // rows + 1) if batch // rows // parts * rows >= processes]
                assert list(fitting_parts(batch, rows, processes)) == fitting


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 6, 10])
def test_T10_batches_of_any_size(batch):
    train("--batch_size", batch, "--max_steps", "4")


def test_T10_a_data_set_whose_length_is_no_multiple_of_the_batch(here):
    import numpy as np

    pixels = np.random.default_rng(0).integers(0, 256, (33, 8, 8, 3), np.uint8)
    np.savez(here / "few.npz", images=pixels)
    assert train("--data", "few.npz", "--batch_size", "16", "--max_steps", "7")["images"] == 33


def test_T11_every_row_draws_noise_of_its_own(monkeypatch):
    shapes = [(1, 1, 4, 4), (1, 1, 8, 8)]
    for size in (1, 2, 3):
        rows = []
        for rank in range(size):
            monkeypatch.setenv("WORLD_SIZE", str(size))
            monkeypatch.setenv("RANK", str(rank))
            rows += [row for first, last in split_rows(12, 2, 2) for row in range(first, last)]
        assert sorted(rows) == list(range(12))
        drawn = torch.cat([draw_noise(0, "generator", 5, rows, 6, shapes, 3).z,
                           draw_noise(0, "discriminator", 5, rows, 6, shapes, 3).z])
        assert len(drawn.unique(dim=0)) == 24
        order = torch.tensor(rows).argsort()
        torch.testing.assert_close(drawn[:12][order],
                                   draw_noise(0, "generator", 5, range(12), 6, shapes, 3).z, rtol=0, atol=0)


@pytest.mark.long
def test_two_processes_by_torchrun_end_and_write_once(here):
    ended = torchrun_tool(2, "train_blobgan", *TINY, *WORDS, "--output_dir", "out", "--every_n_train_steps", "10")
    assert ended.status == 0, ended.err
    assert len(list((here / "out" / "checkpoints").iterdir())) == 2
    assert len(log_rows()) == 20
