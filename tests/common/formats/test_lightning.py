"""Lightning checkpoints: weights and hyper-parameters as plain values, without Lightning and without omegaconf."""

import argparse
import pathlib
import sys
import types
import typing
from collections import defaultdict

import pytest
import torch

from common.errors import InputError
from common.formats.checkpoints import load_torch
from common.formats.lightning import load_lightning


class Node:
    """An object that is pickled under the name of a class of omegaconf."""

    def __init__(self, **state):
        self.__dict__.update(state)


@pytest.fixture
def omegaconf(monkeypatch):
    """Stand-ins of the classes, from the modules that files name, while a file is written."""
    places = {"DictConfig": "omegaconf.dictconfig", "ListConfig": "omegaconf.listconfig", "AnyNode": "omegaconf.nodes",
              "ContainerMetadata": "omegaconf.base", "ModelCheckpoint": "pytorch_lightning.callbacks.model_checkpoint"}
    made = {}
    for name, place in places.items():
        made[name] = type(name, (Node,), {"__module__": place})
        for depth in range(1, place.count(".") + 2):
            package = ".".join(place.split(".")[:depth])
            monkeypatch.setitem(sys.modules, package, types.SimpleNamespace(**{name: made[name]}))
    return types.SimpleNamespace(**made)


def written(omegaconf, path):
    """Write a checkpoint as Lightning does, whose configuration points to its parent with the whole experiment."""
    def node(value, parent, kind="_val"):
        if isinstance(value, dict | list):
            made = (omegaconf.DictConfig if isinstance(value, dict) else omegaconf.ListConfig)(_parent=parent)
            # As omegaconf 2.1 to 2.4 write it; in the pickles of torch.save int is called long, and str unicode.
            made._metadata = omegaconf.ContainerMetadata(
                ref_type=typing.Any, object_type=type(value), key_type=typing.Any if isinstance(value, dict) else int,
                element_type=str, flags=None, resolver_cache=defaultdict(dict))
            if isinstance(value, dict):
                made._content = {key: node(item, made) for key, item in value.items()}
            else:
                made._content = [node(item, made) for item in value]
            return made
        return omegaconf.AnyNode(_parent=parent, _val=value)

    experiment = node({
        "model": {"dim": 12, "size": "${data.sizes.1}", "name": "net_${.dim}_${data.sizes[0]}",
                  "layers": ["${..dim}", 3], "all": "${data}", "home": "${oc.env:HOME}", "lost": "${nowhere}",
                  "none": None, "root": pathlib.PosixPath("/a/b")},
        "data": {"sizes": [8, 16], "rate": 0.5},
    }, None)
    torch.save({"state_dict": {"a.weight": torch.ones(2, 3)}, "epoch": 3,
                "callbacks": {omegaconf.ModelCheckpoint: {"best": None}},
                "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2, 3)}}}],
                "hyper_parameters": {"model": experiment._content["model"], "lr": 0.002}}, path)


def test_T22_nodes_become_plain_values_and_interpolations_are_resolved(omegaconf, tmp_path):
    written(omegaconf, tmp_path / "a.ckpt")
    found = load_lightning(tmp_path / "a.ckpt")
    assert found["hyper_parameters"] == {"lr": 0.002, "model": {
        "dim": 12, "size": 16, "name": "net_12_8", "layers": [12, 3], "all": {"sizes": [8, 16], "rate": 0.5},
        "home": "${oc.env:HOME}", "lost": "${nowhere}", "none": None, "root": "/a/b"}}
    assert found["epoch"] == 3
    assert "optimizer_states" not in found
    assert found["state_dict"]["a.weight"].tolist() == [[1.0] * 3] * 2


def test_other_files_are_named(tmp_path):
    torch.save({"model": {}}, tmp_path / "a.ckpt")
    with pytest.raises(InputError, match="no 'state_dict' in it"):
        load_lightning(tmp_path / "a.ckpt")
    (tmp_path / "a.ckpt").write_bytes((tmp_path / "a.ckpt").read_bytes()[:300])
    with pytest.raises(InputError, match="truncated"):
        load_lightning(tmp_path / "a.ckpt")


def test_a_namespace_beside_tensors_is_a_bare_holder(tmp_path):
    args = argparse.Namespace(lr=0.1, size=256, names=["a"], nested=argparse.Namespace(x=1))
    for name, zipped in (("zip.pt", True), ("stream.pt", False)):
        torch.save({"g_ema": {"w": torch.ones(3)}, "args": args}, tmp_path / name,
                   _use_new_zipfile_serialization=zipped)
        found = load_torch(tmp_path / name)
        attributes = found["args"].attributes
        assert attributes["nested"].attributes == {"x": 1}
        assert (attributes["lr"], attributes["names"]) == (0.1, ["a"])
        assert found["g_ema"]["w"].tolist() == [1, 1, 1]
