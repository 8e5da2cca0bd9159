"""Checkpoints to safetensors and back, and what a program that reads the published container finds in ours."""

import json
import os

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from common.formats.checkpoints import load_torch
from common.score.config import override, preset
from common.score.container import read_checkpoint
from common.score.models import LoadedModel, build_network, load_weights, trainable
from tests.tools.qc_ncsn.runs import TINY, call, good, listing
from tools.qc_ncsn.train.step import load_training_state, make_average, make_optimiser

PUBLISHED = "tests/golden/qc_ncsn/train_ckpt/checkpoint_1.pth"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint after six steps, its moving average apart from its weights."""
    folder = tmp_path_factory.mktemp("trained")
    good("train", *TINY, "--workdir", folder, "--n_iters", "6", "--config.optim.warmup=0",
         "--config.training.snapshot_freq=6")
    return folder / "checkpoints" / "checkpoint_1.pth"


def weights_of(path, weights):
    return LoadedModel(path, None, weights).network.state_dict()


@pytest.mark.parametrize("weights", ["raw", "ema"])
def test_weights_survive_the_way_there_and_back(weights, checkpoint, tmp_path):
    there, back = tmp_path / "w.safetensors", tmp_path / "back.pth"
    results = good("convert", "--checkpoint", checkpoint, "--output", there, "--weights", weights)
    assert (results["step"], results["weights"]) == (6, weights)
    assert good("convert", "--checkpoint", there, "--output", back)["step"] == 6
    expected = weights_of(checkpoint, weights)
    found = load_file(there)
    assert sorted(found) == sorted(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    for again in ("raw", "ema"):  # the container asks for both: they are the same here
        got = weights_of(back, again)
        assert all(torch.equal(got[name], expected[name]) for name in expected)
    assert read_checkpoint(back)["step"] == 6
    assert LoadedModel(there, None, weights).config == LoadedModel(back, None, weights).config


@pytest.mark.parametrize("weights", ["raw", "ema"])
def test_a_network_made_without_initial_values_is_the_one_made_with_them(weights, checkpoint):
    model, state = LoadedModel(checkpoint, None, weights), read_checkpoint(checkpoint)
    network = build_network(model.config)
    load_weights(network, state, checkpoint, weights)
    expected = {**network.state_dict(), **dict(network.named_buffers())}
    found = {**model.network.state_dict(), **dict(model.network.named_buffers())}
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_file_too_small_for_its_configuration_is_refused(tmp_path):
    ended = call("convert", "--checkpoint", PUBLISHED, "--config", "qc_cifar10", "--output", tmp_path / "x.safetensors")
    assert (ended.status, "its configuration is of a network of" in ended.err) == (2, True), ended.err


def test_a_conversion_made_already_answers_and_another_is_refused(checkpoint, tmp_path):
    words = ("convert", "--checkpoint", checkpoint, "--output", tmp_path / "w.safetensors")
    (tmp_path / f".w.safetensors.{2 ** 30}.part").touch()  # of a killed one
    good(*words)
    assert os.listdir(tmp_path) == ["w.safetensors"]
    before = (tmp_path / "w.safetensors").read_bytes()
    ended = call(*words)
    assert (ended.status, "up to date" in ended.err) == (0, True)
    ended = call(*words, "--weights", "raw")
    assert (ended.status, "differs from this conversion" in ended.err) == (2, True)
    assert (tmp_path / "w.safetensors").read_bytes() == before


def test_raw_and_average_differ(checkpoint):
    raw, ema = weights_of(checkpoint, "raw"), weights_of(checkpoint, "ema")
    assert any(not torch.equal(raw[name], ema[name]) for name in raw)


def test_a_converted_file_samples_the_same_images(checkpoint, tmp_path):
    there = tmp_path / "w.safetensors"
    good("convert", "--checkpoint", checkpoint, "--output", there)
    stored = []
    for path in (checkpoint, there):
        work = tmp_path / path.suffix[1:]
        good("sample", "--workdir", work, "--checkpoint", path, "--num_samples", "4", "--method", "multistep",
             "--num_steps", "4")
        stored.append(np.load(work / "eval_sampling" / "0" / "samples_0.npz")["samples"].astype(int))
    assert np.abs(stored[0] - stored[1]).max() <= 1  # weights from another container: to rounding


def test_a_dry_run_writes_nothing(checkpoint, tmp_path):
    assert good("convert", "--checkpoint", checkpoint, "--output", tmp_path / "x.safetensors",
                "--dry_run")["entries"] > 90
    assert listing(tmp_path) == {}


def test_a_published_file_needs_its_configuration(tmp_path):
    ended = call("convert", "--checkpoint", PUBLISHED, "--output", tmp_path / "x.safetensors")
    assert ended.status == 2
    assert "Pass --config" in ended.err


def test_a_program_that_reads_the_published_container_reads_ours(checkpoint):
    """As score_sde_pytorch's restore_checkpoint does: plain torch.load, DataParallel names, shadow tensors in order."""
    state, published = torch.load(checkpoint, weights_only=False), load_torch(PUBLISHED)
    assert list(state)[:3] == list(published)[:3] == ["optimizer", "model", "ema"]
    assert list(state["model"])[0] == list(published["model"])[0] == "module.sigmas"
    assert all(name.startswith("module.") for name in state["model"])
    assert list(state["ema"]) == list(published["ema"])

    config = json.loads(state["genprobe"])["config"]
    network = torch.nn.DataParallel(build_network(config, seed=99))
    network.load_state_dict(state["model"], strict=True)
    shapes = [tuple(parameter.shape) for parameter in network.parameters() if parameter.requires_grad]
    assert [tuple(tensor.shape) for tensor in state["ema"]["shadow_params"]] == shapes

    optimiser = torch.optim.Adam(network.parameters())
    optimiser.load_state_dict(state["optimizer"])
    group, = state["optimizer"]["param_groups"]
    assert group["params"] == list(range(len(list(network.parameters()))))
    assert sorted(state["optimizer"]["state"]) == group["params"][1:]  # the Fourier frequencies have no moments
    moments = {"step", "exp_avg", "exp_avg_sq"}
    assert set(state["optimizer"]["state"][1]) == set(published["optimizer"]["state"][1]) == moments
    assert state["step"] == 6


def test_the_original_s_own_file_loads_whole():
    config = override(preset("u_digits"), ["model.nf=8"])
    state = read_checkpoint(PUBLISHED)
    assert "step" not in state
    shape = state["model"]["module.all_modules.3.weight"].shape
    sizes = json.loads(open("tests/golden/qc_ncsn/train_ckpt/case.json").read())["config"]
    entries = {f"model.{key}": value for key, value in sizes.items() if key in config["model"]}
    for name, value in entries.items():
        config["model"][name.split(".")[1]] = tuple(value) if isinstance(value, list) else value
    for key in ("image_size", "num_channels"):
        config["data"][key] = sizes.get(key, config["data"][key])
    network = build_network(config)
    assert network.all_modules[3].weight.shape == shape
    average = make_average(network, 0.9)
    optimiser = make_optimiser(network, config["optim"], 10)
    load_training_state(state, PUBLISHED, network, optimiser, average)
    assert average.count == state["ema"]["num_updates"]
    assert average.decay(10**6) == 0.9
    assert len(optimiser.optimiser.state) == len(average.shadow)
    assert optimiser.updates == 0  # warm-up starts again, as the original's does
    for (name, parameter), tensor in zip(network.named_parameters(), [None, *average.shadow]):
        assert torch.equal(parameter, state["model"][f"module.{name}"])
        assert tensor is None or tensor.shape == parameter.shape
    load_weights(network, state, PUBLISHED, "ema")
    assert all(torch.equal(parameter, tensor) for (_, parameter),
               tensor in zip(trainable(network), state["ema"]["shadow_params"]))
