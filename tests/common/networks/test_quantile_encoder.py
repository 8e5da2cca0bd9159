"""Quantile encoders: shapes, columns, containers, strict loading; pSp's encoders and checkpoints; pinball."""

import argparse

import numpy as np
import pytest
import torch

from common.errors import InputError
from common.formats.checkpoints import load_torch, save_safetensors, save_torch
from common.networks.ir_se import published_groups
from common.networks.psp_encoder import (
    GradualStyleEncoder,
    LastLayerIntoW,
    LastLayerIntoWPlus,
    build_psp_encoder,
    load_psp,
)
from common.networks.quantile_encoder import (
    PRESETS,
    QuantileEncoderConfig,
    build_encoder,
    preset_config,
)
from common.networks.quantile_encoder_weights import (
    build_quantile_encoder,
    load_backbone,
    load_quantile_encoder,
    save_quantile_encoder,
)
from common.nn.unfilled import unfilled
from common.style_space import StyleStatistics
from common.training.pinball import pinball, quantile_losses
from tests.common.networks.stylegan2_makers import small_generator
from tests.common.networks.test_stylegan2 import NoFloat64
from tests.common.torchvision_guard import import_torchvision

NEAR = {"rtol": 1e-4, "atol": 1e-4}


def initial(config, seed=0):
    """Return an encoder in evaluation mode whose running statistics are apart from their initial values."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_encoder(config)
        for buffer in network.buffers():
            if buffer.is_floating_point():
                buffer.add_(0.1 * torch.rand(buffer.shape))
    return network.eval().requires_grad_(False)


def images(count=2, side=16):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(scope="module")
def small():
    return initial(preset_config("small", 20))


@pytest.fixture(scope="module")
def statistics():
    draws = np.random.default_rng(0).standard_normal((3, 20)).astype(np.float32)
    return StyleStatistics(draws[0], draws[1], draws[2], None, 1600)


def same_values(network, other):
    torch.testing.assert_close(other(images()), network(images()), **NEAR)


def test_the_output_has_three_heads_and_columns_equal_the_whole(small):
    whole = small(images(3))
    assert whole.shape == (3, 3, 20)
    dims = [17, 0, 4]
    torch.testing.assert_close(small(images(3), dims), whole[:, :, dims], **NEAR)
    features = small.trunk(images(3))
    for index, name in enumerate(("projection_lq", "projection", "projection_uq")):
        head = getattr(small, name)[0]
        expected = torch.nn.functional.leaky_relu(torch.einsum("dc,bchw->bdhw", head.weight[:, :, 0, 0], features)
                                                  + head.bias[:, None, None], 0.2).flatten(2).mean(-1)
        torch.testing.assert_close(whole[:, index], expected, **NEAR)
    torch.testing.assert_close(small(images(3))[1:2], small(images(3)[1:2]), **NEAR)


def test_sizes_of_the_presets():
    """As published, and as the demo was measured with."""
    def count(config):
        with unfilled():
            network = build_encoder(config)
        return sum(parameter.numel() for parameter in network.parameters()), len(network.state_dict())

    assert count(preset_config("small", 256))[0] == 197_856
    assert count(preset_config("ir_se50", 9088)) == (54_638_400, 401)
    assert count(QuantileEncoderConfig(320, ((16, 1), (32, 1), (64, 1), (64, 1)), 16))[0] == 215_056


def test_the_resnet_is_torchvisions():
    import_torchvision()
    from torchvision.models import resnet18

    network = initial(preset_config("resnet18", 9))
    theirs = resnet18(weights=None)
    theirs.fc = torch.nn.Identity()
    theirs.load_state_dict(network.body.state_dict())
    x = images(2, 64)
    torch.testing.assert_close(network.trunk(x)[:, :, 0, 0], theirs.eval()(x), **NEAR)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_found_again_from_its_file(preset, statistics, tmp_path):
    network = initial(preset_config(preset, 20))
    save_quantile_encoder(tmp_path / "e.pt", network, statistics, torch.zeros(6, 6), {"alpha": 0.1})
    loaded = load_quantile_encoder(tmp_path / "e.pt")
    assert loaded.network.config == network.config
    same_values(network, loaded.network)
    if preset != "small":  # of a published depth: names and shapes are enough
        assert build_quantile_encoder(dict(network.state_dict()), "state").config == network.config


def test_gradients_reach_every_weight_that_is_to_be_trained():
    """The pooling block is there for the original's strict loading alone; DDP would wait for its gradients."""
    network = build_encoder(preset_config("ir50", 4))
    network(images()).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None) == (not name.startswith("pooling_block."))


def test_the_container_is_the_published_one(small, statistics, tmp_path):
    save_quantile_encoder(tmp_path / "e.pt", small, statistics, torch.zeros(6, 6), {"alpha": 0.1})
    value = load_torch(tmp_path / "e.pt")
    assert list(value) == ["state_dict", "opts", "latent_avg", "style_space_latent_avg", "style_space_latent_min",
                           "style_space_latent_max", "_STYLE_SPACE_MIN", "_STYLE_SPACE_MAX"]
    assert (value["_STYLE_SPACE_MIN"], value["_STYLE_SPACE_MAX"]) == (-10, 10)
    assert list(value["state_dict"]) == list(small.state_dict())
    loaded = load_quantile_encoder(tmp_path / "e.pt")
    assert (loaded.opts["alpha"], loaded.opts["input_nc"]) == (0.1, 3)
    for name in ("mean", "min", "max"):
        assert np.array_equal(getattr(loaded.statistics, name), getattr(statistics, name))


@pytest.mark.parametrize("prefix", ["", "module.", "encoder.", "module.encoder."])
def test_prefixes_and_containers(prefix, tmp_path):
    network = initial(QuantileEncoderConfig(12, published_groups(50), squeeze=False))
    state = {f"{prefix}{name}": value for name, value in network.state_dict().items()}
    opts = argparse.Namespace(alpha=0.1, input_nc=3)
    torch.save({"state_dict": state, "opts": opts}, tmp_path / "e.pt")
    file = load_quantile_encoder(tmp_path / "e.pt")
    assert file.network.config == network.config
    assert file.opts == {"alpha": 0.1, "input_nc": 3}
    assert file.statistics is None
    same_values(network, file.network)
    if prefix == "":
        save_safetensors(tmp_path / "e.safetensors", state, {})
        same_values(network, load_quantile_encoder(tmp_path / "e.safetensors").network)


def test_weights_that_are_there_under_two_names_are_refused(tmp_path):
    state = initial(QuantileEncoderConfig(12, published_groups(50), squeeze=False)).state_dict()
    name = next(iter(state))
    torch.save({**{f"module.{key}": value for key, value in state.items()}, name: state[name] + 1}, tmp_path / "two.pt")
    with pytest.raises(InputError, match=f"two.pt: '{name}' is in it under two names"):
        load_quantile_encoder(tmp_path / "two.pt")


def test_nothing_loaded_silently(small, statistics, tmp_path):
    """One renamed key, an input of four channels, a mode that is not the weights': named, and status 2."""
    save_quantile_encoder(tmp_path / "good.pt", small, statistics)
    value = load_torch(tmp_path / "good.pt")
    state = value["state_dict"]

    def refused(changed, said):
        save_torch(tmp_path / "bad.pt", {**value, "state_dict": changed})
        with pytest.raises(InputError, match=said) as caught:
            load_quantile_encoder(tmp_path / "bad.pt")
        assert "\n" not in str(caught.value)

    without = {name: tensor for name, tensor in state.items() if name != "projection_lq.0.bias"}
    refused({**without, "projection_low.0.bias": state["projection_lq.0.bias"]}, r"'projection_lq.0.bias' is missing")
    refused({**state, "latlayer1.weight": torch.zeros(1)}, "'latlayer1.weight' is not part of this network")
    refused({**state, "input_layer.0.weight": torch.zeros(16, 4, 3, 3)}, r"\(16, 4, 3, 3\), expected \(16, 3, 3, 3\)")
    half = {name: tensor for name, tensor in state.items() if name != "body.1.res_layer.5.fc1.weight"}
    refused(half, "'body.1.res_layer.5.fc1.weight' is missing")
    refused({**state, "body.0.res_layer.0.weight": state["body.0.res_layer.0.weight"] / 0}, "NaN or infinite")
    save_torch(tmp_path / "bad.pt", {**value, "style_space_latent_avg": torch.zeros(19)})
    with pytest.raises(InputError, match=r"'style_space_latent_avg' has shape \(19,\)"):
        load_quantile_encoder(tmp_path / "bad.pt")
    published = initial(QuantileEncoderConfig(5)).state_dict()
    cut = {name: tensor for name, tensor in published.items() if not name.startswith("body.23.")}
    refused_bare = tmp_path / "cut.pt"
    save_torch(refused_bare, {"state_dict": cut})
    with pytest.raises(InputError, match="'body.23"):
        load_quantile_encoder(refused_bare)


@pytest.mark.parametrize(("prefix", "wrapper"), [("", None), ("encoder.", "state_dict")])
def test_a_training_starts_from_another_networks_backbone(prefix, wrapper, small, tmp_path):
    """IR-SE50's flat file, or pSp's encoder; what is not the backbone is left alone, what does not fit is named."""
    other = initial(preset_config("small", 20), seed=5)
    state = {name: value for name, value in other.state_dict().items() if not name.startswith("projection")}
    state = {f"{prefix}{name}": value for name, value in {**state, "output_layer.3.weight": torch.ones(2)}.items()}
    save_torch(tmp_path / "b.pth", {wrapper: state} if wrapper else state)
    network = initial(preset_config("small", 20), seed=1)
    heads = network.projection[0].weight.clone()
    load_backbone(network, tmp_path / "b.pth")
    torch.testing.assert_close(network.trunk(images()), other.trunk(images()), **NEAR)
    assert torch.equal(network.projection[0].weight, heads)
    for preset, name in (("ir50", "body.3.shortcut_layer.0.weight"), ("resnet18", "body.conv1.weight")):
        with pytest.raises(InputError, match=f"'{name}' is missing"):
            load_backbone(initial(preset_config(preset, 20)), tmp_path / "b.pth")


@pytest.mark.parametrize("described", [3, {"stem": 16}, {"groups": "ab", "stem": 16},
                                       {"groups": [[32, 10**9]], "stem": 1},
                                       {"groups": [[32, 1]], "stem": float("inf")},
                                       {"groups": [[0, 1]], "stem": 16}])
def test_damaged_options_and_statistics_are_named(described, small, statistics, tmp_path):
    save_quantile_encoder(tmp_path / "e.pt", small, statistics)
    value = load_torch(tmp_path / "e.pt")
    save_torch(tmp_path / "bad.pt", {**value, "opts": {"encoder_config": described}})
    said = "'body" if described == 3 else "'encoder_config' in its options is damaged"
    with pytest.raises(InputError, match=said):
        load_quantile_encoder(tmp_path / "bad.pt")
    for wrong in ({"a": 1}, [0.0], torch.full((20,), float("nan"))):
        save_torch(tmp_path / "bad.pt", {**value, "style_space_latent_min": wrong})
        with pytest.raises(InputError, match="'style_space_latent_min' has shape"):
            load_quantile_encoder(tmp_path / "bad.pt")


def test_other_networks_are_refused(tmp_path):
    save_torch(tmp_path / "g.pt", {"g_ema": dict(small_generator().state_dict())})
    save_torch(tmp_path / "l.pt", [1])
    for name, said in (("g.pt", "'projection.0.weight' is missing"), ("l.pt", "is of type list"), ("n.pt", "no such")):
        with pytest.raises(InputError, match=said):
            load_quantile_encoder(tmp_path / name)


@pytest.mark.parametrize(("kind", "squeeze"), [(GradualStyleEncoder, True), (LastLayerIntoW, False),
                                               (LastLayerIntoWPlus, True)])
def test_psp_encoders_are_known_by_their_weights(kind, squeeze):
    with unfilled():
        shapes = kind(50, squeeze, 4).state_dict()
    draws = torch.Generator().manual_seed(0)
    state = {f"encoder.{name}": torch.randn(value.shape, generator=draws) / value[0].numel() ** 0.5 if value.dim() > 1
             else torch.ones(value.shape, dtype=value.dtype) for name, value in shapes.items()}
    network = build_psp_encoder(state, "state", None if kind is not LastLayerIntoW else 4)
    assert type(network) is kind
    codes = network(images(1, 64 if kind is not GradualStyleEncoder else 256))
    assert codes.shape == (1, 4, 512)
    assert bool(codes.isfinite().all())
    if kind is LastLayerIntoW:
        assert torch.equal(codes[:, 0], codes[:, 3])


def test_a_psp_checkpoint_gives_encoder_generator_and_centre(tmp_path):
    generator = small_generator((4, 4), 512, 1)
    with unfilled():
        shapes = LastLayerIntoW(50, False, 4).state_dict()
    state = {f"encoder.{name}": torch.full(value.shape, 0.01, dtype=value.dtype) for name, value in shapes.items()}
    state |= {f"decoder.{name}": value for name, value in generator.state_dict().items()}
    average = torch.randn(4, 512)
    for start in (True, False):
        save_torch(tmp_path / "psp.pt", {"state_dict": state, "latent_avg": average,
                                         "opts": {"start_from_latent_avg": start}})
        file = load_psp(tmp_path / "psp.pt")
        assert file.generator.config == generator.config
        x = images(1, 32)
        torch.testing.assert_close(file.codes(x), file.encoder(x) + (average if start else 0))
    save_torch(tmp_path / "psp.pt", {"state_dict": state, "opts": {"start_from_latent_avg": True}})
    with pytest.raises(InputError, match="'latent_avg' is missing"):
        load_psp(tmp_path / "psp.pt")


def test_the_minimiser_of_the_pinball_loss_is_the_quantile():
    truth = torch.arange(100.0)
    values = torch.linspace(0, 99, 991)
    for quantile in (0.05, 0.5, 0.95):
        losses = torch.stack([pinball(truth, value, quantile).mean() for value in values])
        assert float(values[losses.argmin()]) == pytest.approx(quantile * 100, abs=1.0)
    equal = torch.zeros(1, requires_grad=True)
    loss = pinball(torch.zeros(1), equal, 0.3)
    assert (loss.item(), torch.autograd.grad(loss, equal)[0].item()) == (0, 0)


def test_rows_without_truth_are_left_out_of_the_quantile_losses():
    draws = torch.Generator().manual_seed(0)
    predictions, truth = torch.randn(4, 3, 5, generator=draws), torch.randn(4, 5, generator=draws)
    expected = quantile_losses(predictions[[0, 2]], truth[[0, 2]], 0.1)
    truth[1], truth[3, 2] = float("nan"), float("nan")
    predictions.requires_grad_()
    losses = quantile_losses(predictions, truth, 0.1)
    torch.testing.assert_close(losses, expected)
    gradient = torch.autograd.grad(sum(losses), predictions)[0]
    assert bool(gradient.isfinite().all())
    assert float(gradient[[1, 3]].abs().sum()) == 0
    nothing = quantile_losses(predictions, torch.full((4, 5), float("nan")), 0.1)
    assert [loss.item() for loss in nothing] == [0, 0]


def test_mps_has_no_float64_in_encoding_and_a_training_step():
    network = initial(preset_config("small", 8)).train().requires_grad_(True)
    optimiser = torch.optim.SGD(network.parameters(), 0.01)
    with NoFloat64():
        loss = sum(quantile_losses(network(images()), torch.zeros(2, 8), 0.1))
        loss.backward()
        optimiser.step()
