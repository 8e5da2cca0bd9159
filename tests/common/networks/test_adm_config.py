"""Layer names, and configurations from files."""

import pytest

from common.errors import InputError
from common.networks.adm import EDMPrecond
from common.networks.adm_config import PUBLISHED, AdmConfig, check_layers, deduce_config, named_parts
from common.nn.unfilled import unfilled
from tests.common.networks.adm_makers import SMALL


def shapes_of(config):
    with unfilled():
        return {name: tuple(entry.shape) for name, entry in EDMPrecond(config).state_dict().items()}


def test_the_published_network_has_its_entries_and_layers():
    config = AdmConfig(**PUBLISHED)
    with unfilled():
        network = EDMPrecond(config)
    assert len(network.state_dict()) == 553
    assert sum(parameter.numel() for parameter in network.parameters()) == 295_899_267
    parts = named_parts(config)
    assert len(parts) == 16 + 21 + 2
    assert parts["encoder_bottleneck"] == parts["encoder_block_15"]
    assert parts["midblock"] == parts["decoder_block_0"]
    assert (parts["encoder_bottleneck"].module, parts["encoder_bottleneck"].shape) == ("enc.8x8_block2", (768, 8, 8))
    assert (parts["midblock"].module, parts["midblock"].shape) == ("dec.8x8_in0", (768, 8, 8))
    assert parts["encoder_block_8"].shape == (384, 16, 16)
    assert parts["decoder_block_16"].shape == (384, 64, 64)
    assert list(check_layers(config, ["midblock", "encoder_block_0"])) == ["encoder_block_0", "midblock"]


@pytest.mark.parametrize("changes", [
    {}, {"label_dim": 0}, {"channel_mult": (1, 1, 2, 4), "img_resolution": 32, "model_channels": 16},
    {"channel_mult": (2,), "img_channels": 1, "num_blocks": 3}, {"augment_dim": 9, "channel_mult_emb": 1},
    {"model_channels": 64, "attn_resolutions": (8,)}, {"model_channels": 64, "attn_resolutions": ()},
])
def test_the_configuration_is_deduced_from_names_and_shapes(changes):
    config = AdmConfig(**{**SMALL, **changes})
    shapes = shapes_of(config)
    deduced = deduce_config(shapes, "file")
    assert shapes_of(deduced) == shapes
    plain = ("img_resolution", "img_channels", "label_dim", "augment_dim", "model_channels", "channel_mult",
             "num_blocks", "channel_mult_emb")
    assert all(getattr(deduced, name) == getattr(config, name) for name in plain)


def test_configurations_go_through_json_and_back():
    config = AdmConfig(**SMALL)
    assert AdmConfig.from_kwargs(config.to_kwargs(), "file") == config
    assert config.to_kwargs()["sigma_max"] == "inf"


@pytest.mark.parametrize(("changes", "message"), [
    ({"model_type": "SongUNet"}, "the network is a SongUNet; only DhariwalUNet"),
    ({"channels": 3}, "unknown network argument 'channels'"),
    ({"img_resolution": 6, "channel_mult": (1, 2, 2)}, "6 pixels cannot be halved 2 times"),
    ({"img_resolution": "8"}, "expected an integer, not '8'"),
    ({"channel_mult": [1.5]}, "expected an integer, not 1.5"),
    ({"channel_mult": []}, "a size is out of range"),
    ({"model_channels": 200}, "200 channels are not divisible"),
    ({"model_channels": 1 << 40}, "out of range"),
    ({"sigma_data": 0}, "expected 0 <= sigma_min < sigma_max"),
    ({"sigma_data": float("nan")}, "expected 0 <= sigma_min < sigma_max"),
    ({"dropout": 1.0}, "dropout"),
    ({"num_blocks": None}, "invalid network configuration"),
])
def test_configurations_that_make_no_network_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        AdmConfig.from_kwargs({**SMALL, **changes}, "file")


def test_weights_of_other_networks_are_named():
    with pytest.raises(InputError, match="not the weights of an ADM network .first entry: 'conv.weight'"):
        deduce_config({"conv.weight": (3, 3)}, "file")
    song = {"model.map_layer0.weight": (512, 128), "model.enc.32x32_conv.weight": (128, 3, 3, 3),
            "model.dec.32x32_aux_conv.weight": (3,)}
    with pytest.raises(InputError, match="SongUNet"):
        deduce_config(song, "file")
