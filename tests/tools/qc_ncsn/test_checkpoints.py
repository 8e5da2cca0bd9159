"""Checkpoints as other programs write them, and damaged ones of our own."""

import copy
import json
import math
import shutil

import numpy as np
import pytest
import torch

from common.errors import InputError
from common.formats.checkpoints import load_torch
from common.score.container import read_checkpoint
from tests.tools.qc_ncsn.runs import call, contents, good

SMALL = ("--config", "u_digits", "--config.model.nf=4", "--config.model.ch_mult=1",
         "--config.model.attn_resolutions=()")
TRAIN = ("train", *SMALL, "--bs", "4", "--device", "cpu", "--config.training.snapshot_freq=2")
SAMPLE = ("sample", *SMALL, "--method", "multistep", "--num_steps", "2", "--num_samples", "2", "--device", "cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints") / "w"
    good(*TRAIN, "--workdir", folder, "--n_iters", "4")
    return folder


@pytest.fixture(scope="module")
def sampled(trained):
    """Return {weights: pixels} that the trained checkpoint gives."""
    folder = trained.parent
    for weights in ("ema", "raw"):
        good(*SAMPLE, "--checkpoint", trained / "checkpoints" / "checkpoint_2.pth", "--weights", weights, "--workdir",
             folder / weights)
    return {weights: stored_samples(folder / weights) for weights in ("ema", "raw")}


def stored_samples(work):
    return np.load(work / "eval_sampling" / "0" / "samples_0.npz")["samples"]


def with_prefix(state, prefix):
    return {prefix + name.removeprefix("module."): tensor for name, tensor in state["model"].items()}


SHAPES = {  # name: (what is made of the published container, the weights in it)
    "without optimiser": (lambda s: {"model": s["model"], "ema": s["ema"]}, "ema"),
    "without ema": (lambda s: {"model": s["model"], "optimizer": s["optimizer"]}, "only"),
    "of nothing else": (lambda s: {"model": s["model"], "ema": None, "optimizer": None}, "only"),
    "bare": (lambda s: s["model"], "only"), "bare, unwrapped": (lambda s: with_prefix(s, ""), "only"),
    "state_dict": (lambda s: {"state_dict": with_prefix(s, "module.")}, "only"),
    "compiled": (lambda s: {**s, "model": with_prefix(s, "_orig_mod.")}, "ema"),
    "compiled, wrapped": (lambda s: {**s, "model": with_prefix(s, "module._orig_mod.")}, "ema"),
    "wrapped twice": (lambda s: {**s, "model": with_prefix(s, "module.module.")}, "ema"),
    "model_state_dict": (lambda s: {"epoch": 3, "model_state_dict": with_prefix(s, "")}, "only"),
    "a tuple of averages": (lambda s: {**s, "ema": {**s["ema"], "shadow_params": tuple(s["ema"]["shadow_params"])},
                                       "step": np.float32(4)}, "ema"),
    "numpy's step": (lambda s: {**s, "step": np.int64(4)}, "ema"),
    "a tensor's step": (lambda s: {**s, "step": torch.tensor(4)}, "ema"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_checkpoints_of_other_programs_serve_for_sampling(name, trained, sampled, tmp_path):
    make, weights = SHAPES[name]
    state = load_torch(trained / "checkpoints" / "checkpoint_2.pth")
    state.pop("genprobe")
    torch.save(make(state), tmp_path / "other.pth")
    ended = call(*SAMPLE, "--checkpoint", tmp_path / "other.pth", "--workdir", tmp_path / "w", "--json")
    assert ended.status == 0, ended.err
    assert ended.results["weights"] == weights
    assert ("this file has no EMA" in ended.err) == (weights == "only")
    assert ("step 4" in ended.err) == (name.endswith("step") or name in ("compiled", "compiled, wrapped",
                                                                          "wrapped twice", "a tuple of averages"))
    assert not np.array_equal(sampled["ema"], sampled["raw"])
    assert np.array_equal(stored_samples(tmp_path / "w"), sampled["ema" if weights == "ema" else "raw"])


def test_Q2_a_training_that_differs_from_the_one_it_starts_from_says_in_what(trained, tmp_path):
    path = trained / "checkpoints" / "checkpoint_2.pth"
    words = (*TRAIN, "--restore", path, "--workdir", tmp_path / "my runs", "--n_iters", "5")
    ended = call(*words, "--config.model.sigma_max=20", "--dry_run")
    assert f"note: {path} was trained with model.sigma_max 50.0, this training has 20.0" in ended.err
    ended = call(*words)
    assert "was trained with" not in ended.err
    assert f"next: qc_ncsn sample --workdir '{tmp_path / 'my runs'}'" in ended.err


def test_weights_alone_start_a_training_with_a_new_optimiser(trained, tmp_path):
    torch.save(load_torch(trained / "checkpoints" / "checkpoint_2.pth")["model"], tmp_path / "bare.pth")
    words = (*TRAIN, "--restore", tmp_path / "bare.pth", "--workdir", tmp_path / "w", "--n_iters", "1")
    assert "this file has no optimiser state. Pass --fresh_optimizer" in call(*words).err
    assert good(*words, "--fresh_optimizer")["step"] == 1


COUNTS = [(None, math.ceil((10 * 0.99 - 1) / (1 - 0.99))), (torch.tensor(7), 7), (np.int64(7), 7), ("x", None),
          (torch.tensor(7.0), 7), (-1, None),
          (1.5, None), (torch.zeros(2), None)]


@pytest.mark.parametrize(("count", "read"), COUNTS)
def test_the_number_of_updates_of_an_average_is_read_or_refused(count, read, trained, tmp_path):
    state = load_torch(trained / "checkpoints" / "checkpoint_2.pth")
    torch.save({**state, "ema": {**state["ema"], "num_updates": count}}, tmp_path / "c.pth")
    if read is not None:
        assert read_checkpoint(tmp_path / "c.pth")["ema"]["num_updates"] == read
    words = (*TRAIN, "--restore", tmp_path / "c.pth", "--workdir", tmp_path / "w", "--n_iters", "5")
    ended = call(*words)
    assert ended.status == (0 if read is not None else 2), ended.err
    assert read is not None or "'num_updates' of 'ema' is" in ended.err


@pytest.mark.parametrize("extra", [{"updates": "x"}, {"updates": None}])
def test_a_state_without_its_number_of_updates_is_refused(extra, trained, tmp_path):
    state = load_torch(trained / "checkpoints" / "checkpoint_2.pth")
    state["genprobe"] = json.dumps({**json.loads(state["genprobe"]), **extra})
    torch.save(state, tmp_path / "c.pth")
    assert "invalid 'genprobe' entry" in call(*SAMPLE, "--checkpoint", tmp_path / "c.pth", "--workdir", tmp_path).err


@pytest.mark.parametrize("entry", [torch.ones(3), 5, "[]", "no JSON", ["{}"], ""])
def test_an_entry_that_is_no_text_of_ours_is_refused(entry, tmp_path):
    torch.save({"model": {"all_modules.0.weight": torch.ones(1)}, "genprobe": entry}, tmp_path / "c.pth")
    with pytest.raises(InputError, match="invalid 'genprobe' entry"):
        read_checkpoint(tmp_path / "c.pth")
    torch.save({"model": {"all_modules.0.weight": torch.ones(1)}, "genprobe": None}, tmp_path / "c.pth")
    assert "genprobe" not in read_checkpoint(tmp_path / "c.pth")


def cut(path):
    path.write_bytes(path.read_bytes()[:3000])


def spoil(path):
    state = copy.deepcopy(load_torch(path))
    state["model"]["module.all_modules.3.weight"][:] = math.nan
    torch.save(state, path)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A folder with a training of 5 steps and one of 7."""
    folder = tmp_path_factory.mktemp("parts")
    for steps in ("5", "7"):
        good(*TRAIN, "--workdir", folder / steps, "--n_iters", steps)
    return folder


@pytest.mark.parametrize("damage", [cut, spoil])
def test_a_damaged_newest_state_gives_way_to_the_snapshot_before_it(damage, parts, tmp_path):
    words = (*TRAIN, "--workdir", tmp_path / "w", "--n_iters")
    shutil.copytree(parts / "5", tmp_path / "w")
    damage(tmp_path / "w" / "checkpoints-meta" / "checkpoint.pth")
    ended = call(*words, "7")
    assert ended.status == 0, ended.err
    newest = tmp_path / "w" / "checkpoints" / "checkpoint_2.pth"
    assert f"going back to {newest}" in ended.err
    assert "steps 5 to 7" in ended.err
    name = "checkpoints-meta/checkpoint.pth"
    assert contents(tmp_path / "w")[name] == contents(parts / "7")[name]


def test_where_every_checkpoint_is_damaged_the_newest_is_named(tmp_path):
    words = (*TRAIN, "--workdir", tmp_path / "w", "--n_iters")
    good(*words, "2")
    for path in (tmp_path / "w").rglob("*.pth"):
        cut(path)
    ended = call(*words, "4")
    assert ended.status == 2
    assert ended.err.count("\n") == 1
    assert "checkpoints-meta/checkpoint.pth: " in ended.err
