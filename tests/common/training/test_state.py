"""A stored state with anything wrong in it is refused in one sentence."""

import copy

import pytest
import torch

from common.errors import InputError
from common.formats.checkpoints import save_torch
from common.training.optim import Optimiser, Schedule
from common.training.state import MOMENTS, load_optimiser
from tests.common.training.toy import Gan


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    Gan(folder, last=3).loop.run()
    return torch.load(folder / "state.pth", weights_only=True)


def drop(*path):
    def change(state):
        for name in path[:-1]:
            state = state[name]
        del state[path[-1]]

    return change


def put(value, *path):
    def change(state):
        for name in path[:-1]:
            state = state[name]
        state[path[-1]] = value(state.get(path[-1])) if callable(value) else value

    return change


NAN = torch.full((5, 2), float("nan"), dtype=torch.float64)
STORED = ("optimisers", "discriminator", "state", "state")
WRONG = {
    "a part is missing": (drop("averages"), "'averages' is missing"),
    "a part of nobody": (put({}, "scaler"), "'scaler' is not part of this training"),
    "a network is missing": (drop("networks", "generator"), "'generator' is missing"),
    "a foreign network": (put({}, "networks", "encoder"), "'encoder' is not part of this training"),
    "a foreign weight": (put(NAN, "networks", "generator", "3.weight"), "'3.weight' is not part of this network"),
    "a misshapen weight": (put(lambda w: w[:4], "networks", "discriminator", "0.weight"), "has shape (4, 2)"),
    "a weight that is not finite": (put(NAN, "networks", "discriminator", "0.weight"), "holds NaN"),
    "an optimiser is missing": (drop("optimisers", "generator"), "'generator' is missing"),
    "moments of fewer parameters": (drop(*STORED, 1), "it has 3 parameters, expected 4"),
    "moments of more parameters": (put({"step": torch.tensor(1.0)}, *STORED, 9), "does not fit"),
    "no second moment": (drop(*STORED, 0, "exp_avg_sq"), "'exp_avg_sq'"),
    "a misshapen moment": (put(NAN[:4], *STORED, 0, "exp_avg"), "'exp_avg' has shape (4, 2)"),
    "a moment that is not finite": (put(NAN, *STORED, 0, "exp_avg_sq"), "'exp_avg_sq' holds NaN"),
    "moments that are a text": (put("moments", *STORED), "does not fit"),
    "an optimiser that is a tensor": (put(NAN, *STORED[:3]), "does not fit"),
    "a flag that is a tensor": (put(NAN, *STORED[:3], "param_groups", 0, "capturable"), "does not fit"),
    "an average is missing": (drop("averages", "ramp"), "'ramp' is missing"),
    "an average of other shapes": (put([NAN], "averages", "ramp", "shadow"), "do not fit this network"),
    "an average that is not finite": (put(lambda tensors: [tensor * float("nan") for tensor in tensors],
                                          "averages", "ramp", "shadow"), "averaged tensor 0"),
    "a step that is a text": (put("3", "step"), "'step' is not an integer"),
    "updates that are a text": (put("3", "optimisers", "generator", "updates"), "does not fit"),
    "a count that is a text": (put("3", "averages", "ramp", "count"), "do not fit"),
    "no dictionary": (None, "'step' is missing"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name, stored, tmp_path):
    change, said = WRONG[name]
    state = copy.deepcopy(stored) if change else [1, 2]
    if change:
        change(state)
    save_torch(tmp_path / "state.pth", state)
    with pytest.raises(InputError) as refusal:
        Gan(tmp_path)
    assert said in str(refusal.value)
    assert str(refusal.value).startswith(str(tmp_path / "state.pth"))


def test_moments_are_in_the_order_of_their_parameters():
    """The fused kernels read both in memory's order, whatever the file's was."""
    convolution = torch.nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)
    optimiser = Optimiser(torch.optim.Adam(convolution.parameters(), fused=True), Schedule(1e-3))
    shape = convolution.weight.shape
    entries = {number: {"step": torch.tensor(2.0), **{name: torch.rand(own.shape) for name in MOMENTS}}
               for number, own in enumerate(convolution.parameters())}
    groups = [{**optimiser.optimiser.state_dict()["param_groups"][0], "fused": None}]
    load_optimiser(optimiser, {"state": entries, "param_groups": groups}, 2, "file", "")
    assert optimiser.updates == 2
    assert optimiser.optimiser.param_groups[0]["fused"] is True
    for name in MOMENTS:
        moment = optimiser.optimiser.state[convolution.weight][name]
        assert torch.equal(moment, entries[0][name])
        assert moment.shape == shape
        assert moment.stride() == convolution.weight.stride()
        assert moment.data_ptr() % 64 == 0
