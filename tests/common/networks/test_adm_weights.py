"""Loading ADM networks from every container in which they circulate."""

import shutil

import pytest
import safetensors.torch
import torch

from common.errors import InputError
from common.networks.adm_weights import build_adm, load_adm, read_adm, save_adm
from tests.common.networks.adm_makers import draws, small_network
from tests.common.networks.edm_pickles import Saved, arguments, dump, saved


def state_of(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


def guidance(real, fake):
    """Return DMD2's guidance file: two networks, a classifier and its noise levels."""
    more = {"cls_pred_branch.0.weight": torch.zeros(1), "cls_pred_branch.0.bias": torch.zeros(1),
            "karras_sigmas": torch.ones(1000)}
    return {**prefixed(real, "real_unet."), **prefixed(fake, "fake_unet."), **more}


def check_same(path, network, **how):
    loaded = load_adm(path, **how)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    given = draws(network)
    with torch.no_grad():
        # of two containers: equal weights, not one computation
        torch.testing.assert_close(loaded(*given), network(*given), rtol=1e-5, atol=1e-5)
    state = network.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items())


CONTAINERS = {
    "flat": lambda state: state,
    "module.": lambda state: prefixed(state, "module."),
    "compiled in DDP": lambda state: prefixed(state, "module._orig_mod."),
    "feedforward_model.": lambda state: prefixed(state, "feedforward_model."),
    "generator.": lambda state: prefixed(state, "generator."),
    "bare U-Net": lambda state: {name.removeprefix("model."): tensor for name, tensor in state.items()},
    "ema": lambda state: {"ema": state, "step": 3},
    "model": lambda state: {"model": state, "optimizer": {"state": {}}},
    "state_dict": lambda state: {"state_dict": prefixed(state, "module.")},
    "generator": lambda state: {"generator": state},
    "nested": lambda state: {"model": {"ema": state}},
}


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("suffix", [".pth", ".bin"])
def test_state_dicts_load_in_every_wrapping(tmp_path, name, suffix):
    network = small_network()
    torch.save(CONTAINERS[name](state_of(network)), tmp_path / f"net{suffix}")
    check_same(tmp_path / f"net{suffix}", network)


def test_weights_that_are_there_under_two_names_are_refused(tmp_path):
    state = state_of(small_network())
    name = next(iter(state))
    torch.save({**state, f"module.{name}": state[name] + 1}, tmp_path / "two.pth")
    with pytest.raises(InputError, match=f"two.pth: '{name}' is in it under two names"):
        load_adm(tmp_path / "two.pth")


def test_files_of_old_torch_and_safetensors_load(tmp_path):
    network = small_network(label_dim=0)
    torch.save(state_of(network), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    check_same(tmp_path / "old.pth", network)
    safetensors.torch.save_file(state_of(network), tmp_path / "net.safetensors")
    check_same(tmp_path / "net.safetensors", network)
    torch.save({"state_dict": state_of(network), "hyper_parameters": {"lr": 0.1}, "loops": {}}, tmp_path / "net.ckpt")
    check_same(tmp_path / "net.ckpt", network)  # of Lightning
    shutil.copy(tmp_path / "net.safetensors", tmp_path / "renamed.pth")  # the content decides, not the name
    check_same(tmp_path / "renamed.pth", network)


def test_averaged_weights_are_preferred_and_raw_ones_can_be_had(tmp_path):
    averaged, raw = small_network(seed=1), small_network(seed=2)
    torch.save({"model": state_of(raw), "ema": state_of(averaged)}, tmp_path / "last.pth")
    check_same(tmp_path / "last.pth", averaged)
    check_same(tmp_path / "last.pth", raw, weights="raw")
    assert (read_adm(tmp_path / "last.pth").entry, read_adm(tmp_path / "last.pth", "raw").entry) == ("ema", "model")
    torch.save({"ema": state_of(averaged)}, tmp_path / "ema.pth")
    with pytest.raises(InputError, match="only averaged weights"):
        load_adm(tmp_path / "ema.pth", weights="raw")


def test_folders_of_accelerate_and_their_guidance_model(tmp_path):
    generator, real, fake = (small_network(seed=seed) for seed in range(3))
    folder = tmp_path / "checkpoint_model_000100"
    folder.mkdir()
    torch.save(state_of(generator), folder / "pytorch_model.bin")
    torch.save(guidance(state_of(real), state_of(fake)), folder / "pytorch_model_1.bin")
    check_same(folder, generator)
    check_same(folder, real, part="real_unet")
    check_same(folder / "pytorch_model_1.bin", fake, part="fake_unet")
    with pytest.raises(InputError, match="guidance file with the networks real_unet and fake_unet"):
        load_adm(folder / "pytorch_model_1.bin")
    with pytest.raises(InputError, match="no 'fake_unet.' entries"):
        load_adm(folder / "pytorch_model.bin", part="fake_unet")
    with pytest.raises(InputError, match="checkpoint_model_000100"):
        load_adm(tmp_path)
    newer = small_network(seed=7)
    safetensors.torch.save_file(state_of(newer), folder / "model.safetensors")
    check_same(folder, newer)


def test_a_pattern_that_fits_one_file_names_it(tmp_path):
    network = small_network()
    torch.save(state_of(network), tmp_path / "imagenet_fid1.28.pth")
    check_same(tmp_path / "imagenet_*.pth", network)
    shutil.copy(tmp_path / "imagenet_fid1.28.pth", tmp_path / "imagenet_fid1.51.pth")
    with pytest.raises(InputError, match="2 files fit"):
        load_adm(tmp_path / "imagenet_*.pth")


def test_augmentation_is_dropped(tmp_path):
    network = small_network(augment_dim=9)
    torch.save(state_of(network), tmp_path / "net.pth")
    assert read_adm(tmp_path / "net.pth").dropped == ("model.map_augment.weight",)
    check_same(tmp_path / "net.pth", network)


def test_low_precision_files_become_float32(tmp_path):
    network = small_network()
    torch.save({name: tensor.half() for name, tensor in state_of(network).items()}, tmp_path / "net.pth")
    loaded = load_adm(tmp_path / "net.pth")
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name].half().float())


def test_saved_networks_load_with_their_configuration(tmp_path):
    network = small_network(sigma_min=0.001, dropout=0.2)
    save_adm(tmp_path / "net.safetensors", network, step="12")
    assert read_adm(tmp_path / "net.safetensors").config == network.config
    check_same(tmp_path / "net.safetensors", network)
    torch.save({"config": network.config.to_kwargs(), "ema": state_of(network)}, tmp_path / "net.pth")
    assert read_adm(tmp_path / "net.pth").config == network.config


def test_pickles_of_edm_load(tmp_path):
    network = small_network(augment_dim=9)
    path = tmp_path / "network-snapshot-000100.pkl"
    path.write_bytes(dump({"ema": saved(network, kwargs=arguments(network)), "loss_fn": None}))
    check_same(path, network)
    path.write_bytes(dump(saved(network, kwargs=arguments(network))))  # a network alone
    check_same(path, network)


def change(name, value):
    def changed(state):
        return {**state, name: value} if value is not None else {key: tensor for key,
                                                                 tensor in state.items() if key != name}

    return changed


BROKEN = {
    "a missing entry": (change("model.out_norm.bias", None),
                        "'model.out_norm.bias' is missing .1 missing, 0 unexpected"),
    "one too many": (change("model.more.weight", torch.zeros(1)), "'model.more.weight' is not part of this network"),
    "another shape": (change("model.enc.8x8_block0.conv1.weight", torch.zeros(3, 3)),
                      r"has shape \(3, 3\), expected \(32, 32, 3, 3\)"),
    "NaN": (change("model.out_conv.bias", torch.full((3,), float("nan"))), "'model.out_conv.bias' holds NaN"),
    "another filter": (change("model.enc.4x4_down.skip.resample_filter", torch.ones(1, 1, 2, 2)), "another filter"),
    "another network": (lambda state: {"fc.weight": torch.zeros(2, 2)}, "no ADM network in it .it has fc.weight"),
    "an image": (lambda state: torch.zeros(3, 8, 8), "is of type Tensor, not a state dict"),
    "half a network": (lambda state: {name: tensor for name, tensor in state.items() if ".dec." not in name},
                       "is missing"),
    "an encoder gone": (lambda state: {name: tensor for name, tensor in state.items() if ".enc." not in name},
                        "not the weights of an ADM"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_files_that_do_not_fit_are_one_input_error(tmp_path, name):
    make, message = BROKEN[name]
    path = tmp_path / "net.pth"
    torch.save(make(state_of(small_network())), path)
    with pytest.raises(InputError, match=message) as caught:
        load_adm(path)
    assert str(path) in str(caught.value)


def test_other_files_are_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_adm(tmp_path / "none.pth")
    with pytest.raises(InputError, match="no model.safetensors or pytorch_model.bin in this folder"):
        load_adm(tmp_path)
    torch.save(state_of(small_network()), tmp_path / "net.pth")
    data = (tmp_path / "net.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="truncated"):
        load_adm(tmp_path / "cut.pth")
    for value, message in (({"G_ema": Saved("Generator", {})}, "no network under 'ema' .it has G_ema"),
                           ({"ema": Saved("VPPrecond", {})}, "it holds a VPPrecond, expected an EDMPrecond"),
                           ({"ema": Saved("EDMPrecond", {})}, "arguments are missing"), ([1], "it holds a list")):
        (tmp_path / "net.pkl").write_bytes(dump(value))
        with pytest.raises(InputError, match=message):
            load_adm(tmp_path / "net.pkl")


def test_a_pickle_whose_weights_do_not_fit_its_arguments_is_refused(tmp_path):
    network, path = small_network(), tmp_path / "net.pkl"
    path.write_bytes(dump({"ema": saved(network, kwargs={**arguments(network), "num_blocks": 2})}))
    with pytest.raises(InputError, match="is missing"):
        load_adm(path)


def test_choices_that_do_not_exist_are_refused(tmp_path):
    for how, message in (({"part": "teacher"}, "no part"), ({"weights": "best"}, "no weights"),
                         ({"precision": "fp8"}, "unknown precision"),
                         ({"precision": "bf16"}, "bf16 needs CUDA")):
        with pytest.raises(InputError, match=message):
            load_adm(tmp_path / "net.pth", **how)


def test_building_takes_the_files_tensors_as_they_are(tmp_path):
    torch.save(state_of(small_network()), tmp_path / "net.pth")
    file = read_adm(tmp_path / "net.pth")
    network = build_adm(file)
    assert network.state_dict()["model.out_conv.weight"].data_ptr() == file.state["model.out_conv.weight"].data_ptr()
