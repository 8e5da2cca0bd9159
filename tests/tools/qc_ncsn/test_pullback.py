"""The written-out transposed Jacobian is autograd's, and so are the gradients of losses that go through it."""

import copy

import pytest
import torch

from tests.tools.qc_ncsn.networks import draws, small_network
from tools.qc_ncsn.losses import training_loss
from tools.qc_ncsn.ncsnpp import DropoutDraw, _Plain
from tools.qc_ncsn.pullback import linearise
from tools.qc_ncsn.scores import NetworkScore, Score, make_score
from tools.qc_ncsn.sde import VESDE

NETWORKS = {
    "plain": {}, "three levels": {"ch_mult": (1, 2, 2), "num_res_blocks": 2},
    "attention everywhere": {"attn_resolutions": (8, 4)}, "one level": {"ch_mult": (2,), "attn_resolutions": ()},
    "colour": {"num_channels": 3, "image_size": 16, "nf": 8}, "centred": {"centered": True}, "dropout": {"dropout": 0.4},
    "wide": {"nf": 12, "ch_mult": (1, 3)},
}  # fmt: skip


def plain_score(network, x, sigma):
    """Return the network's output in float64 (its own forward pass ends in float32)."""
    return network.walk(x, network.embed(sigma), _Plain(network)) / sigma[:, None, None, None]


def autograd_pullback(network, x, sigma, v):
    """Return (score, J^T v) by autograd."""
    point = x.clone().requires_grad_(True)
    s = plain_score(network, point, sigma)
    parts = [torch.autograd.grad(s, point, part, create_graph=True)[0] for part in v.split(len(x))]
    return s, torch.cat(parts)


@pytest.fixture(params=NETWORKS)
def network(request):
    found = small_network(dtype=torch.float64, **NETWORKS[request.param]).train()
    if found.config.dropout:
        found.set_dropout_draw(DropoutDraw(seed=5, batch=2, first=0, last=2))
    return found


@pytest.mark.parametrize("slices", [1, 3])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_pullback_and_its_gradients_are_autograds(network, slices, checkpointing):
    x, sigma, v = draws(network, 2, slices, dtype=torch.float64)
    s, jtv = autograd_pullback(network, x, sigma, v)
    expected = torch.autograd.grad(_made_up_loss(s, jtv), _parameters(network))

    network.activation_checkpointing = checkpointing
    got_s, pullback = linearise(network, x, sigma)
    got_jtv = pullback(v)
    got = torch.autograd.grad(_made_up_loss(got_s, got_jtv), _parameters(network))
    assert got_s.dtype == got_jtv.dtype == torch.float64
    torch.testing.assert_close(got_s, s, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(got_jtv, jtv, rtol=1e-9, atol=1e-9 * float(jtv.detach().abs().max()))
    largest = max(float(gradient.abs().max()) for gradient in expected)  # attention's key bias has none at all
    for mine, theirs in zip(got, expected):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-12 * largest)


def _made_up_loss(s, jtv):
    return s.square().sum() + (jtv**3).sum() + jtv.square().sum()


def _parameters(network):
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def test_without_gradients_it_keeps_no_graph(network):
    x, sigma, v = draws(network, 2, 2, dtype=torch.float64)
    with torch.no_grad():
        s, pullback = linearise(network, x, sigma)
        jtv = pullback(v)
    assert not s.requires_grad
    assert not jtv.requires_grad
    torch.testing.assert_close(jtv, autograd_pullback(network, x, sigma, v)[1].detach(), rtol=1e-9, atol=1e-9)


def test_the_pullback_is_linear_in_its_vector(network):
    x, sigma, v = draws(network, 2, 2, dtype=torch.float64)
    with torch.no_grad():
        _, pullback = linearise(network, x, sigma)
        a, b = v.split(2)
        torch.testing.assert_close(pullback(2 * a - 3 * b), 2 * pullback(a) - 3 * pullback(b), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("conservative", [False, True])
@pytest.mark.parametrize("reg_weight", ["sigma2", "sigma4"])
def test_gradients_of_the_loss_are_those_of_double_backward(conservative, reg_weight):
    network = small_network(dtype=torch.float64).train()
    x0, _, _ = draws(network, 3, dtype=torch.float64)
    _, _, v = draws(network, 3, 2, seed=2, dtype=torch.float64)
    z, t, sde = torch.randn_like(x0), torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64), VESDE()
    weight = 0.0 if conservative else 0.3
    plain = copy.deepcopy(network)

    def by_autograd(x, sigma):
        if not conservative:
            return plain_score(plain, x, sigma)
        with torch.enable_grad():
            point = x if x.requires_grad else x.requires_grad_(True)
            energy = -plain_score(plain, point, sigma).flatten(1).square().sum(1) / (2 * sigma)
            return torch.autograd.grad(energy.sum(), point, create_graph=True)[0]

    losses = []
    network.forward = lambda x, sigma: plain_score(network, x, sigma)  # float64 to the end
    for score in (make_score(network, conservative), Score(by_autograd)):
        dsm, reg = training_loss(score, sde, x0.clone(), t, z, v, weight, reg_weight)
        (dsm + weight * reg).mean().backward()
        losses.append((dsm.detach(), reg.detach()))
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-9, atol=1e-9)
    largest = max(float(parameter.grad.abs().max()) for parameter in _parameters(plain))
    for mine, theirs in zip(_parameters(network), _parameters(plain)):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-8, atol=1e-12 * largest)


@torch.no_grad()
def test_a_conservative_score_has_a_symmetric_jacobian():
    network = small_network(dtype=torch.float64).eval()
    x, sigma, _ = draws(network, 1, dtype=torch.float64)
    _, pullback = make_score(network, conservative=True).linearise(x, sigma)
    rows = [pullback(row.reshape(x.shape)).flatten() for row in torch.eye(x.numel(), dtype=torch.float64)]
    jacobian = torch.stack(rows)
    assert float((jacobian - jacobian.T).abs().max()) < 1e-9 * float(jacobian.abs().max())
    _, pullback = NetworkScore(network).linearise(x, sigma)
    jacobian = torch.stack([pullback(row.reshape(x.shape)).flatten() for row in torch.eye(x.numel(), dtype=torch.float64)])
    assert float((jacobian - jacobian.T).abs().max()) > 0.1 * float(jacobian.abs().max())


def test_one_image_of_a_batch_has_the_jacobian_it_has_alone(network):
    x, sigma, v = draws(network, 2, dtype=torch.float64)
    if network.config.dropout:
        network.eval()
    with torch.no_grad():
        together = linearise(network, x, sigma)[1](v)
        alone = torch.cat([linearise(network, x[i : i + 1], sigma[i : i + 1])[1](v[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-10)
