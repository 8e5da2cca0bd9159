"""Configurations: published hyper-parameters, the original's defaults, what cannot be built."""

import pytest
import torch

from common.errors import InputError
from common.networks.blobgan.configuration import BlobGANConfig
from tests.common.networks.blobgan.makers import small


def values(**changes):
    """Return plain hyper-parameters of a small network; changes: {"part.name": value}."""
    found = small().to_hyper_parameters()
    for name, value in changes.items():
        place, key = name.split("__") if "__" in name else (None, name)
        (found[place] if place else found)[key] = value
    return found


@pytest.mark.parametrize("changes", [
    {}, {"aspect_ratio": 1}, {"detach_covs": False}, {"spatial_style": False, "dim": 10},
    {"generator_channels": {8: 5, 16: 7}, "discriminator_channels": {4: 3, 8: 5, 16: 6}}, {"accumulate": False},
    {"n_features_max": 2, "n_features_min": 1}, {"lambdas": {"D_R1": 0.3}}, {"other": {"fid_stats_name": "bdd"}},
    {"override_c_in": None, "c_model": 1},
])
def test_hyper_parameters_and_back(changes):
    config = small(**changes)
    found = BlobGANConfig.from_hyper_parameters(config.to_hyper_parameters())
    assert found.to_hyper_parameters() == {**config.to_hyper_parameters(), "λ": dict(found.lambdas),
                                           "lambda": dict(found.lambdas)}
    assert found.channels() == config.channels()
    assert found.discriminator_widths() == config.discriminator_widths()
    assert found.lambdas.items() >= config.lambdas.items()


def test_what_a_file_leaves_out_has_the_original_s_defaults_not_a_preset_s():
    found = BlobGANConfig.from_hyper_parameters({
        "generator": {"spatial_style": True, "override_c_in": 512}, "layout_net": {"spatial_style": True},
        "discriminator": {}, "λ": {"D_real": 1}})
    assert (found.n_features, found.c_model, found.size_in, found.aspect_ratio) == (5, 64, 16, 1.0)
    assert (found.lr, found.G_reg_every, found.lambdas["D_R1"], found.norm_features) == (0.001, 4, 5, False)
    assert (found.feature_jitter_xy, found.feature_jitter_shift) == (0.0, 0.0)


def test_the_published_sizes_are_the_defaults():
    config = BlobGANConfig().checked()
    assert config.columns == 512
    assert config.channels() == {4: 768, 8: 768, 16: 768, 32: 768, 64: 768, 128: 384, 256: 192, 512: 96, 1024: 48}
    assert config.discriminator_widths() == {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128}
    assert tuple(config.jitter) == (0.04, 0.1, 0.5)


@pytest.mark.parametrize(("changes", "said"), [
    ({"layout_net__shuffle_features": True}, "layout_net.shuffle_features is True"),
    ({"layout_net__feature_dropout": 0.1}, "layout_net.feature_dropout is 0.1"),
    ({"layout_net__p_swap_style": 0.5}, "layout_net.p_swap_style"),
    ({"generator__override_c_in": 9}, "override_c_in 9 differs from layout_net.feature_dim 8"),
    ({"generator__size": 48}, "'resolution' is 48, expected a power of two"),
    ({"generator__aspect_ratio": 1.3}, "no whole number of columns"),
    ({"generator__size": 2**40}, "'resolution' is"),
    ({"generator__c_model": "96"}, "'c_model' is '96', expected int"),
    ({"generator__c_model": True}, "'c_model' is True, expected int"),
    ({"layout_net__mlp_n_layers": 10**9}, "'mlp_n_layers' is"),
    ({"generator__channels": {8: 5}}, "no number of channels for height 16"),
    ({"generator__style_dim": 7}, "differs from layout_net.style_dim"),
    ({"generator__c_out": 1}, "generator.c_out is 1"),
    ({"discriminator__discriminate_stddev": False}, "discriminate_stddev is False"),
    ({"generator__size_in": 32}, "size_in 32 is larger"),
    ({"generator": None}, "no 'generator'"),
    ({"λ": 3, "lambda": 3}, "'lambdas' is 3"),
    ({"generator__aspect_ratio": float("nan")}, "'aspect_ratio' is nan"),
    ({"generator__channels": {8: 5, 16: 5, "x": 5}}, "'generator_channels' has a height of 'x'"),
    ({"generator__c_out": torch.tensor([1, 2])}, "'c_out' is of type Tensor, expected a plain value"),
    ({"n_features_max": -1}, "'n_features_max' is -1"),
])
def test_what_cannot_be_built_is_named(changes, said):
    with pytest.raises(InputError) as caught:
        BlobGANConfig.from_hyper_parameters(values(**changes), "a.ckpt")
    assert said in str(caught.value)
    assert str(caught.value).startswith("a.ckpt: ")


def test_legacy_names_do_nothing():
    changed = values(layout_net__feature_jitter_xy=0.5, layout_net__shift_bias=1.0, layout_net__mlp_trunk_n_layers=4)
    assert BlobGANConfig.from_hyper_parameters(changed) == BlobGANConfig.from_hyper_parameters(values())


@pytest.mark.parametrize(("stored", "aspect", "expected"), [
    (None, 2, "squash"), (None, 1, "cover"), ({"fit": "cover"}, 2, "cover"), ({"fit": "stretch"}, 2, "squash"),
    ("cover", 2, "squash")])
def test_T38_pictures_are_prepared_as_those_of_the_training(stored, aspect, expected):
    other = {} if stored is None else {"transform": stored}
    config = BlobGANConfig(resolution=16, aspect_ratio=aspect, other=other)
    assert config.transform.rule == expected
    assert config.transform.size == (16, 16 * aspect)
