"""EDM's loss against its formula."""

import pytest
import torch

from common.networks.adm import EDMPrecond
from common.networks.adm_config import AdmConfig
from tools.train_edm.loss import edm_loss, loss_draws, loss_weight


def test_the_loss_is_the_weighted_squared_error_of_each_image():
    generator = torch.Generator().manual_seed(0)
    images, noise = torch.randn((2, 3, 3, 4, 4), generator=generator)
    sigma = torch.tensor([0.1, 1.0, 10.0])
    loss = edm_loss(lambda x, level: 0.5 * x, images, sigma, noise)
    for row in range(3):
        level = sigma[row].item()
        error = 0.5 * (images[row] + level * noise[row]) - images[row]
        assert loss[row].item() == pytest.approx((level**2 + 0.25) / (0.5 * level) ** 2 * error.square().mean().item(),
                                                 rel=1e-5)


def test_an_untrained_network_loses_one_at_every_level():
    """With F = 0 the error is c_skip (x + sigma n) - x, whose weighted mean square is 1 for data of spread
    sigma_data."""
    generator = torch.Generator().manual_seed(0)
    images, noise = 0.5 * torch.randn((200, 1, 8, 8), generator=generator), torch.randn((200, 1, 8, 8),
                                                                                        generator=generator)
    for level in (0.05, 0.5, 5.0):
        sigma = torch.full((200,), level)
        loss = edm_loss(lambda x, level: x * (0.25 / (level**2 + 0.25))[:, None, None, None], images, sigma, noise)
        assert loss.mean().item() == pytest.approx(1, rel=0.05)
    assert loss_weight(torch.tensor(0.5)).item() == pytest.approx(8)


def test_draws_of_a_row_depend_on_seed_step_and_row_alone():
    sigma, noise = loss_draws(3, 10, range(6), (2, 4, 4))
    part_sigma, part_noise = loss_draws(3, 10, [4, 2], (2, 4, 4))
    assert torch.equal(part_sigma, sigma[[4, 2]])
    assert torch.equal(part_noise, noise[[4, 2]])
    assert not torch.equal(loss_draws(3, 11, range(6), (2, 4, 4))[0], sigma)
    logs = torch.cat([loss_draws(0, step, range(50), (1, 1, 1))[0] for step in range(20)]).log()
    assert logs.mean().item() == pytest.approx(-1.2, abs=0.12)
    assert logs.std().item() == pytest.approx(1.2, abs=0.1)


@pytest.mark.long
def test_training_lowers_the_loss_and_tells_the_classes_apart():
    """Two classes of one image each: after a few steps one network call from noise tells which class was asked for."""
    config = AdmConfig(8, 1, 2, model_channels=16, channel_mult=(1, 2), channel_mult_emb=2, num_blocks=1,
                       attn_resolutions=(), dropout=0.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = EDMPrecond(config)
    pictures = torch.stack([torch.full((1, 8, 8), -0.5), torch.full((1, 8, 8), 0.5)])
    optimiser, losses = torch.optim.Adam(network.parameters(), 3e-3, betas=(0.9, 0.99)), []
    rows = torch.arange(16) % 2
    for step in range(60):
        sigma, noise = loss_draws(0, step, range(16), (1, 8, 8))
        loss = edm_loss(lambda x, level: network(x, level, torch.eye(2)[rows]), pictures[rows], sigma, noise).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    with torch.no_grad():
        made = network.eval()(20 * torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), 20.0,
                              torch.eye(2))
    assert made[0].mean() < -0.25
    assert made[1].mean() > 0.25
