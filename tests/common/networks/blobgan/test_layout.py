"""Layouts: the layout network's raw vector, latents at any layer, truncation, helpers."""

import pytest
import torch

from common.networks.blobgan.layout import Blobs, cat, detach, select, to
from tests.common.networks.blobgan.makers import random_blobs, seeded, small


@pytest.fixture(scope="module")
def network():
    return seeded(small().layout_net)


def noise(rows=3):
    return torch.randn(rows, 10, generator=torch.Generator().manual_seed(0))


def test_shapes_and_ranges(network):
    blobs = network(noise())
    assert [tuple(part.shape) for part in blobs] == [(3, 3), (3, 3), (3, 4), (3, 3, 4), (3, 4, 8), (3, 4, 6)]
    assert bool(((blobs.xs > 0) & (blobs.xs < 1)).all())
    for part in (blobs.features, blobs.spatial_style):
        torch.testing.assert_close(part.square().mean(dim=2), torch.ones(3, 4), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("mlp_idx", [-1, 1, 4, 9, "raw"])
def test_latents_at_any_layer_give_the_same_layout(network, mlp_idx):
    latent = network.latent(noise(), mlp_idx)
    assert latent.shape == (3, network.latent_dim(mlp_idx))
    for one, other in zip(network.decode(latent, mlp_idx), network(noise())):
        torch.testing.assert_close(one, other)


def test_truncation(network):
    latent, mean = network.latent(noise()), torch.zeros(12)
    assert network.truncate(latent, mean, 0) is latent
    assert network.truncate(latent, mean, 1).abs().max() == 0
    torch.testing.assert_close(network.truncate(latent, mean, 0.3), 0.7 * latent)


def test_the_covariances_get_a_gradient_only_if_they_are_not_detached(network):
    assert not network(noise()).covs.requires_grad
    other = seeded(small(detach_covs=False).layout_net)
    assert other(noise()).covs.requires_grad


def test_fewer_blobs_are_the_first_ones(network):
    raw = network.latent(noise(), "raw")
    few, all_of_them = network.blobs(raw, 2), network.blobs(raw)
    for name, part in few._asdict().items():
        whole = getattr(all_of_them, name)
        assert part.equal(whole[:, : part.shape[1]])
    assert few.xs.shape == (3, 2)
    assert few.sizes.shape == (3, 3)


def test_helpers():
    blobs = random_blobs(3)
    assert not any(part.requires_grad for part in detach(blobs))
    assert select(blobs, [2, 0]).xs.equal(blobs.xs[[2, 0]])
    assert all(one.equal(other) for one, other in zip(cat([select(blobs, slice(0, 1)), select(blobs, slice(1, 3))]),
                                                      blobs))
    assert isinstance(to(blobs, "cpu"), Blobs)
