"""The loop with a toy GAN: parts and processes, resuming, stopping, and what it refuses."""

import os
import signal
import socket
import subprocess
import sys

import pytest
import torch

from common.errors import InputError
from common.training.keep import Periodic
from common.training.log import read_log
from common.training.loop import NotFinite
from tests.common.training.toy import Gan
from tests.tools.commands import ROOT, environment


def train(folder, **changes):
    gan = Gan(folder, **changes)
    gan.loop.run()
    return gan


def parameters(gan):
    tensors = [parameter.detach() for network in gan.networks.values() for parameter in network.parameters()]
    return torch.cat([tensor.flatten() for tensor in (*tensors, *gan.averages["constant"].shadow,
                                                      *gan.averages["ramp"].shadow)])


def rows(folder):
    return [{name: value for name, value in row.items() if name not in ("seconds", "images_per_second")}
            for row in read_log(folder / "log.jsonl")]


def test_a_batch_in_parts_gives_the_same_weights_and_losses(tmp_path):
    whole, parts = train(tmp_path / "whole"), train(tmp_path / "parts", accumulate=3)
    torch.testing.assert_close(parameters(parts), parameters(whole), rtol=0, atol=1e-12)
    assert [set(row) - set(rows(tmp_path / "whole")[0]) for row in rows(tmp_path / "whole")] == [set(), {"r1"}] * 3
    for mine, theirs in zip(rows(tmp_path / "parts"), rows(tmp_path / "whole")):
        assert mine == pytest.approx(theirs, rel=1e-12)
    assert whole.optimisers["discriminator"].updates == 9  # two in every second step
    assert parameters(whole).unique().numel() > 40


def train_two(folder, broken=0):
    """Train the toy in two processes; returns [(status, what was printed)]."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.common.training.toy", str(folder), str(broken)]
    variables = {**environment(), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [subprocess.Popen(command, cwd=ROOT, env={**variables, "RANK": str(rank)}, stdout=subprocess.PIPE,
                                  text=True) for rank in range(2)]
    printed = [process.communicate(timeout=120)[0] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, printed)]


def test_two_processes_with_one_summed_exchange_train_like_one(tmp_path):
    assert train_two(tmp_path / "two") == [(0, "")] * 2
    one = train(tmp_path / "one")
    two = Gan(tmp_path / "two")
    assert two.loop.done == 6
    torch.testing.assert_close(parameters(two), parameters(one), rtol=0, atol=1e-12)
    for mine, theirs in zip(rows(tmp_path / "two"), rows(tmp_path / "one"), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-10)


def test_it_resumes_to_the_same_bytes_and_log(tmp_path):
    train(tmp_path / "whole", last=7)
    train(tmp_path / "cut", last=3)
    with open(tmp_path / "cut" / "log.jsonl", "a") as log:
        log.write('{"step": 4, "loss": 9.0}\n{"step": 5, "lo')  # of steps that are done again
    train(tmp_path / "cut", last=7)
    assert (tmp_path / "cut" / "state.pth").read_bytes() == (tmp_path / "whole" / "state.pth").read_bytes()
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


def test_a_run_that_begins_at_its_last_step_has_a_state(tmp_path):
    gan = Gan(tmp_path, last=3)
    gan.loop.done = 3  # as of a checkpoint that another run left
    gan.loop.run()
    assert gan.state.load(gan.path)[0] == 3


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_it_after_the_step_with_the_state_saved(name, tmp_path):
    before = signal.getsignal(getattr(signal, name))
    gan = Gan(tmp_path, save_every=0)
    step = gan.loop.step

    def signalled(number, parts):
        if number == 3:
            os.kill(os.getpid(), getattr(signal, name))
        return step(number, parts)

    gan.loop.step = signalled
    with pytest.raises(KeyboardInterrupt):
        gan.loop.run()
    assert Gan(tmp_path).loop.done == 3
    assert signal.getsignal(getattr(signal, name)) == before


def test_an_interruption_that_an_import_swallowed_ends_it_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr("common.cli._INTERRUPTED", [signal.SIGINT])
    gan = Gan(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        gan.loop.run()
    assert gan.loop.done == 0


def test_a_hang_up_that_is_ignored_stays_ignored(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        gan = Gan(tmp_path)
        gan.loop.evaluate = (3, lambda step: os.kill(os.getpid(), signal.SIGHUP) or {})
        gan.loop.run()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert gan.loop.done == 6


def spoil_loss(gan):
    draw = gan.loop.draw
    gan.loop.draw = lambda step, *part: tuple(value * float("inf" if step == 4 else 1) for value in draw(step, *part))


def spoil_gradient(gan):
    def hook(gradient):
        return gradient * float("nan") if gan.loop.done == 3 else gradient

    next(gan.networks["generator"].parameters()).register_hook(hook)


@pytest.mark.parametrize("spoil", [spoil_loss, spoil_gradient])
def test_what_is_not_finite_touches_neither_weights_nor_the_state(spoil, tmp_path):
    gan = Gan(tmp_path, save_every=2)
    spoil(gan)
    with pytest.raises(NotFinite, match="no longer finite at step 4; the state after step 2 is saved"):
        gan.loop.run()
    quiet = train(tmp_path / "quiet", last=3)
    assert torch.equal(parameters(gan), parameters(quiet))
    assert Gan(tmp_path).loop.done == 2


def test_an_unreadable_batch_saves_the_last_step_first(tmp_path):
    gan = Gan(tmp_path, save_every=0)
    draw = gan.loop.draw

    def broken(step, first, last):
        if step == 5:
            raise InputError("not an image", where="cat.png")
        return draw(step, first, last)

    gan.loop.draw = broken
    with pytest.raises(InputError, match="not an image"):
        gan.loop.run()
    assert Gan(tmp_path).loop.done == 4
    whole = train(tmp_path / "whole")
    train(tmp_path)
    assert (tmp_path / "state.pth").read_bytes() == whole.path.read_bytes()


@pytest.mark.long
def test_what_one_of_two_processes_cannot_draw_ends_both_with_the_state_saved(tmp_path):
    assert train_two(tmp_path, broken=4) == [(2, "cat.png: not an image.\n")] * 2
    assert Gan(tmp_path).loop.done == 3


def test_an_error_between_two_updates_of_a_step_saves_nothing_of_it(tmp_path):
    gan = Gan(tmp_path, save_every=3)
    update = gan.loop.update

    def broken(name, parts, loss):
        if name == "discriminator" and gan.loop.done == 4:
            raise InputError("broken", where="here")
        return update(name, parts, loss)

    gan.loop.update = broken
    with pytest.raises(InputError, match="broken"):
        gan.loop.run()
    assert Gan(tmp_path).loop.done == 3  # the weights are those of step 4 and a half


def test_pictures_that_a_killed_run_did_not_get_to_are_made_up_for(tmp_path):
    made = []

    def pictures(fail):
        def write(path, step):
            if step == fail:
                raise RuntimeError("killed")
            made.append(step)
            path.touch()

        return [Periodic(2, lambda step: tmp_path / f"{step}.png", write)]

    with pytest.raises(RuntimeError):
        train(tmp_path, products=pictures(4))
    train(tmp_path, products=pictures(None))
    assert made == [2, 4, 6]


def test_a_picture_that_cannot_be_written_saves_the_state_first(tmp_path):
    def full(path, step):
        raise InputError("no space left on the disk", where=path)

    with pytest.raises(InputError, match="no space"):
        train(tmp_path, save_every=0, products=[Periodic(5, lambda step: tmp_path / f"{step}.png", full)])
    assert Gan(tmp_path).loop.done == 5


@pytest.mark.parametrize(("every", "steps"), [(4, [4, 6]), (3, [3, 6]), (0, []), (lambda step: step == 2, [2])])
def test_an_evaluation_every_so_many_steps_and_after_the_last_is_in_the_log(every, steps, tmp_path):
    gan = Gan(tmp_path)
    gan.loop.evaluate = (every, lambda step: {"held_out": step})
    gan.loop.run()
    assert [row["step"] for row in rows(tmp_path) if "held_out" in row] == steps


def test_the_best_checkpoints_by_a_monitored_value_stay(tmp_path):
    scores = {1: 5.0, 2: 1.0, 3: 4.0, 4: 2.0, 5: 3.0, 6: 6.0}
    gan = Gan(tmp_path)
    kept = Periodic(1, lambda step: tmp_path / "kept" / f"step_{step:04d}.pth", gan.state.save,
                    log=tmp_path / "log.jsonl", monitor="fid", last=1, best=2)
    gan.loop.evaluate, gan.loop.products = (1, lambda step: {"fid": scores[step]}), [kept]
    gan.loop.run()
    assert kept.steps() == [2, 4, 6]
    assert [row["fid"] for row in rows(tmp_path)] == list(scores.values())
