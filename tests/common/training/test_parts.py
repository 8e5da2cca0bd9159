"""Averages, schedules, batches, the image cache, the log, and which checkpoints stay."""

import json
import math
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from common.errors import InputError
from common.training.batches import Epochs, Groups
from common.training.ema import Average, half_life, ramp_up
from common.training.keep import staying
from common.training.log import Log, check_listeners, read_log
from common.training.optim import Optimiser, Schedule
from common.training.pixels import ImageCache

# ---- averages


@pytest.mark.parametrize("decay", [0.9, 0.999])
def test_the_average_follows_the_formula(decay):
    parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
    average, expected = Average([parameter], ramp_up(decay)), np.array([1.0, -2.0])
    for step in range(1, 30):
        with torch.no_grad():
            parameter.add_(0.1 * step)
        average.update()
        rate = 1 - min(decay, (1 + step) / (10 + step))
        expected = expected - rate * (expected - parameter.detach().numpy().astype(float))
        np.testing.assert_allclose(average.shadow[0].numpy(), expected, rtol=1e-5)
    assert average.count == 29


def test_the_half_life_covers_both_usual_forms():
    """NVlabs/edm's half-life in images, and min(max, (1 + n) / (10 + n)) in updates."""
    assert half_life(4096, 50_000, 0.05)(10**9) == pytest.approx(0.5 ** (4096 / 50e6))
    assert half_life(512, 500, 0.05)(101) == pytest.approx(0.5 ** (512 / (100 * 512 * 0.05)))
    small = half_life(16, 2.21, 0.077)
    assert small(1) == 0  # begins with the first weights
    for count in (30, 100, 400, 1500, 5000):
        assert 1 - small(count) == pytest.approx(1 - ramp_up(0.995)(count), rel=0.35)
    assert small(5000) == pytest.approx(0.995, abs=1e-5)
    assert half_life(16, 2.21)(1) == pytest.approx(0.995, abs=1e-5)
    assert math.isclose(half_life(16, 0)(1), 0)  # no averaging


# ---- schedules


def test_the_rate_rises_then_falls_to_its_floor():
    schedule = Schedule(2e-3, warmup=30, cosine=699, floor=0.05)
    rates = [schedule(n) for n in range(700)]
    assert rates[0] == pytest.approx(2e-3 / 30)
    assert max(rates) == pytest.approx(2e-3, rel=0.01)
    assert rates[-1] == pytest.approx(1e-4)
    assert Schedule(1e-3)(500) == 1e-3
    assert [Schedule(1.0, warmup=4, from_zero=True)(n) for n in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1]


def test_the_rate_is_halved_again_and_again():
    assert [Schedule(8.0, halving=3)(n) for n in (0, 2, 3, 5, 6, 9)] == [8, 8, 4, 4, 2, 1]


def test_clipping_limits_the_norm_that_was_reported():
    layer = nn.Linear(2, 2)
    optimiser = Optimiser(torch.optim.SGD(layer.parameters(), lr=0.0), Schedule(0.0), clip=1.0)
    for parameter in layer.parameters():
        parameter.grad = torch.full_like(parameter, 10.0)
    norm = optimiser.norm()
    assert float(norm) == pytest.approx(10 * math.sqrt(6))
    optimiser.step(norm)
    assert float(optimiser.norm()) == pytest.approx(1.0, rel=1e-5)


# ---- batches and images


def test_every_epoch_has_every_item_once_in_another_order():
    epochs = Epochs(10, seed=0, batch=4)
    seen = [int(epochs(step, row)) for step in range(5) for row in range(4)]
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]
    assert [int(epochs(2, row)) for row in range(4)] == seen[8:12]  # any step, any time


def test_groups_are_drawn_alike_whatever_their_size():
    groups = Groups(np.arange(100), np.array([0] * 98 + [5, 7]))
    generator = np.random.default_rng(0)
    drawn = np.array([groups.draw(generator) for _ in range(3000)])
    assert [np.mean(drawn == 98), np.mean(drawn == 99)] == pytest.approx([1 / 3] * 2, rel=0.1)


@pytest.mark.parametrize("memory_gb", [1.0, 0.0])
def test_images_that_fit_are_read_once_and_damaged_ones_counted(memory_gb):
    asked = []

    def load(numbers):
        asked.extend(numbers.tolist())
        good = numbers != 3
        return np.flatnonzero(good), np.repeat(numbers[good], 4).reshape(-1, 2, 2).astype(np.uint8)

    cache = ImageCache(load, 6, (2, 2), memory_gb)
    for numbers in ([5, 0, 5, 3], [3, 1, 0]):
        pixels, good = cache.read(numbers)
        assert pixels[:, 1, 1].tolist() == [0 if number == 3 else number for number in numbers]
        assert good.tolist() == [number != 3 for number in numbers]
    assert cache.damaged == 1
    assert sorted(asked) == ([0, 1, 3, 5] if memory_gb else [0, 0, 1, 3, 5])


# ---- the log

DAMAGED = b'{"step": 1, "loss": 2.0}\n\xff\xfe{"step": 2}\n{"loss": 1.0}\n{"step": "3", "loss": 1.0}\n[4]\n' \
          b'{"step": 5.5}\n{"step": true}\n\n' + b"[" * 100_000 + b'\n{"step": 6, "loss": 1.0}\n{"step": 7, "lo'


def test_what_is_no_row_of_a_log_is_skipped(tmp_path):
    path = tmp_path / "log.jsonl"
    assert read_log(path) == []
    path.write_bytes(DAMAGED)
    assert [row["step"] for row in read_log(path)] == [1, 6]
    assert len(read_log(path, needs_step=False)) == 6
    assert Log(tmp_path).start(5) == {"step": 1, "loss": 2.0}
    assert path.read_text() == '{"step": 1, "loss": 2.0}\n'


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_is_named(name, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(2):
        with pytest.raises(InputError, match="not installed") as refusal:
            check_listeners(**{name: True})
        assert f"pip install {name}" in str(refusal.value)
        (tmp_path / name).mkdir(exist_ok=True)  # as W&B's own folder of runs, which Python takes for a package


def fake(monkeypatch, name, **entries):
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None, origin="here")
    module.__dict__.update(entries)
    monkeypatch.setitem(sys.modules, name, module)


def test_listeners_hear_of_every_number(tmp_path, monkeypatch):
    heard, runs = [], []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            heard.append((folder, purge_step))

        def add_scalar(self, name, value, step):
            heard.append((name, value, step))

        def close(self):
            heard.append("closed")

    def init(**settings):
        runs.append(settings)
        return SimpleNamespace(id="abc", log=lambda values, step: runs.append((values, step)),
                               finish=lambda: runs.append("finished"))

    fake(monkeypatch, "tensorboard")
    fake(monkeypatch, "torch.utils.tensorboard", SummaryWriter=SummaryWriter)
    fake(monkeypatch, "wandb", init=init, Error=OSError)
    for _ in range(2):
        log = Log(tmp_path, tensorboard=True, wandb=True, tags={"loss": "training_loss"})
        log.start(8)
        log.write({"step": 9, "loss": 1.5, "seconds": 3.0})
        log.tell({"nll": 2.0}, 9)
        log.close()
    told = [(str(tmp_path / "tensorboard"), 9), ("training_loss", 1.5, 9), ("nll", 2.0, 9), "closed"]
    assert heard == told * 2
    assert [run["id"] for run in runs[::4]] == [None, "abc"]  # the second goes on in the first one's run
    assert runs[1:4] == runs[5:] == [({"training_loss": 1.5}, 9), ({"nll": 2.0}, 9), "finished"]
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [
        {"step": 9, "loss": 1.5, "seconds": 3.0}]


# ---- which checkpoints stay


def test_which_checkpoints_stay():
    steps = [2, 4, 6, 8, 10, 12]
    assert staying(steps) == {12}
    assert staying(steps, every=4, last=0) == {4, 8, 12}
    assert staying(steps, last=2) == {10, 12}
    scores = {2: 0.5, 4: 0.9, 6: float("nan"), 8: 0.9, 10: 0.1}
    assert staying(steps, last=1, best=2, scores=scores) == {2, 10, 12}
    assert staying(steps, last=0, best=1, scores=scores, mode="max") == {4}  # the older of equal ones
    assert staying(steps, every=6, last=1, best=1, scores=scores, mode="max") == {4, 6, 12}
    assert staying([], last=3, best=2, scores=scores) == set()
