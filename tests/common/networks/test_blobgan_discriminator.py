"""BlobGAN's discriminator and encoder: sizes, any batch, twice differentiable, finite where a norm is 0."""

import pytest
import torch

from common.networks.blobgan.discriminator import Discriminator, LayoutEncoder, ResidualBlock, body_channels
from common.nn.unfilled import unfilled

SMALL = {16: 6, 8: 8, 4: 10}


def small(**sizes):
    torch.manual_seed(0)
    network = Discriminator(16, channels=SMALL, **sizes)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.2)
    return network


def r1(network, x, **how):
    x = x.clone().requires_grad_()
    gradient, = torch.autograd.grad(network(x, **how).sum(), x, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


def images(count, height=16, width=16):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(count)) * 2 - 1


@pytest.mark.parametrize(("aspect", "parameters", "encoder"),
                         [(2, 33_058_433, 33_578_624), (1, 28_864_129, 29_384_320)])
def test_published_numbers_of_parameters(aspect, parameters, encoder):
    with unfilled():
        assert sum(each.numel() for each in Discriminator(256, aspect).parameters()) == parameters
        assert sum(each.numel() for each in LayoutEncoder(256, aspect).parameters()) == encoder


def test_channels_by_height():
    assert body_channels(512) == {512: 64, 256: 128, 128: 256, 64: 512, 32: 512, 16: 512, 8: 512, 4: 512}
    assert body_channels(32, 1) == {32: 256, 16: 256, 8: 256, 4: 256}
    shapes = {name: tuple(tensor.shape) for name, tensor in small().state_dict().items()}
    assert shapes["convs.0.0.weight"] == (6, 3, 1, 1)
    assert shapes["convs.2.skip.1.weight"] == (10, 8, 1, 1)
    assert shapes["final_conv.0.weight"] == (10, 11, 3, 3)
    assert shapes["final_linear.0.weight"] == (10, 160)


@pytest.mark.parametrize(("size", "channels"), [(16, {16: 4, 8: 4}), (12, {12: 4, 6: 4}), (4, {4: 4})])
def test_other_heights_are_refused(size, channels):
    with pytest.raises(ValueError, match="needs channels at"):
        Discriminator(size, channels=channels)


@pytest.mark.parametrize("aspect", [1, 2])
def test_T10_batches_of_any_size(aspect):
    network = small(aspect_ratio=aspect)
    for count in (1, 2, 3, 5, 6, 10):
        assert network(images(count, 16, 16 * aspect)).shape == (count,)


def test_rows_of_one_set_do_not_depend_on_the_others():
    network, x = small().double(), images(12).double()
    parts = torch.cat([network(part) for part in x.split(4)])
    torch.testing.assert_close(network(x, stddev_rows=4), parts, rtol=1e-12, atol=1e-12)
    assert (network(x) - parts).abs().max() > 1e-4


def test_a_block_is_the_sum_of_its_two_ways():
    """Against the plain formulation: smoothed at full size, strided 1 x 1 convolution, gains apart."""
    from common.nn.equalised import leaky_activation

    torch.manual_seed(0)
    block, x = ResidualBlock(3, 5), torch.randn(2, 3, 8, 8)
    torch.nn.init.normal_(block.conv1[1].bias)
    torch.nn.init.normal_(block.conv2[2].bias)
    main = leaky_activation(block.conv1[0](x), block.conv1[1].bias)
    main = leaky_activation(block.conv2[1](block.conv2[0](main)), block.conv2[2].bias)
    smoothed = torch.nn.functional.conv2d(x, block.skip[0].kernel.expand(3, 1, 4, 4), padding=1, groups=3)
    skip = torch.nn.functional.conv2d(smoothed, block.skip[1].weight * block.skip[1].scale, stride=2)
    torch.testing.assert_close(block(x), (main + skip) / 2**0.5, rtol=1e-5, atol=1e-5)


def test_second_derivatives_are_those_of_finite_differences():
    network, x = small().double(), images(3).double()
    parameters = [network.convs[0][0].weight, network.convs[1].skip[1].weight, network.final_conv[1].bias,
                  network.final_linear[1].weight]
    gradients, step = torch.autograd.grad(r1(network, x), parameters), 1e-6
    for parameter, gradient in zip(parameters, gradients):
        place = (0,) * parameter.dim()
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter[place] += sign * step
            values.append(float(r1(network, x).detach()))
            with torch.no_grad():
                parameter[place] -= sign * step
        assert float(gradient[place]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("x", [images(1), images(1).expand(4, -1, -1, -1), torch.full((4, 3, 16, 16), 0.5),
                               torch.zeros(1, 3, 16, 16)], ids=["one", "copies", "grey", "black"])
def test_T2_T3_one_image_equal_images_and_constant_ones_give_finite_derivatives(x):
    network = small()
    penalty = r1(network, x)
    torch.nn.functional.softplus(-network(x)).mean().add(penalty).backward()
    assert bool(penalty.isfinite())
    assert all(bool(parameter.grad.isfinite().all()) for parameter in network.parameters())


def test_T9_r1_does_not_change_with_copies_of_the_batch():
    network, x = small().double(), images(1).double()
    grads = []
    for batch in (x, x.expand(4, -1, -1, -1)):
        penalty = r1(network, batch)
        grads.append((penalty.detach(), torch.autograd.grad(penalty, network.final_linear[1].weight)[0]))
    for one, four in zip(*grads):
        torch.testing.assert_close(one, four, rtol=1e-9, atol=1e-12)


def test_the_encoder_has_no_row_that_depends_on_another():
    torch.manual_seed(0)
    encoder, x = LayoutEncoder(16, 2, outputs=7, channels=SMALL).double(), images(4, 16, 32).double()
    latents = encoder(x)
    assert latents.shape == (4, 7)
    torch.testing.assert_close(latents[2:3], encoder(x[2:3]), rtol=1e-12, atol=1e-12)
