"""The written-out transposed Jacobian is autograd's, and so are the gradients that go through it."""

import pytest
import torch

from common.diffusion.scores import NetworkScore, make_score
from common.networks.ncsnpp_pullback import linearise
from common.nn.dropout import DropoutDraw
from tests.common.score.makers import draws, plain_score, small_network, trained
from tests.released import left_over

NETWORKS = {
    "plain": {}, "three levels": {"ch_mult": (1, 2, 2), "num_res_blocks": 2},
    "attention everywhere": {"attn_resolutions": (8, 4)}, "one level": {"ch_mult": (2,), "attn_resolutions": ()},
    "colour": {"num_channels": 3, "image_size": 16, "nf": 8}, "centred": {"centered": True},
    "dropout": {"dropout": 0.4},
    "wide": {"nf": 12, "ch_mult": (1, 3)},
}


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
    expected = torch.autograd.grad(_made_up_loss(s, jtv), trained(network))

    network.activation_checkpointing = checkpointing
    got_s, pullback = linearise(network, x, sigma)
    got_jtv = pullback(v)
    got = torch.autograd.grad(_made_up_loss(got_s, got_jtv), trained(network))
    assert got_s.dtype == got_jtv.dtype == torch.float64
    torch.testing.assert_close(got_s, s, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(got_jtv, jtv, rtol=1e-9, atol=1e-9 * float(jtv.detach().abs().max()))
    largest = max(float(gradient.abs().max()) for gradient in expected)  # attention's key bias has none at all
    for mine, theirs in zip(got, expected):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-12 * largest)


def _made_up_loss(s, jtv):
    return s.square().sum() + (jtv**3).sum() + jtv.square().sum()


@pytest.mark.long
def test_third_derivatives_are_autograds():
    """A conservative score's transposed Jacobian is the second derivative of its energy; a loss on it takes a third."""
    network = small_network(dtype=torch.float64, attn_resolutions=(8, 4)).train()
    x, sigma, v = draws(network, 2, dtype=torch.float64)
    point = x.clone().requires_grad_(True)
    energy = -(plain_score(network, point, sigma).flatten(1).square().sum(1) / (2 * sigma)).sum()
    s = torch.autograd.grad(energy, point, create_graph=True)[0]
    jtv = torch.autograd.grad(s, point, v, create_graph=True)[0]
    expected = torch.autograd.grad(jtv.square().sum(), trained(network))

    got_s, pullback = make_score(network, conservative=True).linearise(x, sigma)
    got = torch.autograd.grad(pullback(v).square().sum(), trained(network))
    torch.testing.assert_close(got_s, s, rtol=1e-9, atol=1e-9)
    largest = max(float(gradient.abs().max()) for gradient in expected)
    for mine, theirs in zip(got, expected):
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-11 * largest)


def test_without_gradients_it_keeps_no_graph(network):
    x, sigma, v = draws(network, 2, 2, dtype=torch.float64)
    with torch.no_grad():
        s, pullback = linearise(network, x, sigma)
        jtv = pullback(v)
    assert not s.requires_grad
    assert not jtv.requires_grad
    torch.testing.assert_close(jtv, autograd_pullback(network, x, sigma, v)[1].detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("graph", [False, True])
def test_activations_go_with_the_pullback_without_a_garbage_collection(network, graph, checkpointing):
    network.activation_checkpointing = checkpointing
    x, sigma, v = draws(network, 2, 1, dtype=torch.float64)

    def run():
        s, pullback = linearise(network, x, sigma)
        if graph:
            torch.autograd.grad(_made_up_loss(s, pullback(v)), trained(network))
        else:
            pullback(v)

    with torch.set_grad_enabled(graph):
        run()  # what torch imports at its first recomputation keeps frames, and what they hold
        with left_over(torch.Tensor) as tensors:
            run()
    assert not tensors


def test_the_pullback_is_linear_in_its_vector(network):
    x, sigma, v = draws(network, 2, 2, dtype=torch.float64)
    with torch.no_grad():
        _, pullback = linearise(network, x, sigma)
        a, b = v.split(2)
        torch.testing.assert_close(pullback(2 * a - 3 * b), 2 * pullback(a) - 3 * pullback(b), rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_a_conservative_score_has_a_symmetric_jacobian():
    network = small_network(dtype=torch.float64).eval()
    x, sigma, _ = draws(network, 1, dtype=torch.float64)
    _, pullback = make_score(network, conservative=True).linearise(x, sigma)
    rows = [pullback(row.reshape(x.shape)).flatten() for row in torch.eye(x.numel(), dtype=torch.float64)]
    jacobian = torch.stack(rows)
    assert float((jacobian - jacobian.T).abs().max()) < 1e-9 * float(jacobian.abs().max())
    _, pullback = NetworkScore(network).linearise(x, sigma)
    jacobian = torch.stack([pullback(row.reshape(x.shape)).flatten()
                            for row in torch.eye(x.numel(), dtype=torch.float64)])
    assert float((jacobian - jacobian.T).abs().max()) > 0.1 * float(jacobian.abs().max())


def test_one_image_of_a_batch_has_the_jacobian_it_has_alone(network):
    x, sigma, v = draws(network, 2, dtype=torch.float64)
    if network.config.dropout:
        network.eval()
    with torch.no_grad():
        together = linearise(network, x, sigma)[1](v)
        alone = torch.cat([linearise(network, x[i : i + 1], sigma[i : i + 1])[1](v[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-10)
