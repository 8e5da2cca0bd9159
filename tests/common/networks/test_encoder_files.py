"""Files of encoders: published and ours, prefixes, those that do not fit a generator, damaged ones."""

import math
import zipfile
from collections import Counter
from pathlib import PurePosixPath

import pytest
import torch

from common.errors import InputError
from common.networks.blobgan.discriminator import LayoutEncoder
from common.networks.blobgan.encoder_files import EncoderConfig, read_encoder, write_encoder
from common.networks.blobgan.files import read_blobgan
from tests.tools.blobgan_networks import save_blobgan

CHANNELS = {16: 6, 8: 8, 4: 8}


@pytest.fixture
def gan(tmp_path):
    return read_blobgan(save_blobgan(tmp_path / "gan.ckpt"))  # 16 x 32, latents of 12


@pytest.fixture
def network():
    torch.manual_seed(0)
    return LayoutEncoder(16, 2, 12, channels=CHANNELS)


def saved(path, network, **more):
    torch.save({"model": network.state_dict(), "optimizer": {}, "scheduler": {}, "iter": 55_000, **more}, path)
    return path


def test_weights_that_are_there_under_two_names_are_refused(tmp_path, network):
    state = network.state_dict()
    name = next(iter(state))
    torch.save({"model": {**state, f"module.{name}": state[name] + 1}}, tmp_path / "two.pt")
    with pytest.raises(InputError, match=f"two.pt: '{name}' is in it under two names"):
        read_encoder(tmp_path / "two.pt")


@pytest.mark.parametrize("prefix", ["", "inverter.", "module.", "inverter.module."])
@pytest.mark.parametrize("suffix", [".pt", ".ckpt"])
def test_a_published_file_says_by_its_shapes_what_it_is(prefix, suffix, tmp_path, network, gan):
    path, state = tmp_path / f"encoder{suffix}", {prefix + name: value for name, value in network.state_dict().items()}
    if suffix == ".ckpt" and prefix == "inverter.":  # a Lightning file, with other networks in it
        torch.save({"state_dict": {**state, "generator.conv1.noise.weight": torch.zeros(1)}, "global_step": 9}, path)
    else:
        torch.save({"model": state, "optimizer": {}, "scheduler": {}, "iter": 55_000}, path)
    file = read_encoder(path, gan)
    assert file.config == EncoderConfig(16, 2, 12, channels=(6, 8, 8))
    assert file.iter == (9 if "state_dict" in torch.load(path) else 55_000)
    x = torch.rand(2, 3, 16, 32)
    assert torch.equal(file.network(x), network(x))
    assert not any(parameter.requires_grad for parameter in file.network.parameters())


@pytest.mark.parametrize("suffix", [".pt", ".ckpt"])
def test_T22_a_lightning_file_with_configurations_under_either_name(suffix, tmp_path, network, gan):
    state = {f"inverter._orig_mod.{name}": value.double() for name, value in network.state_dict().items()}
    path = tmp_path / "encoder.pt"
    torch.save({"state_dict": state, "global_step": 9,
                "hyper_parameters": {"data": [None, {"root": PurePosixPath("/a")}], "k": Counter("a")}}, path)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / f"new{suffix}", "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith("/data.pkl"):  # one global of Lightning's, as all such files name
                data = data.replace(b"ccollections\nCounter\n", b"comegaconf.dictconfig\nDictConfig\n")
            new.writestr(entry.filename, data)
    file = read_encoder(tmp_path / f"new{suffix}", gan)
    x = torch.rand(1, 3, 16, 32)
    assert file.iter == 9
    torch.testing.assert_close(file.network(x), network(x))


@pytest.mark.parametrize("arch", ["stylegan", "resnet"])
def test_ours_comes_back_as_it_was_written(arch, tmp_path, gan):
    config = EncoderConfig(16, 2, gan.layout_net.latent_dim("raw"), arch, (8, 8, 8), "raw",
                           {"height": 16, "width": 32, "fit": "squash", "filter": "lanczos"})
    network = config.build()
    write_encoder(tmp_path / "best.pt", config, network.state_dict(), {}, {}, 7)
    file = read_encoder(tmp_path / "best.pt", gan)
    assert (file.config, file.iter) == (config, 7)
    x = torch.rand(1, 3, 16, 32)
    assert torch.allclose(file.network(x), network(x))


WRONG = {
    "t38_aspect": ({"aspect_ratio": 1}, {}, "aspect_ratio is 1, the generator's 2"),
    "t38_resolution": ({"size": 32, "channels": {32: 6, **CHANNELS}}, {}, "resolution is 32, the generator's 16"),
    "t38_latent": ({"outputs": 13}, {}, "latent has 13 values, the generator's at mlp_idx -1 12"),
    "t38_transform": ({}, {"height": 16, "width": 32, "fit": "cover", "filter": "lanczos"}, "fit cover"),
}


@pytest.mark.parametrize("name", WRONG)
def test_T38_an_encoder_that_does_not_fit_the_generator_is_refused(name, tmp_path, gan):
    sizes, transform, expected = WRONG[name]
    sizes = {"size": 16, "aspect_ratio": 2, "outputs": 12, "channels": CHANNELS, **sizes}
    network, more = LayoutEncoder(**sizes), {}
    if transform:
        more = damaged({"transform": transform})
    with pytest.raises(InputError, match=expected):
        read_encoder(saved(tmp_path / "encoder.pt", network, **more), gan)
    read_encoder(tmp_path / "encoder.pt")


def damaged(change):
    good = {"resolution": 16, "aspect_ratio": 2, "outputs": 12, "arch": "stylegan", "channels": [6, 8, 8],
            "mlp_idx": -1, "transform": None}
    return {"config": {**good, **change}}


@pytest.mark.parametrize("more", [
    {"config": 3}, {"config": {}}, damaged({"arch": "vit"}), damaged({"resolution": 17}), damaged({"resolution": "16"}),
    damaged({"channels": [6, -8, 8]}), damaged({"channels": None}), damaged({"mlp_idx": None}), damaged({"more": 1}),
    damaged({"aspect_ratio": math.nan}), damaged({"channels": [6, 8]}), damaged({"resolution": 1 << 20}),
    damaged({"transform": {"height": 16}}), damaged({"outputs": True}), damaged({"aspect_ratio": "2"})])
def test_a_damaged_description_is_refused(more, tmp_path, network):
    with pytest.raises(InputError):
        read_encoder(saved(tmp_path / "encoder.pt", network, **more))


@pytest.mark.parametrize("value", [{}, {"model": {}}, [1], {"model": {"final_linear.1.weight": torch.zeros(3)}},
                                   {"model": {"linear.2.weight": torch.zeros(3, 3)}}])
def test_a_foreign_file_is_refused(value, tmp_path):
    torch.save(value, tmp_path / "encoder.pt")
    with pytest.raises(InputError, match=r"encoder_256x512\.pt"):
        read_encoder(tmp_path / "encoder.pt")


def test_weights_with_nan_are_refused(tmp_path, network):
    network.final_linear[1].weight.data[0, 0] = math.nan
    with pytest.raises(InputError, match="NaN"):
        read_encoder(saved(tmp_path / "encoder.pt", network))
