"""The training step: moving average, rates, clipping, draws, and splits of a batch that change nothing."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from common.diffusion.scores import make_score
from common.diffusion.sde import VESDE
from common.nn.dropout import DropoutDraw
from common.score.config import preset
from common.score.models import build_network
from common.seeding import unit_generator
from tests.common.score.makers import draws, small_network
from tools.qc_ncsn.losses import training_loss
from tools.qc_ncsn.train.step import ScoreBatches, ScoreLoss, make_optimiser

OPTIM = preset("u_digits")["optim"]


def read(indices):
    """Return made-up images, all of them good: image i is filled with i, but for its first column."""
    pixels = np.asarray(indices, np.uint8)[:, None, None, None].repeat(4, 1).repeat(4, 2)
    pixels[:, :, 0] = 0
    return pixels, np.ones(len(pixels), bool)


# ---- rates and clipping


def optimiser(**changes):
    return make_optimiser(nn.Linear(2, 2), {**OPTIM, **changes}, total_steps=100)


def trained(found):
    return [parameter for parameter in found.optimiser.param_groups[0]["params"] if parameter.requires_grad]


def rates(found, count):
    result = []
    for _ in range(count):
        for parameter in trained(found):
            parameter.grad = torch.ones_like(parameter)
        result.append(found.step(found.norm()))
    return np.array(result)


def test_warm_up_begins_with_rate_0():
    found = optimiser(warmup=10, lr=0.5)
    before = [parameter.detach().clone() for parameter in trained(found)]
    np.testing.assert_allclose(rates(found, 1), [0.0])
    assert all(torch.equal(old, new) for old, new in zip(before, trained(found)))
    np.testing.assert_allclose(rates(found, 13), 0.5 * np.minimum(np.arange(1, 14) / 10, 1))
    assert not torch.equal(before[0], trained(found)[0])


def test_without_warm_up_the_first_rate_is_whole():
    np.testing.assert_allclose(rates(optimiser(warmup=0, lr=0.5), 3), [0.5] * 3)


def test_the_cosine_ends_at_0():
    found = rates(optimiser(warmup=0, lr=1.0, schedule="cosine"), 102)
    np.testing.assert_allclose(found[:101], 0.5 * (1 + np.cos(math.pi * np.arange(101) / 100)), atol=1e-12)
    assert found[50] == pytest.approx(0.5)
    assert found[101] == 0.0


@pytest.mark.parametrize(("limit", "scale"), [(1.0, 1.0), (-1.0, None), (1e9, None)])
def test_the_gradient_norm_is_clipped_and_reported_as_it_was(limit, scale):
    found = optimiser(grad_clip=limit, warmup=0)
    for parameter in trained(found):
        parameter.grad = torch.full_like(parameter, 10.0)
    norm = math.sqrt(sum(parameter.numel() for parameter in trained(found))) * 10
    told = found.norm()
    found.step(told)
    assert float(told) == pytest.approx(norm, rel=1e-5)
    after = math.sqrt(sum(float(parameter.grad.square().sum()) for parameter in trained(found)))
    assert after == pytest.approx(scale or norm, rel=1e-4)


def test_the_fourier_frequencies_stay():
    network = small_network()
    found, before = make_optimiser(network, {**OPTIM, "warmup": 0}, 10), network.all_modules[0].W.detach().clone()
    for parameter in trained(found):
        parameter.grad = torch.ones_like(parameter)
    found.step(found.norm())
    assert torch.equal(network.all_modules[0].W, before)
    assert len(found.optimiser.state_dict()["param_groups"][0]["params"]) == len(trained(found)) + 1


# ---- draws


def test_draws_depend_on_seed_step_and_row_alone():
    whole = ScoreBatches(read, 100, seed=1, batch=6, slices=2, flip=True).draw(5, 0, 6)
    for first, last in ((0, 2), (2, 3), (3, 6)):
        part = ScoreBatches(read, 100, seed=1, batch=6, slices=2, flip=True).draw(5, first, last)
        for name, mine, all_rows in zip(("x0", "u", "z"), part, whole):
            assert torch.equal(mine, all_rows[first:last]), name
        assert torch.equal(part[3].unflatten(0, (2, -1)), whole[3].unflatten(0, (2, 6))[:, first:last])
    for other in (ScoreBatches(read, 100, 2, 6, 2, True).draw(5, 0, 6),
                  ScoreBatches(read, 100, 1, 6, 2, True).draw(6, 0, 6)):
        assert all(not torch.equal(mine, theirs) for mine, theirs in zip(other, whole))


def test_draws_do_not_touch_torchs_own_generator():
    torch.manual_seed(3)
    expected = torch.randn(4)
    torch.manual_seed(3)
    ScoreBatches(read, 10, 0, 4, 1, True).draw(0, 0, 4)
    build_network(preset("u_digits"), seed=4)
    assert torch.equal(torch.randn(4), expected)


def test_draws_have_the_right_distributions():
    x0, u, z, v = ScoreBatches(read, 50, seed=0, batch=400, slices=2, flip=True).draw(0, 0, 400)
    assert float(x0.max()) <= 1
    assert 0 <= float(u.min()) < 0.02
    assert 0.98 < float(u.max()) < 1
    assert abs(float(z.mean())) < 0.05
    assert abs(float(z.std()) - 1) < 0.05
    assert set(v.unique().tolist()) == {-1.0, 1.0}
    assert abs(float(v.mean())) < 0.05
    flipped = (x0[:, 0, 0, 3] == 0) & (x0[:, 0, 0, 0] > 0)
    assert 0.4 < float(flipped.float().mean()) < 0.6


# ---- a batch in parts


def gradients(network, loss, parts, slices, checkpointing=False, energy=False):
    """Return (losses, gradients) of one step's batch of 6 that goes through the network in `parts` parts."""
    network = copy.deepcopy(network).train()
    network.activation_checkpointing = checkpointing
    module = ScoreLoss(network, make_score(network, energy), VESDE(), loss)
    batches = ScoreBatches(read, 60, seed=0, batch=6, slices=slices, flip=False)
    batches.read = lambda indices: (np.stack([np.full((8, 8, 1), index, np.uint8) for index in indices]),
                                     np.ones(len(indices), bool))
    edges, total = np.linspace(0, 6, parts + 1).astype(int), 0.0
    for first, last in zip(edges[:-1], edges[1:]):
        x0, u, z, v = batches.draw(3, first, last)
        network.set_dropout_draw(batches.dropout_draw(3, first, last, slices if module.separate_masks else 1))
        dsm, reg = module(x0, VESDE().train_time(u), z, v)
        part = (dsm + loss["balancing_fac"] * reg).sum() / 6
        part.backward()
        total += float(part.detach())
    return total, [parameter.grad for parameter in network.parameters() if parameter.requires_grad]


def check_same(first, second, rtol=1e-4):
    assert first[0] == pytest.approx(second[0], rel=1e-5)
    largest = max(float(gradient.abs().max()) for gradient in first[1])
    for mine, theirs in zip(first[1], second[1]):
        torch.testing.assert_close(mine, theirs, rtol=rtol, atol=1e-5 * largest)


LOSSES = {
    "u": ({"balancing_fac": 0.0}, False), "qc": ({"balancing_fac": 0.01}, False), "c": ({"balancing_fac": 0.0}, True),
    "qc, masks of their own": ({"balancing_fac": 0.01, "slice_masks": "separate"}, False),
}


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("name", LOSSES)
def test_parts_of_a_batch_and_saved_memory_change_no_gradient(name, dropout):
    changes, energy = LOSSES[name]
    loss = {"reg_weight": "sigma2", "slice_masks": "shared", **changes}
    network = small_network(dropout=dropout)
    whole = gradients(network, loss, 1, 2, energy=energy)
    check_same(gradients(network, loss, 3, 2, energy=energy), whole)
    check_same(gradients(network, loss, 1, 2, checkpointing=True, energy=energy), whole)
    check_same(gradients(network, loss, 2, 2, checkpointing=True, energy=energy), whole)
    if dropout:
        assert whole[0] != pytest.approx(gradients(small_network(), loss, 1, 2, energy=energy)[0], rel=1e-5)


def test_dropout_masks_belong_to_the_row_the_slice_and_the_layer():
    x = torch.ones(6, 5, 4, 4)
    whole = DropoutDraw(9, 6, 0, 6).mask(1, x, 0.5)
    assert torch.equal(DropoutDraw(9, 6, 2, 5).mask(1, x[2:5], 0.5), whole[2:5])
    assert not torch.equal(DropoutDraw(9, 6, 0, 6).mask(2, x, 0.5), whole)
    assert not torch.equal(DropoutDraw(8, 6, 0, 6).mask(1, x, 0.5), whole)
    two = DropoutDraw(9, 6, 0, 6, slices=2).mask(1, torch.ones(12, 5, 4, 4), 0.5)
    assert not torch.equal(two[:6], two[6:])
    assert set(whole.unique().tolist()) == {0.0, 2.0}
    assert 0.4 < float((whole > 0).float().mean()) < 0.6


# ---- the loss


def test_the_regulariser_estimates_the_asymmetry_of_the_jacobian():
    """Averaged over vectors it is sigma^2 times half the squared norm of J - J'."""
    from tools.qc_ncsn.asymmetry import exact_asymmetry

    network = small_network(image_size=4, attn_resolutions=(2,)).eval().requires_grad_(False)
    x0, _, _ = draws(network, 1)
    sde, t, z = VESDE(), torch.tensor([0.4]), torch.zeros_like(x0)
    v = torch.randint(0, 2, (3000, *x0.shape[1:]), generator=unit_generator(0, "v")).float() * 2 - 1
    score = make_score(network, False)
    exact, _ = exact_asymmetry(score, x0, sde.sigma(t))
    for name, power in (("sigma2", 2), ("sigma4", 4)):
        _, reg = training_loss(score, sde, x0, t, z, v, 1.0, name)
        assert float(reg) == pytest.approx(float(exact * sde.sigma(t) ** power), rel=0.15)


def test_the_loss_of_an_exact_score_is_the_closed_form():
    """E dsm = 0.5 sum_i l_i / (l_i + sigma^2) for Gaussian data."""
    from tests.common.score.makers import Gaussian

    gaussian, sde = Gaussian(size=3), VESDE()
    x0, t = gaussian.sample(20000), torch.full((20000,), 0.45)
    z = torch.randn(x0.shape, generator=unit_generator(0, "z"))
    dsm, reg = training_loss(gaussian.score, sde, x0, t, z)
    variance = float(sde.sigma(t[0])) ** 2
    expected = float(0.5 * (gaussian.values / (gaussian.values + variance)).sum())
    assert float(dsm.mean()) == pytest.approx(expected, rel=0.03)
    assert not reg.any()
    likelihood, _ = training_loss(gaussian.score, sde, x0, t, z, likelihood_weighting=True)
    factor = sde.diffusion(t[0]) ** 2 / sde.sigma(t[0]) ** 2
    torch.testing.assert_close(likelihood, dsm * factor, rtol=1e-3, atol=1e-4)
