"""StyleGAN2 from every container: sizes from shapes, strict, and nothing that a file asks for is run."""

import argparse
import os
import pickle

import pytest
import torch

from common.errors import InputError
from common.formats.checkpoints import save_safetensors, save_torch
from common.formats.tensors import Tensors
from common.networks.stylegan2 import StyleGAN2Config
from common.networks.stylegan2_weights import load_stylegan2
from tests.common.networks.stylegan2_makers import checkpoint, codes, small_generator

NEAR = {"rtol": 1e-5, "atol": 1e-5}  # other memory, not the same computation


@pytest.fixture(scope="module")
def network():
    return small_generator()


def same_pictures(network, other):
    vectors = codes(network, 1)
    torch.testing.assert_close(other.synthesise(vectors), network.synthesise(vectors), **NEAR)


def test_every_container_gives_the_same_generator(network, tmp_path):
    average, state = torch.randn(6), dict(network.state_dict())
    rows = average.expand(6, 6).clone()
    save_torch(tmp_path / "published.pt", {"g_ema": state, "latent_avg": average})
    save_torch(tmp_path / "state.pt", state)
    save_torch(tmp_path / "parallel.pt", {"g_ema": {f"module.{name}": value for name, value in state.items()}})
    other = dict(small_generator(seed=9).state_dict())
    save_torch(tmp_path / "training.pt", {"g": other, "d": {"convs.0.weight": average}, "g_ema": state,
                                          "ada_aug_p": 0.1})
    psp = {"encoder.input_layer.0.weight": average, **{f"decoder.{name}": value for name, value in state.items()}}
    save_torch(tmp_path / "psp.pt", {"state_dict": psp, "latent_avg": rows, "opts": {"output_size": 16}})
    save_safetensors(tmp_path / "weights.safetensors", {**state, "latent_avg": average}, {})
    centres = {"published": average[None], "psp": rows, "weights": average[None]}
    for path in sorted(tmp_path.iterdir()):
        file = load_stylegan2(path)
        assert file.network.config == network.config
        assert file.filled == ()
        same_pictures(network, file.network)
        expected = centres.get(path.stem)
        assert (file.latent_avg is None) == (expected is None)
        if expected is not None:
            torch.testing.assert_close(file.latent_avg, expected)
    assert load_stylegan2(tmp_path / "psp.pt").entry == "state_dict.decoder"


@pytest.mark.parametrize(("channels", "dim", "depth"), [((8, 8), 4, 1), ((6, 6, 6, 6, 4), 5, 8), ((3,), 2, 2)])
def test_channels_from_shapes(channels, dim, depth, tmp_path):
    """Size, channel multiplier, width and depth need no flag."""
    network = small_generator(channels, dim, depth)
    loaded = load_stylegan2(checkpoint(tmp_path / "g.pt", network)).network
    assert loaded.config == StyleGAN2Config(channels, dim, depth)
    assert loaded.size == 4 * 2 ** (len(channels) - 1)
    same_pictures(network, loaded)


@pytest.mark.parametrize("name", ["style.99999999.weight", "convs.99999999.conv.weight", "convs.7.noise.weight"])
def test_numbers_of_layers_are_bounded(name, network, tmp_path):
    save_torch(tmp_path / "g.pt", {**network.state_dict(), name: torch.zeros(1)})
    with pytest.raises(InputError, match="far too many layers|is missing"):
        load_stylegan2(tmp_path / "g.pt")


def test_only_the_generator_of_a_large_file_is_read(network, tmp_path, monkeypatch):
    """Discriminator, optimisers and encoder may be many times as large."""
    state, large = dict(network.state_dict()), torch.zeros(1000)
    save_torch(tmp_path / "training.pt", {"g": state, "d": {"x": large}, "g_ema": state, "g_optim": {0: large}})
    save_torch(tmp_path / "psp.pt", {"state_dict": {"encoder.x": large, **{f"decoder.{name}": tensor for name, tensor
                                                                          in state.items()}}})
    read = []
    monkeypatch.setattr("common.formats.tensors.Tensors.storage", _watched(Tensors.storage, read))
    for path in tmp_path.iterdir():
        same_pictures(network, load_stylegan2(path).network)
    assert read
    assert large.numel() not in {len(flat) for flat in read}


def _watched(storage, read):
    def watch(self, described):
        read.append(storage(self, described))
        return read[-1]

    return watch


def test_half_floats_become_float32(network, tmp_path):
    state = {name: value.half() for name, value in network.state_dict().items()}
    save_torch(tmp_path / "half.pt", {"g_ema": state})
    loaded = load_stylegan2(tmp_path / "half.pt").network
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


def test_only_noise_and_filters_may_be_missing(network, tmp_path):
    state = {name: value for name, value in network.state_dict().items()
             if not name.startswith("noises.") and not name.endswith(".kernel")}
    save_torch(tmp_path / "bare.pt", state)
    first, second = load_stylegan2(tmp_path / "bare.pt"), load_stylegan2(tmp_path / "bare.pt")
    assert len(first.filled) == 5 + 4
    vectors = codes(network, 1)
    assert torch.equal(first.network.synthesise(vectors), second.network.synthesise(vectors))
    torch.testing.assert_close(first.network.synthesise(vectors, "none"), network.synthesise(vectors, "none"), **NEAR)


@pytest.mark.parametrize("name", ["style.2.weight", "style.1.bias", "conv1.conv.weight", "convs.3.conv.weight",
                                  "convs.1.activate.bias", "to_rgbs.1.conv.modulation.bias", "convs.0.noise.weight"])
def test_nothing_loaded_silently(name, network, tmp_path):
    """One renamed, missing or added entry is named, and so is one of another shape."""
    state = dict(network.state_dict())
    value = state.pop(name)
    save_torch(tmp_path / "missing.pt", state)
    save_torch(tmp_path / "renamed.pt", {**state, name.replace(".", ".x_", 1): value})
    save_torch(tmp_path / "added.pt", {**state, name: value, f"{name}_2": value})
    save_torch(tmp_path / "nan.pt", {**state, name: value * float("nan")})
    for kind, said in (("missing", f"'{name}' is missing"), ("renamed", f"'{name}' is missing"),
                       ("added", f"'{name}_2' is not part"), ("nan", f"'{name}' holds NaN")):
        with pytest.raises(InputError, match=said.replace(".", r"\.")) as caught:
            load_stylegan2(tmp_path / f"{kind}.pt")
        assert "\n" not in str(caught.value)


def test_a_layer_of_another_shape_is_named(network, tmp_path):
    state = dict(network.state_dict())
    state["to_rgb1.conv.weight"] = torch.zeros(1, 4, 8, 1, 1)
    save_torch(tmp_path / "g.pt", state)
    with pytest.raises(InputError, match=r"'to_rgb1.conv.weight' has shape \(1, 4, 8, 1, 1\), expected \(1, 3,"):
        load_stylegan2(tmp_path / "g.pt")
    save_torch(tmp_path / "centre.pt", {"g_ema": dict(network.state_dict()), "latent_avg": torch.zeros(5)})
    with pytest.raises(InputError, match=r"'latent_avg' has shape \(5,\), expected \(6,\)"):
        load_stylegan2(tmp_path / "centre.pt")


class Runs:
    """Asks for os.system when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch ran",)


def test_namespace_checkpoint(network, tmp_path, monkeypatch):
    """Arguments of a training beside tensors are read; anything that would run is refused by name."""
    monkeypatch.chdir(tmp_path)
    args = argparse.Namespace(size=16, lr=0.002, path="data", r1=None)
    torch.save({"g_ema": dict(network.state_dict()), "args": args}, "args.pt")
    same_pictures(network, load_stylegan2("args.pt").network)
    for name, value in (("direct.pt", Runs()), ("inside.pt", argparse.Namespace(path=Runs()))):
        torch.save({"g_ema": dict(network.state_dict()), "args": value}, name)
        with pytest.raises(InputError, match=r"'posix\.system'; nothing of it was run"):
            load_stylegan2(name)
    assert not (tmp_path / "ran").exists()


def test_a_network_pickle_is_refused_with_its_reason(tmp_path):
    (tmp_path / "ada.pkl").write_bytes(pickle.dumps({"G_ema": [1.0]}))
    with pytest.raises(InputError, match="NVIDIA's StyleGAN2-ADA .* which is never run"):
        load_stylegan2(tmp_path / "ada.pkl")


def test_other_files_are_refused(tmp_path, network):
    save_torch(tmp_path / "other.pt", {"model": {"weight": torch.zeros(3)}})
    save_torch(tmp_path / "list.pt", [1, 2])
    (tmp_path / "empty.pt").write_bytes(b"")
    data = checkpoint(tmp_path / "g.pt", network).read_bytes()
    (tmp_path / "short.pt").write_bytes(data[: len(data) // 2])
    for name, said in (("other.pt", r"no StyleGAN2 generator in it \(it has model\)"), ("list.pt", "is of type list"),
                       ("empty.pt", "empty.pt"), ("short.pt", "short.pt"), ("none.pt", "no such file")):
        with pytest.raises(InputError, match=said):
            load_stylegan2(tmp_path / name)
