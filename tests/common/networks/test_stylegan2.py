"""StyleGAN2: one picture from W+, from StyleSpace, from any layer on, in any batch; statistics without rendering."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from common.generators.latent import draw_codes
from common.generators.stylegan2 import truncation_centre
from common.networks.stylegan2 import Features, mix, truncate
from common.networks.stylegan2_weights import StyleGAN2File
from common.style_space import mean_latent, style_statistics
from tests.bench.plain_stylegan2 import plain_synthesis
from tests.common.networks.stylegan2_makers import codes, small_generator

NEAR = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(scope="module")
def network():
    return small_generator()


def test_widths_follow_the_layers(network):
    assert network.size == 16
    assert network.num_latents == 6
    assert network.widths == [8, 8, 8, 8, 8, 8, 6, 6]  # each the input channels of its layer
    assert network.noise_sides == [4, 8, 8, 16, 16]
    assert [len(list(buffer.flatten())) for buffer in network.noises.buffers()] == [16, 64, 64, 256, 256]


def test_synthesis_from_style_vectors_equals_synthesis_from_wplus(network):
    """The picture depends on W+ through the style vectors alone: the published formulation reads them from W+."""
    wplus = torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(2))
    vectors = network.style_vectors(wplus)
    rows = [0, 1, 1, 2, 3, 3, 4, 5]
    for index, ((layer, row), part) in enumerate(zip(network.layers(), vectors.split(network.widths, dim=1))):
        assert row == rows[index]
        modulation = layer.conv.modulation
        expected = wplus[:, row] @ (modulation.weight / 6**0.5).t() + modulation.bias
        torch.testing.assert_close(part, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(network.synthesise(vectors), network.synthesise(network.style_vectors(wplus)))
    torch.testing.assert_close(network.synthesise(vectors), plain_synthesis(network, vectors), **NEAR)


def test_a_row_of_a_batch_equals_the_picture_by_itself(network):
    vectors, noise = codes(network, 4), network.draw_noise(range(4), seed=3)
    whole = network.synthesise(vectors, noise)
    for index in range(4):
        alone = network.synthesise(vectors[index : index + 1], [part[index : index + 1] for part in noise])
        torch.testing.assert_close(whole[index : index + 1], alone, **NEAR)


@pytest.mark.parametrize("vector", range(9))
def test_synthesis_from_any_layer_on(network, vector):
    """Cached features serve codes that are equal before their layer; they are not changed by it."""
    vectors = codes(network, 1)
    before = network.features(vectors, vector)
    assert before.vector == vector
    kept = before.x.clone()
    changed = vectors.repeat(3, 1)
    start = sum(network.widths[:vector])
    changed[1:, start:] += 0.5
    images = network.synthesise(changed, features=before)
    if vector < len(network.widths):
        torch.testing.assert_close(images, network.synthesise(changed), **NEAR)
        assert not torch.allclose(images[0], images[1], atol=1e-3)
    assert torch.equal(before.x, kept)


def test_features_and_noise_that_do_not_fit_are_refused(network):
    vectors = codes(network, 2)
    with pytest.raises(ValueError, match="features of 3 codes for 2"):
        network.synthesise(vectors, features=Features(0, torch.zeros(3, 8, 4, 4)))
    with pytest.raises(ValueError, match="expected \\(B, 60\\)"):
        network.synthesise(vectors[:, 1:])
    with pytest.raises(ValueError, match="4 noise maps, expected 5"):
        network.synthesise(vectors, network.draw_noise(range(2), 0)[:4])
    with pytest.raises(ValueError, match="noise is 'random'"):
        network.synthesise(vectors, "random")


def test_noise_depends_on_the_image_alone_and_changes_the_picture(network):
    vectors = codes(network, 1).repeat(3, 1)
    noise, single = network.draw_noise([4, 7, 9], seed=0), network.draw_noise([7], seed=0)
    assert all(torch.equal(part[1:2], own) for part, own in zip(noise, single))
    images = [network.synthesise(vectors[:1], kind) for kind in ("stored", "none", single)]
    assert float((images[0] - images[1]).abs().max()) > 0.01
    assert float((images[1] - images[2]).abs().max()) > 0.01


def test_truncation_and_mixing(network):
    w = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    centre = torch.ones(1, 6)
    torch.testing.assert_close(truncate(w, centre, 0.7), 1 + 0.7 * (w - 1))
    assert truncate(w, None, 1) is w
    rows = torch.arange(6.0)[:, None] * torch.ones(6, 6)  # a centre for every row of W+
    torch.testing.assert_close(truncate(network.wplus(w), rows, 0), rows.expand(2, 6, 6))
    mixed = mix(network.wplus(w[:1]), network.wplus(w[1:]), 2)
    assert torch.equal(mixed[0, :2], w[:1].expand(2, 6))
    assert torch.equal(mixed[0, 2:], w[1:].expand(4, 6))


def test_truncation_mean_of_ema(network):
    """A checkpoint without latent_avg: the mean of 4,096 mapped codes of the same weights, and said so."""
    centre, origin = truncation_centre(StyleGAN2File(network, None, "g_ema", ()))
    with torch.no_grad():
        expected = network.mapping(draw_codes(range(4096), 0, (6,))).mean(0, keepdim=True)
    torch.testing.assert_close(centre, expected, rtol=1e-4, atol=1e-5)
    assert origin == "mean of 4096 codes, seed 0"
    own = torch.zeros(1, 6)
    assert truncation_centre(StyleGAN2File(network, own, "g_ema", ())) == (own, "file")


def test_statistics_are_those_of_the_codes(network):
    z = torch.randn(37, 6, generator=torch.Generator().manual_seed(5))
    rows = network.style_vectors(network.wplus(network.mapping(z))).numpy().astype(np.float64)
    found = style_statistics(network, z, batch_size=10)
    assert found.num_codes == 37
    for name, expected in (("mean", rows.mean(0)), ("min", rows.min(0)), ("max", rows.max(0)), ("std", rows.std(0))):
        assert getattr(found, name).dtype == np.float32
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mean_latent(network, z, batch_size=7), network.mapping(z).mean(0, keepdim=True),
                               rtol=1e-4, atol=1e-5)


def test_gradients_reach_style_vectors_and_weights_in_both_ways_of_computing():
    network = small_generator((4, 4), 4, 1).requires_grad_(True)
    network.double()  # so that nothing but the way of computing differs
    vectors = torch.randn(2, sum(network.widths), dtype=torch.float64, requires_grad=True,
                          generator=torch.Generator().manual_seed(0))
    weights = [network.conv1.conv.weight, network.convs[0].noise.weight, network.to_rgbs[0].bias]
    whole = torch.autograd.grad(network.synthesise(vectors).square().sum(), [vectors, *weights])
    single = [torch.autograd.grad(network.synthesise(vectors[index : index + 1]).square().sum(), [vectors, *weights])
              for index in range(2)]
    for index, gradient in enumerate(whole):
        torch.testing.assert_close(gradient, single[0][index] + single[1][index], rtol=1e-8, atol=1e-8)


class NoFloat64(TorchDispatchMode):
    """Raises on any float64 tensor, as a device without them does."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in (*args, *(kwargs or {}).values(), result):
            if value is torch.float64 or getattr(value, "dtype", None) is torch.float64:
                raise AssertionError(f"{function} sees float64")
        return result


def test_mps_has_no_float64_in_generating(network):
    with NoFloat64(), torch.no_grad():
        z = draw_codes(range(2), 0, (6,))
        vectors = network.style_vectors(network.wplus(truncate(network.mapping(z), mean_latent(network, z), 0.7)))
        network.synthesise(vectors, network.draw_noise(range(2), 0))
        style_statistics(network, z)
