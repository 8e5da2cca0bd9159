"""Decision models: torchvision's names and numbers, published dictionaries in all their forms, wrong files."""

import argparse
import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections import Counter, defaultdict
from pathlib import PurePosixPath

import numpy as np
import pytest
import torch

from common.errors import InputError
from common.explained.opening import open_explained
from common.images.squash import SquashOrCrop
from common.networks.blobgan.encoder_files import read_encoder
from common.networks.blobgan.files import read_blobgan
from common.networks.decision import load_imagenet, open_decision_model, write_decision_model
from common.networks.decision_networks import ARCHS, DRIVING, REASONS, DecisionConfig, build_decision_model
from tests.common.torchvision_guard import import_torchvision

SIZE = (64, 64)


def made(arch="densenet121", names=DRIVING, seed=0, **more):
    torch.manual_seed(seed)
    network = build_decision_model(DecisionConfig(arch, tuple(names), more.pop("size", SIZE), **more)).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
    return network


def pictures(size=SIZE):
    return torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(scope="module")
def densenet():
    return made()


def save(path, value):
    torch.save(value, path)
    return path


@pytest.mark.parametrize("arch", [arch for arch in ARCHS if arch not in ("small", "resnet101", "resnet152")])
@torch.no_grad()
def test_names_and_numbers_are_torchvisions(arch):
    torchvision = import_torchvision()
    network = made(arch)
    theirs = getattr(torchvision.models, arch)(weights=None).eval()
    own = {name: tensor for name, tensor in network.body.state_dict().items() if not name.startswith("fc.")}
    last = "classifier." if arch == "densenet121" else "fc."
    assert list(own) == [name for name in theirs.state_dict() if not name.startswith(last)]
    theirs.load_state_dict(own, strict=False)
    setattr(theirs, last[:-1], torch.nn.Identity())
    torch.testing.assert_close(network.features(pictures()), theirs(pictures()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("arch", ["resnet101", "resnet152"])
def test_deep_resnets_have_torchvisions_shapes(arch):
    torchvision = import_torchvision()
    with torch.device("meta"):
        own, theirs = build_decision_model(DecisionConfig(arch, DRIVING)).resnet, getattr(torchvision.models, arch)()
    shapes = [{name: tuple(tensor.shape) for name, tensor in network.state_dict().items() if not name.startswith("fc.")}
              for network in (own, theirs)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("arch", ["densenet121", "resnet34", "resnet50", "small"])
@pytest.mark.parametrize("kind", ["attributes", "classes"])
@torch.no_grad()
def test_what_is_written_is_read_back(arch, kind, tmp_path):
    network = made(arch, ("a", "b", "c"), kind=kind, width=5, size=(32, 64))
    network.temperature = torch.tensor([2.0, 0.5, 1.0] if kind == "attributes" else [2.0])
    path = tmp_path / "checkpoint.tar"
    write_decision_model(path, network, 3, 0.25, {"state": {}, "param_groups": []}, SquashOrCrop(32, 64, "cover"))
    stored = torch.load(path, weights_only=True)
    assert {"epoch", "optimizer_state_dict", "loss", "model_state_dict"} <= set(stored)
    assert stored["value_range"] == [-1.0, 1.0]
    again = open_decision_model(path)
    assert (again.names, again.size, again.kind) == (("a", "b", "c"), (32, 64), kind)
    assert again.transform == SquashOrCrop(32, 64, "cover")
    assert not again.training
    assert not any(parameter.requires_grad for parameter in again.parameters())
    x = pictures((32, 64))
    assert torch.equal(again(x), network(x))
    raw = network.head(network.features(x)) / network.temperature
    torch.testing.assert_close(again(x), raw.sigmoid() if kind == "attributes" else raw.softmax(dim=1))
    assert [tuple(part.shape[2:]) for part in again.maps(x)][0] in ((16, 32), (32, 64))


def old_names(state):
    """As torchvision's older DenseNet files have them, without counters."""
    return {name.replace("norm1", "norm.1").replace("conv1", "conv.1").replace("norm2", "norm.2")
            .replace("conv2", "conv.2"): tensor for name, tensor in state.items()
            if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize("kind", ["bare", "state_dict", "module", "old", "half", "stream"])
@torch.no_grad()
def test_T20_published_files_under_all_names(kind, densenet, tmp_path):
    state = densenet.state_dict()
    value = {"bare": state, "state_dict": {"state_dict": state}, "old": {"model_state_dict": old_names(state)},
             "module": {"epoch": 3, "model_state_dict": {f"module.{name}": tensor for name, tensor in state.items()}},
             "half": {"model_state_dict": {name: tensor.half() if tensor.is_floating_point() else tensor
                                           for name, tensor in state.items()}},
             "stream": {"model_state_dict": state}}[kind]
    path = tmp_path / "decision_densenet.tar"
    torch.save(value, path, _use_new_zipfile_serialization=kind != "stream")
    network = open_decision_model(path)
    assert (network.names, network.size) == (DRIVING, (256, 512))
    assert network.transform == SquashOrCrop(256, 512, "squash", "bicubic")
    near = {"rtol": 1e-2, "atol": 1e-2} if kind == "half" else {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(network(pictures()), densenet(pictures()), **near)


def test_weights_that_are_there_under_two_names_are_refused(densenet, tmp_path):
    state = densenet.state_dict()
    name = next(iter(state))
    torch.save({**state, f"module.{name}": state[name] + 1}, tmp_path / "two.tar")
    with pytest.raises(InputError, match=f"two.tar: '{name}' is in it under two names, such as 'module.{name}'"):
        open_decision_model(tmp_path / "two.tar")


def test_T20_an_archive_says_that_it_is_one(densenet, tmp_path):
    inner = save(tmp_path / "checkpoint.tar", {"model_state_dict": densenet.state_dict()})
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        archive.add(inner, "bdd/checkpoint.tar")
    for name, data, words in (("checkpoints_decision_densenet.tar.gz", gzip.compress(plain.getvalue(), 1), "xzf"),
                              ("renamed.tar", gzip.compress(plain.getvalue(), 1), "xzf"),
                              ("archive.tar", plain.getvalue(), "xf")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="archive") as refused:
            open_decision_model(tmp_path / name)
        assert f"tar {words} {name}" in str(refused.value)
        assert "checkpoint.tar inside" in str(refused.value)
    inner.rename(tmp_path / "swapped.tar.gz")  # the torch file under the archive's name
    assert open_decision_model(tmp_path / "swapped.tar.gz").names == DRIVING


def test_T20_other_archives_say_that_they_are_ones(tmp_path):
    inner = save(tmp_path / "checkpoint.tar", {"model_state_dict": {}})
    for name, pack in (("a.tar.bz2", bz2.compress), ("a.tar.xz", lzma.compress)):
        (tmp_path / name).write_bytes(pack(inner.read_bytes()))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(inner, "bdd/checkpoint.tar")
    for name, said in (("a.tar.bz2", "bzip2 archive.*tar xf"), ("a.tar.xz", "xz archive"), ("a.zip", "zip.*unzip")):
        for reader in (open_decision_model, open_explained, read_encoder, read_blobgan):
            with pytest.raises(InputError, match=said):
                reader(tmp_path / name)


@torch.no_grad()
def test_T20_weights_of_wrappers_of_other_widths_and_beside_other_entries(tmp_path):
    network = made("small", size=(16, 32))
    write_decision_model(tmp_path / "a.tar", network, 1, 0.5, {})
    value, x = torch.load(tmp_path / "a.tar", weights_only=True), pictures((16, 32))
    state = value["model_state_dict"]
    floats = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    more = {"args": argparse.Namespace(data=PurePosixPath("/a/b")), "log": defaultdict(list, a=[1]),
            "seen": Counter("aab"), "best": np.float64(0.5)}
    for change in ({**more}, {"model_state_dict": {f"_orig_mod.module.{name}": part for name, part in state.items()}},
                   {"model_state_dict": {**state, **{name: part.double() for name, part in floats.items()}}}):
        found = open_decision_model(save(tmp_path / "b.tar", {**value, **change}))
        torch.testing.assert_close(found(x), network(x))
    for kind in (torch.complex64, torch.int32):
        wrong = {**state, "classifier.weight": state["classifier.weight"].to(kind)}
        with pytest.raises(InputError, match=f"'classifier.weight' is of {str(kind).partition('.')[2]}, expected"):
            open_decision_model(save(tmp_path / "b.tar", {**value, "model_state_dict": wrong}))


@torch.no_grad()
def test_reasons(tmp_path):
    network = made(reasons=REASONS)
    path = save(tmp_path / "checkpoint.tar", {"model_state_dict": network.state_dict()})
    again = open_decision_model(path)
    assert again.config.reasons == REASONS
    logits, reasons = again.both(pictures())
    assert (logits.shape, reasons.shape) == ((2, 4), (2, 21))
    assert torch.equal(again.logits(pictures()), logits)


def test_files_that_are_no_decision_model(densenet, tmp_path):
    state = densenet.state_dict()
    imagenet = {name.removeprefix("feat_extract.feat_extract."): tensor for name, tensor in state.items()}
    cases = {"ImageNet's weights": imagenet, "no decision model": {"weight": torch.zeros(2)},
             "is of type list": [1, 2],
             "is missing": {name: tensor for name, tensor in state.items() if "norm5" not in name},
             "NaN": {**state, "classifier.bias": torch.full((4,), float("nan"))},
             "'attributes'|names of its attributes": {"model_state_dict": state, "attributes": ["a"]},
             "'input_size'": {"model_state_dict": state, "input_size": [0, 5]},
             "description of": {"model_state_dict": state, "transform": {"height": 3}},
             "'transform'": {"model_state_dict": state, "transform": "squash"},
             "'kind'": {"model_state_dict": state, "kind": "both"},
             "'temperature'": {"model_state_dict": state, "temperature": torch.zeros(4)}}
    for what, value in cases.items():
        with pytest.raises(InputError, match=what):
            open_decision_model(save(tmp_path / "file.tar", value))


@pytest.mark.parametrize("arch", ["densenet121", "resnet18"])
def test_imagenets_weights_start_the_body_alone(arch, tmp_path):
    torchvision = import_torchvision()
    torch.manual_seed(5)
    theirs = getattr(torchvision.models, arch)(weights=None)
    state = old_names(theirs.state_dict()) if arch == "densenet121" else theirs.state_dict()
    path, network = save(tmp_path / "imagenet.pth", state), made(arch)
    last = network.classifier if arch == "densenet121" else network.resnet.fc
    before = last.weight.clone()
    load_imagenet(network, path)
    assert torch.equal(last.weight, before)
    own, wanted = network.body.state_dict(), theirs.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in wanted.items()
               if not name.startswith(("fc.", "classifier.")))
    other = made("resnet34" if arch == "densenet121" else "densenet121")
    with pytest.raises(InputError, match="download.pytorch.org/models/"):
        load_imagenet(other, path)
    with pytest.raises(InputError, match="Download https://download.pytorch.org"):
        load_imagenet(network, tmp_path / "absent.pth")


def test_an_even_and_an_odd_size_of_the_small_cnn():
    for size in ((32, 32), (32, 64), (15, 23)):
        assert made("small", size=size)(torch.zeros(2, 3, *size)).shape == (2, 4)
