"""Steps with numbers that are none: they change nothing, are counted, and end the run where there are too many."""

import pytest
import torch

from common.seeding import unit_generator
from tests.tools.commands import call_tool
from tests.tools.train_blobgan.runs import TINY, at_steps, log_rows, state, train, without_steps
from tools.train_blobgan.losses import r1_penalty
from tools.train_blobgan.step import GanStep

NAN = float("nan")


@pytest.fixture(autouse=True)
def here(own_folder):
    return own_folder


def spoil_loss(monkeypatch, steps):
    """Make the discriminator's loss on generated pictures NaN."""
    right, now = GanStep.judge_fake, []
    at_steps(monkeypatch, steps, lambda step: now.append(step) if step else now.clear())

    def judge(self, part):
        objective, values = right(self, part)
        return (objective * NAN, [values[0] * NAN, *values[1:]]) if now else (objective, values)

    monkeypatch.setattr(GanStep, "judge_fake", judge)


def spoil_image(monkeypatch, steps):
    """Put one NaN into one real image."""
    right, now = GanStep.real, []
    at_steps(monkeypatch, steps, lambda step: now.append(step) if step else now.clear())

    def real(self, part):
        images = right(self, part)
        if now:
            images[3, 1, 2, 2] = NAN
        return images

    monkeypatch.setattr(GanStep, "real", real)


def spoil_gradient(monkeypatch, steps):
    """Make one number of the discriminator's gradient infinite; its losses stay finite."""
    hooks = []

    def before(step):
        if step is None:
            while hooks:
                hooks.pop().remove()
            return
        bias = step.discriminator.final_conv[1].bias
        hooks.append(bias.register_hook(lambda gradient: gradient.index_fill(0, torch.tensor([0]), float("inf"))))

    at_steps(monkeypatch, steps, before)


SPOILS = {"loss": spoil_loss, "image": spoil_image, "gradient": spoil_gradient}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("spoil", SPOILS)
def test_T1_a_bad_step_changes_nothing(spoil, precision, monkeypatch):
    words = ("--precision", precision, "--max_steps", "5")  # of which the 4th has R1
    with monkeypatch.context() as patch:
        SPOILS[spoil](patch, {3, 4})
        ended = call_tool("train_blobgan", *TINY, *words, "--output_dir", "out", "--json")
    assert ended.status == 0, ended.err
    assert "warning: step 3 is skipped" in ended.err
    assert ended.results["skipped_steps"] == 2
    with monkeypatch.context() as patch:
        without_steps(patch, {3, 4})
        assert train(*words, out="without")["skipped_steps"] == 2
    assert (open("out/state.pth", "rb").read() == open("without/state.pth", "rb").read())
    assert log_rows("out")[-1]["skipped_steps"] == 2
    assert log_rows("out") == log_rows("without")
    train(*words, out="all")
    assert state("all")["optimisers"]["generator"]["updates"] == 5
    assert state("out")["optimisers"]["generator"]["updates"] == state("out")["averages"]["generator_ema"]["count"] == 3


def test_T1_too_many_in_a_row_end_the_run_with_the_last_good_state(monkeypatch):
    spoil_loss(monkeypatch, range(4, 100))
    words = (*TINY, "--max_steps", "40", "--output_dir", "out")
    ended = call_tool("train_blobgan", *words)
    assert ended.status == 2
    assert "at step 14, as in 10 steps before it; the state after step 13 is saved" in ended.err
    assert "--lr" in ended.err
    stored = state()
    assert (stored["step"], stored["optimisers"]["discriminator"]["updates"]) == (13, 3)
    assert all(bool(value.isfinite().all()) for network in stored["networks"].values() for value in network.values())
    before = open("out/state.pth", "rb").read()
    assert call_tool("train_blobgan", *words, "--quiet").status == 2  # it goes on where it was
    assert open("out/state.pth", "rb").read() == before


def test_T1_a_good_step_between_bad_ones_begins_the_count_anew(monkeypatch):
    spoil_loss(monkeypatch, {2, 3, 5, 6})
    ended = call_tool("train_blobgan", *TINY, "--max_steps", "7", "--max_bad_steps", "2", "--output_dir", "out",
                      "--json")
    assert (ended.status, ended.results["skipped_steps"]) == (0, 4)


def test_T1_none_are_allowed(monkeypatch):
    spoil_loss(monkeypatch, {3})
    ended = call_tool("train_blobgan", *TINY, "--max_bad_steps", "0", "--output_dir", "out", "--quiet")
    assert ended.status == 2
    assert "at step 3; the state after step 2 is saved" in ended.err
    assert state()["step"] == 2


@pytest.mark.parametrize(("spoil", "named"), [
    ("image", "the output of discriminator.convs.0.0 is not finite"),
    ("gradient", "the gradient of discriminator.final_conv.1.bias is not finite")])
def test_detect_anomalies_names_the_layer(spoil, named, monkeypatch):
    SPOILS[spoil](monkeypatch, {3})
    ended = call_tool("train_blobgan", *TINY, "--max_steps", "4", "--detect_anomalies", "--output_dir", "out")
    assert ended.status == 0
    assert named in ended.err


def test_T2_a_batch_of_one_and_equal_images_are_finite(monkeypatch):
    train("--batch_size", "1", "--max_steps", "5")
    rows = log_rows()
    assert all(row["skipped_steps"] == 0 and row["train/D_R1_unscaled"] > 0 for row in rows[4:])
    monkeypatch.setattr(GanStep, "real", lambda self, part: part.draws[0][:1].permute(0, 3, 1, 2).expand(
        len(part.draws[0]), -1, -1, -1) / 127.5 - 1)
    assert train("--batch_size", "4", "--max_steps", "4", out="equal")["skipped_steps"] == 0


def test_T3_r1_of_a_constant_picture_is_finite(monkeypatch):
    monkeypatch.setattr(GanStep, "real", lambda self, part: torch.full((len(part.draws[0]), 3, 8, 8), 0.5))
    assert train("--max_steps", "4")["skipped_steps"] == 0
    images = torch.full((4, 3, 8, 8), 0.5, requires_grad=True)
    weights = torch.zeros(3, requires_grad=True)  # the derivative by the images is 0 everywhere
    r1_penalty((images.mean(dim=(2, 3)) * weights).sum(dim=1), images).sum().backward()
    assert weights.grad.isfinite().all()


def test_T4_r1_is_float32_in_bf16():
    for precision in ("fp32", "bf16"):
        train("--resolution", "16", "--size_in", "8", "--generator_channels", "6", "5", "--discriminator_channels", "4",
              "6", "8", "--batch_size", "4", "--D_reg_every", "1", "--max_steps", "1", "--precision", precision,
              out=precision)
    values = [log_rows(precision)[0]["train/D_R1_unscaled"] for precision in ("fp32", "bf16")]
    assert values[1] == pytest.approx(values[0], rel=1e-3)
    losses = [log_rows(precision)[0]["train/G"] for precision in ("fp32", "bf16")]
    assert losses[1] != losses[0]  # the convolutions elsewhere are bf16
    assert losses[1] == pytest.approx(losses[0], rel=2e-2)


def test_T9_r1_has_no_weight_by_the_size_of_the_batch():
    def by(rows):
        network = torch.nn.Linear(6, 1).double()
        for parameter in network.parameters():
            parameter.data = torch.randn(parameter.shape, generator=unit_generator(0, "weights"), dtype=torch.float64)
        images = torch.arange(6.0, dtype=torch.float64).reshape(1, 1, 2, 3).expand(rows, -1, -1, -1)
        images = images.clone().requires_grad_()
        r1_penalty((network(images.flatten(1)) ** 2).squeeze(1), images).mean().backward()
        return network.weight.grad

    torch.testing.assert_close(by(4), by(1), rtol=1e-12, atol=0)
    images = torch.ones(4, 1, 2, 3, requires_grad=True)
    with pytest.raises(ValueError, match="logits of shape"):
        r1_penalty(images.sum(dim=(1, 2, 3))[:, None], images)
