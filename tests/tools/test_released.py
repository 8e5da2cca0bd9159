"""No step, batch or image of a command leaves its tensors to the garbage collector: memory would grow until it runs."""

import shutil

import pytest
import torch

from tests.released import left_over
from tests.tools.commands import call_tool
from tests.tools.every_command import COMMANDS, make_inputs

MORE = {  # a flag and two values, the second of which makes more of the same
    "qc_ncsn train": ("--n_iters", 3, 6), "qc_ncsn sample": ("--num_samples", 2, 6),
    "qc_ncsn eval nll": ("--total_repeat", 1, 2), "qc_ncsn eval asym": ("--total_repeat", 1, 3),
    "train_blobgan": ("--max_steps", 2, 5), "train_edm": ("--steps", 4, 7),
    "train_encoder pretrain": ("--n_iters", 2, 5), "train_encoder train": ("--n_iters", 2, 5),
    "train_quantile_encoder": ("--max_steps", 2, 5),
    "train_decision_model": ("--steps", 3, 6), "blobex_inv_cf": ("--n_iters_cf", 2, 5),
    "generate_blobgan": ("-n", 3, 6), "generate_ffhq": ("--num_images", 3, 6),
    "generate_dataset": ("--num_samples", 3, 6),
    "generate_outputs_npz": ("--batch_size", 4, 1), "evaluate_cf": ("--batch_size", 4, 1),
    "evaluate_cf inversion": ("--batch_size", 4, 1),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the inputs of all commands."""
    folder = tmp_path_factory.mktemp("released")
    make_inputs(folder)
    return folder


@pytest.mark.long
@pytest.mark.parametrize("name", MORE)
def test_more_steps_leave_no_more_to_the_collector(name, place, monkeypatch):
    monkeypatch.chdir(place)
    flag, few, many = MORE[name]
    counts = []
    for value in (few, few, many):  # the first one imports
        shutil.rmtree("out", ignore_errors=True)
        with left_over(torch.Tensor) as tensors:
            ended = COMMANDS[name].run(flag, value)
        assert ended.status == 0, ended.err
        counts.append(len(tensors))
    assert counts[2] <= counts[1]


def test_sampling_of_a_conservative_model_leaves_nothing_to_the_collector(tmp_path):
    model = ("--config", "c_digits", "--config.model.nf=4", "--config.sampling.num_scales=2", "--device", "cpu")
    ended = call_tool("qc_ncsn", "train", *model, "--n_iters", 1, "--bs", 2, "--workdir", tmp_path, "--quiet")
    assert ended.status == 0, ended.err
    with left_over(torch.Tensor) as tensors:
        ended = call_tool("qc_ncsn", "sample", *model, "--workdir", tmp_path, "--num_samples", 2, "--quiet")
    assert ended.status == 0, ended.err
    assert not tensors
