"""The generator against the plain formulation, in any aspect ratio; its noise."""

import pytest
import torch

from common.networks.blobgan.layout import Blobs
from tests.bench.plain_blobgan import plain_generator
from tests.common.networks.blobgan.makers import random_blobs, seeded, small


def double(config):
    return seeded(config.generator).double()


@pytest.mark.parametrize(("aspect", "size_in"), [(2, 8), (1, 4), (1.5, 4), (0.5, 8), (3, 4), (1.25, 16)])
def test_equals_the_plain_formulation(aspect, size_in):
    network = double(small(aspect_ratio=aspect, size_in=size_in))
    blobs, noise = random_blobs(2, dtype=torch.float64), network.fixed_noise()
    wanted = [*blobs, *network.parameters()]
    got, expected = network(blobs, noise), plain_generator(network, blobs, noise)
    assert got.shape == (2, 3, 16, 16 * aspect)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    weight = torch.randn(got.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gradients = [torch.autograd.grad((part * weight).sum(), wanted) for part in (got, expected)]
    for one, other in zip(*gradients):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-7)


def test_second_derivatives():
    """Of a scalar of the picture's gradient, as path length needs it; against the plain formulation."""
    network = double(small(c_model=1))
    blobs, noise = random_blobs(1, dtype=torch.float64), network.fixed_noise()
    wanted, found = [*blobs[:2], blobs.covs, *blobs[4:], network.convs[0].conv.weight], []
    for picture in (network(blobs, noise), plain_generator(network, blobs, noise)):
        first = torch.autograd.grad(picture.square().sum(), [blobs.xs, blobs.spatial_style], create_graph=True)
        found.append(torch.autograd.grad(sum(part.square().sum() for part in first), wanted))
    for one, other in zip(*found):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-5)


def test_one_style_for_the_whole_picture():
    """Without spatial style the style comes from the noise, through the generator's own mapping."""
    config = small(spatial_style=False, dim=10, n_mlp=2)
    network = seeded(config.generator)
    assert [name for name in network.state_dict() if name.startswith("style.")] \
        == ["style.1.weight", "style.1.bias", "style.2.weight", "style.2.bias"]
    assert next(iter(network.state_dict())) == "style.1.weight"
    blobs = random_blobs(2, styles=10)
    constant = blobs._replace(spatial_style=blobs.spatial_style[:, :1].expand(-1, 4, -1))
    torch.testing.assert_close(network(constant), network(blobs))


def test_the_fixed_noise_leaves_the_global_generator_alone():
    network = seeded(small().generator)
    before = torch.get_rng_state()
    first = network.fixed_noise()
    assert torch.get_rng_state().equal(before)
    assert [tuple(part.shape) for part in first] == network.noise_shapes() == [(1, 1, 8, 16), (1, 1, 16, 32),
                                                                                (1, 1, 16, 32)]
    draws = torch.Generator().manual_seed(0)
    assert first[1].equal([torch.randn(shape, generator=draws) for shape in network.noise_shapes()][1])
    assert network(random_blobs()).equal(network(random_blobs(), first))


def test_fresh_noise_is_a_picture_s_own():
    network = seeded(small().generator)
    both = network.fresh_noise([torch.Generator().manual_seed(seed) for seed in (3, 4)])
    alone = network.fresh_noise(torch.Generator().manual_seed(4))
    assert [part.shape[0] for part in both] == [2, 2, 2]
    assert all(one[1:].equal(other) for one, other in zip(both, alone))
    assert not network(random_blobs(), both).equal(network(random_blobs()))


def test_pictures_do_not_depend_on_their_batch():
    network = seeded(small().generator)
    blobs = random_blobs(3)
    alone = torch.cat([network(Blobs(*(part[index : index + 1] for part in blobs))) for index in range(3)])
    torch.testing.assert_close(network(blobs), alone, rtol=1e-4, atol=1e-5)


def test_autocast_changes_the_convolutions_alone():
    network = seeded(small().generator)
    blobs = random_blobs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        picture = network(blobs)
    exact = network(blobs)
    assert picture.dtype == torch.float32
    assert 0 < float((picture - exact).detach().norm() / exact.detach().norm()) < 0.05
    gradients = torch.autograd.grad(picture.square().sum(), [*blobs, *network.parameters()], allow_unused=True)
    assert all(part is None or bool(part.isfinite().all()) for part in gradients)
