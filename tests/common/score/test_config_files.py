"""Configurations from YAML and JSON files."""

import json

import pytest

from common.errors import InputError
from common.score.config import override, preset
from common.score.config_files import configuration


def written(tmp_path, text, name="my.yml"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_a_file_replaces_entries_of_the_preset_that_it_names(tmp_path):
    text = "preset: qc_digits\nmodel: {nf: 32, ch_mult: [1, 1, 2]}\noptim:\n  lr: 5e-4\n  eps: 1\n" \
        "data: {random_flip: true, dataset: CIFAR10}\nsampling: {method: heun}\n"
    wanted = override(preset("qc_digits"), ["model.nf=32", "model.ch_mult=1,1,2", "optim.lr=5e-4", "optim.eps=1",
                                            "data.random_flip=true", "data.dataset=cifar10", "sampling.method=heun"])
    found = configuration(written(tmp_path, text))
    assert found == wanted
    assert type(found["optim"]["eps"]) is float  # YAML has it as an integer, and 5e-4 as a text


def test_without_a_preset_the_base_is_the_papers_network_and_a_whole_configuration_is_read_back(tmp_path):
    assert configuration(written(tmp_path, "{}")) == preset("u_cifar10")
    whole = preset("c_svhn")
    assert configuration(written(tmp_path, json.dumps(whole), "whole.JSON")) == whole


BAD = {
    "model: {nff: 3}": "model.nff: the configuration has no such entry",
    "modell: {nf: 4}": "modell: the configuration has no such section",
    "model: 3": "model: expected entries", "- 1": "expected sections of entries",
    "preset: u_digit": "preset u_digit: unknown preset", "preset: other.yml": "preset other.yml: unknown preset",
    "preset: [1]": "preset [1]: unknown preset",
    "model: {nf: 1.5}": "model.nf: expected an integer, not '1.5'",
    "model: {nf: true}": "model.nf: expected an integer", "model: {nf: null}": "model.nf: expected an integer",
    "optim: {lr: .nan}": "optim.lr is nan: must be above 0", "optim: {lr: -1}": "optim.lr is -1.0: must be above 0",
    "model: {ch_mult: [0, 1]}": "model.ch_mult is (0, 1): must be at least 1",
    "model: {ch_mult: 2}": "model.ch_mult: expected a list of integers",
    "model: {ch_mult: [1.5]}": "model.ch_mult: expected a list of integers",
    "data: {centered: true}": "data.centered: only False is supported", "seed: 3": "seed: this entry",
    "data: {dataset: 3}": "data.dataset: expected a text", "sampling: {method: euler}": "sampling.method is euler",
    "1: {2: 3}": "1: the configuration has no such section", "model: {1: 2}": "model.1: the configuration",
    "model: {nf: 8}\noptim: {lr: 1}\nmodel: {nf: 9}": "the key 'model' is repeated, in lines 1 and 3",
    "model: {nf: 8, nf: 8}": "the key 'nf' is repeated, in lines 1 and 1",
    "model:\n  nf: 8\n  'nf': 8": "the key 'nf' is repeated, in lines 2 and 3",
    "model: {nf: [": "neither valid YAML nor JSON", "model: {sigma_max: 0.001}": "model.sigma_min is 0.01: must be",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_entry_is_named_with_its_file(text, tmp_path):
    path = written(tmp_path, text)
    with pytest.raises(InputError) as error:
        configuration(path)
    assert BAD[text] in f"{error.value.where}: {error.value.what}"
    assert str(path) in str(error.value)
