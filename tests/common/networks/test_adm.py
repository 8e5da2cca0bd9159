"""The ADM network: layers against plain formulas, capture, early stop, replacement, training."""

import math

import pytest
import torch
import torch.nn.functional as F

from common.errors import InputError
from common.networks.adm import Conv2d, EDMPrecond, positional_embedding
from common.networks.adm_config import AdmConfig, named_parts
from common.nn.dropout import DropoutDraw
from tests.common.networks.adm_makers import SMALL, draws, small_network
from tools.train_edm.loss import edm_loss


@pytest.mark.parametrize("changes", [{}, {"label_dim": 0}, {"model_channels": 64, "attn_resolutions": (8, 4)},
                                     {"channel_mult": (1, 2, 3), "num_blocks": 2}, {"channel_mult": (1,)}])
@torch.no_grad()
def test_images_and_layers_do_not_depend_on_the_batch_size(changes):
    network = small_network(**changes)
    x, sigma, labels = draws(network)
    names = list(named_parts(network.config))
    whole, layers = network.run(x, sigma, labels, layers=names)
    for row in range(len(x)):
        label = None if labels is None else labels[row : row + 1]
        alone, own = network.run(x[row : row + 1], sigma[row : row + 1], label, layers=names)
        torch.testing.assert_close(alone[0], whole[row], rtol=1e-4, atol=1e-5)
        for name in names:
            torch.testing.assert_close(own[name][0], layers[name][row], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_captured_layers_are_what_hooks_on_their_modules_see():
    network = small_network()
    seen, modules = {}, dict(network.model.named_modules())
    for name, part in named_parts(network.config).items():
        modules[part.module].register_forward_hook(lambda module, given, output, name=name: seen.update({name: output}))
    _, layers = network.run(*draws(network),
                            layers=["midblock", "encoder_block_1", "encoder_bottleneck", "decoder_block_4"])
    assert list(layers) == ["encoder_block_1", "encoder_bottleneck", "midblock", "decoder_block_4"]  # as they run
    for name, output in layers.items():
        assert torch.equal(output, seen[name])
        assert output.shape[1:] == named_parts(network.config)[name].shape


@torch.no_grad()
def test_the_pass_stops_after_the_last_wanted_layer_with_the_same_values():
    network, ran = small_network(), []
    for name, block in [*network.model.enc.items(), *network.model.dec.items(), ("out", network.model.out_conv)]:
        block.register_forward_hook(lambda module, given, output, name=name: ran.append(name))
    given = draws(network)
    image, layers = network.run(*given, layers=["encoder_bottleneck", "midblock"])
    assert ran == [*network.model.enc, *network.model.dec, "out"]
    ran.clear()
    nothing, early = network.run(*given, layers=["encoder_bottleneck", "midblock"], image=False)
    assert ran == [*network.model.enc, "4x4_in0"]
    assert nothing is None
    assert image is not None
    assert all(torch.equal(early[name], layers[name]) for name in layers)
    assert network.run(*given, image=False) == (None, {})


@torch.no_grad()
def test_a_replaced_layer_is_replaced_in_its_skip_connection_too():
    network = small_network()
    x, sigma, labels = draws(network)
    mask = torch.randn(1, 64, 4, 4, generator=torch.Generator().manual_seed(3))
    image, layers = network.run(x, sigma, labels, layers=["encoder_block_3", "midblock"],
                                replace={"encoder_bottleneck": mask})
    assert torch.equal(layers["encoder_block_3"], mask.expand(len(x), -1, -1, -1))
    network.model.enc["4x4_block0"].register_forward_hook(lambda module, given, output: mask.expand_as(output))
    hooked, seen = network.run(x, sigma, labels, layers=["midblock"])
    assert torch.equal(image, hooked)
    assert torch.equal(layers["midblock"], seen["midblock"])
    each = torch.randn(len(x), 64, 4, 4)
    own = network.run(x, sigma, labels, replace={"midblock": each})[0]
    one = network.run(x[1:2], sigma[1:2], labels[1:2], replace={"midblock": each[1:2]})[0]
    torch.testing.assert_close(own[1:2], one, rtol=1e-4, atol=1e-5)


def test_unknown_layers_and_replacements_of_another_shape_are_refused():
    network = small_network()
    given = draws(network)
    with pytest.raises(InputError,
                       match="unknown layer 'bottleneck'.*encoder_block_0 .. encoder_block_3.*decoder_block_0 .. "
                             "decoder_block_6"):
        network.run(*given, layers=["midblock", "bottleneck"])
    with pytest.raises(InputError, match="unknown layer 'encoder_block_4'"):
        network.run(*given, layers=["encoder_block_4"])
    with pytest.raises(InputError, match=r"'midblock' has shape \(1, 64, 8, 8\), expected \(1 or 3, 64, 4, 4\)"):
        network.run(*given, replace={"midblock": torch.zeros(1, 64, 8, 8)})


@torch.no_grad()
def test_attention_is_the_plain_softmax_of_the_published_channel_order():
    block = small_network(model_channels=64, channel_mult=(1, 2)).model.dec["4x4_in0"]
    assert block.heads == 2
    x = torch.randn(2, 128, 4, 4, generator=torch.Generator().manual_seed(0))
    q, k, v = block.qkv(block.norm2(x)).reshape(2 * 2, 64, 3, 16).unbind(2)  # as in EDM: q, k, v fastest
    weights = torch.einsum("ncq,nck->nqk", q, k / math.sqrt(64)).softmax(dim=2)
    expected = block.proj(torch.einsum("nqk,nck->ncq", weights, v).reshape(x.shape))
    torch.testing.assert_close(block.attend(x), expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_resampling_is_the_filter_of_four_quarters():
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    kernel = torch.full((3, 1, 2, 2), 0.25)
    torch.testing.assert_close(Conv2d(3, 3, 0, "down")(x), F.conv2d(x, kernel, groups=3, stride=2))
    torch.testing.assert_close(Conv2d(3, 3, 0, "up")(x), F.conv_transpose2d(x, 4 * kernel, groups=3, stride=2))


def test_the_embedding_begins_with_cosines():
    labels = torch.tensor([0.0, 1.5])
    frequencies = torch.tensor([10000 ** (-k / 4) for k in range(4)])
    expected = torch.cat([torch.cos(labels[:, None] * frequencies), torch.sin(labels[:, None] * frequencies)], dim=1)
    torch.testing.assert_close(positional_embedding(labels, 8), expected)


@torch.no_grad()
def test_the_preconditioning_is_the_papers():
    network = small_network()
    x, _, labels = draws(network)
    network.model.out_conv.weight.zero_()
    network.model.out_conv.bias.fill_(2.0)
    expected = 0.25 / (9 + 0.25) * x + 3 * 0.5 / math.sqrt(9.25) * 2
    torch.testing.assert_close(network(x, 3.0, labels), expected)
    torch.testing.assert_close(network(x, torch.tensor([3.0])), expected)
    torch.testing.assert_close(network(x.double(), torch.full((3,), 3.0).double(), None), expected)


@torch.no_grad()
def test_no_labels_are_zero_labels_and_noise_level_zero_gives_nan():
    network = small_network()
    x, sigma, labels = draws(network)
    assert torch.equal(network(x, sigma), network(x, sigma, torch.zeros(1, 4)))
    assert not torch.allclose(network(x, sigma), network(x, sigma, labels))
    assert network(x, 0.0, labels).isnan().all()


@torch.no_grad()
def test_augmentation_labels_are_optional():
    network = small_network(augment_dim=9)
    x, sigma, labels = draws(network)
    assert next(iter(network.state_dict())) == "model.map_augment.weight"
    torch.testing.assert_close(network(x, sigma, labels), network(x, sigma, labels, augment_labels=torch.zeros(3, 9)))
    assert not torch.allclose(network(x, sigma, labels), network(x, sigma, labels, augment_labels=torch.ones(3, 9)))


def test_initial_values_are_edms():
    network = EDMPrecond(AdmConfig(**{**SMALL, "augment_dim": 9}))
    state = network.state_dict()
    for name in ("enc.8x8_block0.conv1", "dec.4x4_in0.proj", "out_conv"):
        assert not state[f"model.{name}.weight"].any()
        assert not state[f"model.{name}.bias"].any()
    assert not state["model.map_augment.weight"].any()
    for name, fan_in in (("model.map_layer1", 64), ("model.enc.8x8_block0.conv0", 32 * 9),
                         ("model.dec.4x4_in0.qkv", 64)):
        for entry in ("weight", "bias"):
            largest = state[f"{name}.{entry}"].abs().max()
            assert 0.8 / math.sqrt(fan_in) < largest <= 1 / math.sqrt(fan_in)
    assert state["model.map_label.weight"].std() == pytest.approx(1, abs=0.2)
    x, sigma, labels = draws(network)
    c_skip = network.scalings(sigma, x)[0]
    torch.testing.assert_close(network.eval()(x, sigma, labels), c_skip * x)  # F is zero at first


def test_gradients_of_the_loss_agree_with_finite_differences():
    network = small_network(dtype=torch.float64, model_channels=64, channel_mult=(1, 1), attn_resolutions=(8, 4))
    images, sigma, labels = draws(network, batch=2, dtype=torch.float64)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)

    def loss():
        return edm_loss(lambda x, level: network(x, level, labels), images, sigma, noise).mean()

    value = loss()
    value.backward()
    names = ["model.map_layer0.weight", "model.map_label.weight", "model.enc.8x8_conv.bias",
             "model.enc.4x4_down.conv0.weight",
             "model.enc.8x8_block0.qkv.weight", "model.dec.8x8_up.affine.weight", "model.dec.8x8_block0.skip.weight",
             "model.out_norm.bias"]
    parameters = dict(network.named_parameters())
    for number, name in enumerate(names):
        direction = torch.randn(parameters[name].shape, generator=torch.Generator().manual_seed(number),
                                dtype=torch.float64)
        with torch.no_grad():
            sides = []
            for step in (1e-5, -1e-5):
                parameters[name].add_(direction, alpha=step)
                sides.append(loss())
                parameters[name].sub_(direction, alpha=step)
        slope = (sides[0] - sides[1]) / 2e-5
        torch.testing.assert_close((parameters[name].grad * direction).sum(), slope, rtol=1e-6, atol=1e-8)
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_label_dropout_zeroes_whole_rows_in_training_alone():
    network = small_network(label_dropout=0.5)
    x, sigma, labels = draws(network, batch=2)
    x, sigma, labels = x[:1].expand(64, -1, -1, -1), sigma[:1].expand(64), labels[:1].expand(64, -1)
    with torch.no_grad():
        given, free = network(x[:1], sigma[:1], labels[:1]), network(x[:1], sigma[:1])
        torch.testing.assert_close(network(x, sigma, labels), given.expand_as(x), rtol=1e-4, atol=1e-5)
        network.train().set_dropout_draw(DropoutDraw(0, 64, 0, 64))
        images = network(x, sigma, labels)
        near = [(images - one).flatten(1).abs().amax(1) < 1e-4 for one in (given, free)]
        assert bool((near[0] ^ near[1]).all())
        assert 16 < int(near[0].sum()) < 48


def test_dropout_masks_do_not_depend_on_how_the_batch_is_split():
    network = small_network(dropout=0.3, label_dropout=0.3).train()
    x, sigma, labels = draws(network, batch=4)
    with torch.no_grad():
        network.set_dropout_draw(DropoutDraw(7, 4, 0, 4))
        whole = network(x, sigma, labels)
        network.set_dropout_draw(DropoutDraw(7, 4, 2, 4))
        torch.testing.assert_close(network(x[2:], sigma[2:], labels[2:]), whole[2:], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(whole, network.eval()(x, sigma, labels))


@torch.no_grad()
def test_lower_precision_stays_near_and_keeps_the_embedding_in_float32():
    network, low = small_network(), small_network().lower_precision(torch.bfloat16)
    given = draws(network)
    image, layers = low.run(*given, layers=["midblock"])
    assert image.dtype == torch.float32
    assert layers["midblock"].dtype == torch.bfloat16
    types = {name: parameter.dtype for name, parameter in low.named_parameters()}
    assert types["model.map_layer0.weight"] == types["model.enc.8x8_block0.affine.weight"] == torch.float32
    assert types["model.enc.8x8_conv.weight"] == types["model.out_norm.bias"] == torch.bfloat16
    expected = network(*given)
    assert (image - expected).abs().max() < 0.03 * expected.abs().max()


def test_weights_of_a_network_without_heads_have_no_attention():
    names = list(small_network(model_channels=16, attn_resolutions=(8, 4), channel_mult=(1, 2)).state_dict())
    assert not any(".qkv." in name for name in names)  # 32 channels at the bottom: no head there either
