"""Losses whose transposed Jacobian is written out have the gradients of plain differentiation."""

import copy

import pytest
import torch

from common.diffusion.scores import Score, make_score
from common.diffusion.sde import VESDE
from tests.common.score.makers import draws, plain_score, small_network, trained
from tools.qc_ncsn.losses import training_loss


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
    largest = max(float(parameter.grad.abs().max()) for parameter in trained(plain))
    for mine, theirs in zip(trained(network), trained(plain)):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-8, atol=1e-12 * largest)
