"""Wrong input of every kind: exit status 2, one line on stderr that tells what, where and what to do, nothing
written."""

import copy
import errno
import functools
import json
import os
import pickle
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from common import files
from common.formats import checkpoints as common_checkpoints
from common.formats.checkpoints import load_torch
from tests.tools.qc_ncsn.runs import (
    NETWORK,
    TINY,
    call,
    check_complete,
    contents,
    good,
    leftovers,
    listing,
    run,
)

TRAIN = ("train", *TINY, "--n_iters", "4", "--config.training.snapshot_freq=4",
         "--config.training.snapshot_freq_for_preemption=2")
SAMPLE = ("sample", "--num_samples", "6", "--bs", "3", "--method", "multistep", "--num_steps", "4", "--device", "cpu")
NLL = ("eval", "nll", "--num_images", "2", "--device", "cpu")
ASYM = ("eval", "asym", "--num_images", "2", "--nl", "2", "--device", "cpu")
MARK = "ran-code"  # what the malicious files would leave behind


load_once = functools.cache(load_torch)


@dataclass
class Place:
    """A case's own folder, and a trained checkpoint to spoil."""

    root: Path
    trained: Path

    @property
    def work(self):
        return self.root / "W"

    def state(self):
        """Return the dictionary of the trained checkpoint."""
        return copy.deepcopy(load_once(self.trained / "checkpoints" / "checkpoint_1.pth"))

    def sample(self, state, *words):
        """Return the words that sample from a stored state (a dictionary, or raw bytes)."""
        path = self.root / "bad.pth"
        path.write_bytes(state) if isinstance(state, bytes) else torch.save(state, path)
        return (*SAMPLE, "--checkpoint", path, *words)

    def spoil(self, **changes):
        """Return the words that sample from the trained checkpoint with some entries replaced (None: left out)."""
        state = {key: value for key, value in {**self.state(), **changes}.items() if value is not None}
        return self.sample(state)

    def dataset(self, *words):
        """Return the words that train on a data set."""
        return (*TRAIN, "--config.data.image_size=8", *words)


CASES = {}


def case(*said):
    """Register a function Place -> words as a case whose message holds all of these texts."""

    def add(function):
        CASES[function.__name__] = (function, said)
        return function

    return add


def simple(name, words, *said):
    """Register a case that needs no files."""
    CASES[name] = (lambda place: words, said)


# ---- checkpoints


@case("none.pth: no such file", "--checkpoint")
def checkpoint_missing(place):
    return (*SAMPLE, "--checkpoint", place.root / "none.pth")


@case("bad.pth", "truncated", "Copy or download the file again")
def checkpoint_truncated(place):
    data = (place.trained / "checkpoints" / "checkpoint_1.pth").read_bytes()
    return place.sample(data[: len(data) // 2])


@case("bad.pth", "truncated")
def checkpoint_with_a_lost_end(place):
    return place.sample((place.trained / "checkpoints" / "checkpoint_1.pth").read_bytes()[:-30])


@case("bad.pth", "0 bytes")
def checkpoint_empty(place):
    return place.sample(b"")


@case("bad.pth", "truncated or of another kind")
def checkpoint_of_random_bytes(place):
    return place.sample(np.random.default_rng(0).bytes(5000))


@case("bad.pth", "truncated or of another kind")
def checkpoint_that_is_text(place):
    return place.sample(b"<html>404 not found</html>")


@case("bad.pth: this is a folder, a file was expected")
def checkpoint_that_is_a_folder(place):
    (place.root / "bad.pth").mkdir()
    return (*SAMPLE, "--checkpoint", place.root / "bad.pth")


@case("no 'model' in the file (it has state_dict)")
def checkpoint_of_another_program(place):
    return place.sample({"state_dict": {"w": torch.zeros(2)}})


@case("no 'model' in the file (it has Tensor)")
def checkpoint_that_is_a_tensor(place):
    return place.sample(torch.zeros(3))


@case("'model' is not a dictionary of tensors")
def checkpoint_of_other_values(place):
    return place.spoil(model={"module.sigmas": 3})


@case("'ema' lacks decay, num_updates or shadow_params")
def checkpoint_with_half_an_average(place):
    return place.spoil(ema={"decay": 0.9})


@case("'shadow_params' of 'ema' is not a list of tensors")
def checkpoint_with_an_average_of_other_values(place):
    return place.spoil(ema={**place.state()["ema"], "shadow_params": {"a": 1}})


@case("'all_modules.3.weight' is missing (1 missing, 0 unexpected", "another --config")
def checkpoint_lacking_an_entry(place):
    model = place.state()["model"]
    del model["module.all_modules.3.weight"]
    return place.spoil(model=model)


@case("'all_modules.99.weight' is not part of this network")
def checkpoint_with_an_unknown_entry(place):
    return place.spoil(model={**place.state()["model"], "module.all_modules.99.weight": torch.zeros(1)})


@case("'all_modules.3.weight' has shape (4, 1, 5, 5), expected (4, 1, 3, 3)")
def checkpoint_with_another_shape(place):
    return place.spoil(model={**place.state()["model"], "module.all_modules.3.weight": torch.zeros(4, 1, 5, 5)})


@case("'all_modules.3.bias' holds NaN or infinite values", "earlier checkpoint")
def checkpoint_with_nan_weights(place):
    model = place.state()["model"]
    model["module.all_modules.3.bias"][1] = float("nan")
    return place.spoil(model=model)


@case("'EMA of all_modules.1.weight' holds NaN or infinite values")
def checkpoint_with_a_nan_average(place):
    ema = place.state()["ema"]
    ema["shadow_params"][0][0, 0] = float("inf")
    return place.spoil(ema=ema)


@case("EMA tensors, the network has")
def checkpoint_with_a_short_average(place):
    ema = place.state()["ema"]
    return place.spoil(ema={**ema, "shadow_params": ema["shadow_params"][:-1]})


@case("the EMA of 'all_modules.1.weight' has shape")
def checkpoint_with_a_misshapen_average(place):
    ema = place.state()["ema"]
    return place.spoil(ema={**ema, "shadow_params": [torch.zeros(1), *ema["shadow_params"][1:]]})


@case("bad.pth: was trained with model.nf 4", "configuration has 8", "Leave --config out")
def checkpoint_of_another_configuration(place):
    return place.sample(place.state(), *(word.replace("nf=4", "nf=8") for word in NETWORK))


@case("does not store its configuration", "qc_cifar10")
def checkpoint_that_names_no_configuration(place):
    return place.spoil(genprobe=None)


@case("bad.pth: its configuration lacks a valid model.nf")
def checkpoint_with_a_damaged_configuration(place):
    extra = json.loads(place.state()["genprobe"])
    extra["config"]["model"]["nf"] = "many"
    return place.spoil(genprobe=json.dumps(extra))


@case("bad.pth: invalid 'genprobe' entry")
def checkpoint_with_broken_extras(place):
    return place.spoil(genprobe="{")


class Malicious:
    """Pickles as a call that leaves a mark."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


@case("system", "nothing of it was run", "a source you trust")
def checkpoint_that_runs_code(place):
    return place.spoil(extra=Malicious(place.root / MARK))


@case("system", "nothing of it was run")
def checkpoint_that_is_a_malicious_pickle(place):
    return place.sample(pickle.dumps(Malicious(place.root / MARK), protocol=2))


@case("bad.safetensors: not a complete safetensors file")
def safetensors_truncated(place):
    whole = place.root / "whole.safetensors"
    good("convert", "--checkpoint", place.trained / "checkpoints" / "checkpoint_1.pth", "--output", whole)
    (place.root / "bad.safetensors").write_bytes(whole.read_bytes()[:-100])
    return (*SAMPLE, "--checkpoint", place.root / "bad.safetensors")


@case("the file has the ema weights only", "--weights ema")
def safetensors_of_the_other_weights(place):
    whole = place.root / "whole.safetensors"
    good("convert", "--checkpoint", place.trained / "checkpoints" / "checkpoint_1.pth", "--output", whole)
    return (*SAMPLE, "--checkpoint", whole, "--weights", "raw")


simple("no_checkpoint_in_the_folder", (*SAMPLE, "--workdir", "./empty"), "checkpoints: no checkpoint in this folder",
       "Train first")


@case("checkpoint_7.pth: no such checkpoint", "Available snapshots: 1")
def snapshot_missing(place):
    return (*SAMPLE, "--workdir", place.trained, "--checkpoint_idx", "7")


# ---- restoring


@case("restore.pth", "has shape", "expected")
def restore_of_other_shapes(place):
    torch.save(place.state(), place.root / "restore.pth")
    return (*TRAIN, "--config.model.nf=8", "--n_iters", "9", "--restore", place.root / "restore.pth")


@case("restore.pth: the optimiser state does not fit this network", "--fresh_optimizer")
def restore_of_another_optimiser(place):
    state = place.state()
    state["optimizer"]["param_groups"][0]["params"] = [0, 1]
    torch.save(state, place.root / "restore.pth")
    return (*TRAIN, "--n_iters", "9", "--restore", place.root / "restore.pth")


@case("restore.pth: the optimiser state does not fit this network", "--fresh_optimizer")
def restore_of_misshapen_moments(place):
    state = place.state()
    state["optimizer"]["state"][1]["exp_avg"] = torch.zeros(3)
    torch.save(state, place.root / "restore.pth")
    return (*TRAIN, "--n_iters", "9", "--restore", place.root / "restore.pth")


@case("weights.safetensors: this file has no optimiser state", "--fresh_optimizer")
def restore_of_weights_alone(place):
    path = place.root / "weights.safetensors"
    good("convert", "--checkpoint", place.trained / "checkpoints" / "checkpoint_1.pth", "--output", path)
    return (*TRAIN, "--n_iters", "9", "--restore", path)


simple("restore_missing", (*TRAIN, "--restore", "none.pth"), "none.pth: no such file")
simple("fresh_optimizer_without_restore", (*TRAIN, "--fresh_optimizer"), "--fresh_optimizer", "Add --restore PATH")


@case("past the last step 4", "--n_iters")
def work_folder_of_a_longer_run(place):
    (place.work / "checkpoints").mkdir(parents=True)
    torch.save({**place.state(), "step": 400}, place.work / "checkpoints" / "checkpoint_100.pth")
    shutil.copy(place.trained / "run.json", place.work)
    return TRAIN


@case("checkpoints: is in the way: no record says what wrote it")
def work_folder_without_a_record(place):
    (place.work / "checkpoints").mkdir(parents=True)
    torch.save({**place.state(), "step": 2}, place.work / "checkpoints" / "checkpoint_1.pth")
    return TRAIN


@case("--n_iters 4: the first step is 5: there is nothing to do")
def restore_past_the_last_step(place):
    return (*TRAIN, "--restore", place.trained / "checkpoints" / "checkpoint_1.pth")


# ---- data


def imagenet(folder, labels, images=3):
    folder.mkdir()
    value = {"data": np.zeros((images, 3072), np.uint8), "labels": labels}
    (folder / "val_data").write_bytes(pickle.dumps(value))
    for number in range(1, 11):
        (folder / f"train_data_batch_{number}").write_bytes(pickle.dumps(value))


IMAGENET = ("eval", "nll", "--dataset", "imagenet32", "--config", "u_digits", "--config.model.nf=4", "--device", "cpu",
            "--config.model.attn_resolutions=4", "--config.data.image_size=32", "--config.data.num_channels=3")


@case("train_data_batch_1: array 'labels' runs 1-1001, expected 1-1000")
def imagenet_labels_out_of_range(place):
    imagenet(place.root / "imagenet", [1, 1001, 3])
    return (*TRAIN, "--dataset", "imagenet32", "--data_dir", place.root / "imagenet")


@case("train_data_batch_1", "system", "nothing of it was run")
def imagenet_pickle_that_runs_code(place):
    imagenet(place.root / "imagenet", [1, 2, 3])
    for path in (place.root / "imagenet").iterdir():
        path.write_bytes(pickle.dumps({"data": Malicious(place.root / MARK), "labels": [1]}, protocol=2))
    return (*TRAIN, "--dataset", "imagenet32", "--data_dir", place.root / "imagenet")


@case("cifar-10", "python.tar.gz")
def archive_truncated(place):
    import tarfile

    folder = place.root / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    batch = {b"data": np.random.default_rng(0).integers(0, 256, (10, 3072), dtype=np.uint8), b"labels": [1] * 10}
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(pickle.dumps(batch))
    whole = place.root / "data" / "cifar-10-python.tar.gz"
    with tarfile.open(whole, "w:gz") as archive:
        archive.add(folder, "cifar-10-batches-py")
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return (*TRAIN, "--dataset", "cifar10", "--data_dir", place.root / "data")


@case("cifar10", "cifar-10-python.tar.gz", "--data_dir")
def data_set_missing(place):
    (place.root / "data").mkdir()
    return (*TRAIN, "--dataset", "cifar10", "--data_dir", place.root / "data")


def save_images(folder, *sizes, mode="L"):
    folder.mkdir()
    for number, size in enumerate(sizes):
        Image.new(mode, size).save(folder / f"{number}.png")
    return folder


@case("images: no image found")
def image_folder_empty(place):
    return (*TRAIN, "--dataset", save_images(place.root / "images"))


@case("broken.npz", "not a complete .npz")
def data_npz_broken(place):
    (place.root / "broken.npz").write_bytes(b"PK\x03\x04 and no more")
    return (*TRAIN, "--dataset", place.root / "broken.npz")


@case("--workdir", "is inside the folder of images", "Choose another folder")
def samples_among_the_images(place):
    images = save_images(place.root / "images", (8, 8), (8, 8))
    return (*TRAIN, "--dataset", images, "--workdir", images / "out")


simple("data_set_unknown", (*TRAIN, "--dataset", "digts"), "digts: no such data set or path", "Did you mean digits?")
simple("more_images_than_there_are", (*NLL, "--num_images", "298"), "--num_images 298",
       "the data set has only 297 images")

# ---- configurations

simple("preset_unknown", ("train", "--config", "qc_digit"), "--config qc_digit: unknown preset",
       "Did you mean qc_digits?")
simple("config_file_unknown", ("train", "--config", "my/config.py"), "my/config.py", "no other program is run")
simple("entry_unknown", (*TRAIN, "--config.model.dropuot=0.1"), "--config.model.dropuot", "Did you mean model.dropout?")
simple("section_unknown", (*TRAIN, "--config.modle.nf=8"), "--config.modle.nf", "Did you mean model.nf?")
simple("value_of_another_kind", (*TRAIN, "--config.model.nf=big"), "--config.model.nf: expected an integer, not 'big'")
simple("value_missing", (*TRAIN, "--config.model.nf"), "--config.model.nf: expected a value")
simple("value_not_supported", (*TRAIN, "--config.model.nonlinearity=relu"), "only 'swish' is supported")
simple("value_out_of_range", (*TRAIN, "--config.model.dropout=1.5"),
       "--config.model.dropout=1.5: must be at least 0 and below 1")
simple("value_nan", (*TRAIN, "--balancing_fac", "nan"), "--balancing_fac nan: must be a finite number")
simple("size_that_cannot_be_halved", (*TRAIN, "--config.model.ch_mult=1,2", "--config.data.image_size=7"),
       "image_size=7: must be divisible by 2")
simple("last_step_before_the_first", (*TRAIN, "--init_step", "9"),
       "--n_iters 4: the first step is 9: there is nothing to do")
simple("regulariser_on_a_conservative_model", (*TRAIN, "--config.model.energy=true", "--balancing_fac", "1"),
       "--balancing_fac: a C-NCSN++ is already conservative")

# ---- flags

simple("ode_with_pc", (*SAMPLE, "--ode", "--method", "pc"), "--ode: contradicts --method pc")
simple("division_out_of_range", (*SAMPLE, "--num_divisions", "3", "--division_idx", "3"),
       "--division_idx 3: must be below --num_divisions 3")
simple("no_samples", (*SAMPLE, "--num_samples", "0"), "--num_samples 0: must be from 1 to 10,000,000")
simple("batch_of_none", (*SAMPLE, "--bs", "0"), "--bs 0: must be at least 1")
simple("batch_of_none_in_training", (*TRAIN, "--bs", "0"), "--bs 0: must be at least 1")
simple("batch_of_none_in_evaluation", (*NLL, "--bs", "0"), "--bs 0: must be at least 1")
simple("levels_none_in_the_configuration", (*ASYM, "--config.eval.noise_levels=0"),
       "--config.eval.noise_levels=0: must be at least 1")
simple("levels_none", (*ASYM, "--nl", "0"), "--nl 0: must be at least 1")
simple("tolerance_negative", (*NLL, "--rtol", "-1"), "--rtol -1.0: must be above 0 and below 1")
simple("tolerance_zero", (*SAMPLE, "--rtol", "0"), "--rtol 0.0: must be above 0 and below 1")
simple("parts_larger_than_the_batch", (*TRAIN, "--accumulate", "17"), "a batch of 16 cannot be split into 17 parts")
simple("flag_unknown", (*SAMPLE, "--num_sample", "5"), "--num_sample: unknown flag", "Did you mean --num_samples?")
simple("flag_without_value", (*SAMPLE, "--seed"), "--seed: expected a value")
simple("flag_of_another_kind", (*SAMPLE, "--seed", "1.5"), "--seed: expected an integer, not '1.5'")
simple("tolerance_of_no_solver", (*SAMPLE, "--rtol", "0.1"), "--rtol: acts on --method ode, which is not asked for")
simple("levels_of_another_sampler", ("sample", "--num_samples", "2", "--num_steps", "4", "--device", "cpu"),
       "--num_steps: acts on --method multistep or heun")
simple("choice_unknown", (*SAMPLE, "--method", "euler"),
       "--method: invalid choice 'euler' (choose from 'pc', 'ode', 'multistep'")
simple("word_unexpected", (*SAMPLE, "digits"), "digits: unexpected argument")
simple("device_unknown", (*TRAIN, "--device", "gpu"), "--device: unknown device 'gpu'", "cuda")
simple("subcommand_unknown", ("trian",), "unknown subcommand", "Did you mean train?")
simple("evaluation_unknown", ("eval", "nl"), "unknown subcommand", "Did you mean nll?")


@case("--device: 'cuda' is not available", "Use cpu or auto")
def device_missing(place):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    return (*TRAIN, "--device", "cuda")


@case("--config: missing required flag")
def flag_missing(place):
    return ("train", "--workdir", place.work)


# ---- places and records


@case("W: a part of the path is a file")
def work_folder_is_a_file(place):
    place.work.write_text("")
    return TRAIN


@case("nll", "Compute it first")
def nothing_stored_to_read(place):
    return ("eval", "nll", "--read")


@case("asym", "Compute it first")
def no_asymmetry_stored_to_read(place):
    return ("eval", "asym", "--read")


@case("bpd_0.npz", "NaN")
def nan_stored(place):
    (place.work / "nll").mkdir(parents=True)
    np.savez(place.work / "nll" / "bpd_0.npz", bpd=np.array([1.0, np.nan]), nfe=3)
    return ("eval", "nll", "--read")


@case("run.json: not valid JSON", "Restore or remove the file")
def record_corrupt(place):
    place.work.mkdir()
    (place.work / "run.json").write_text('{"status": "do')
    return TRAIN


@case("run.json: not the record of a run")
def record_of_something_else(place):
    place.work.mkdir()
    (place.work / "run.json").write_text('["a"]')
    return TRAIN


@case("run.json: the run in this folder has seed 3, this command has 0", "--overwrite")
def record_of_another_run(place):
    good(*TRAIN, "--workdir", place.work, "--seed", "3")
    return TRAIN


@case("must be .pth, the other .safetensors", "Rename one")
def conversion_to_the_same_kind(place):
    return ("convert", "--checkpoint", place.trained / "checkpoints" / "checkpoint_1.pth", "--output",
            place.root / "b.pth")


@case("there.safetensors: exists, and differs from this conversion", "--overwrite")
def conversion_onto_a_file(place):
    (place.root / "there.safetensors").write_text("mine")
    path = place.trained / "checkpoints" / "checkpoint_1.pth"
    return ("convert", "--checkpoint", path, "--output", place.root / "there.safetensors")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A work folder with a trained checkpoint."""
    folder = tmp_path_factory.mktemp("trained")
    good(*TRAIN, "--workdir", folder)
    return folder


@pytest.fixture
def place(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))  # no data sets of this machine
    return Place(tmp_path, trained)


def complete(words, place):
    """Return the words as texts; where they name no work folder, with one, and with a checkpoint to use in it."""
    words = list(map(str, words))
    if words[0] not in ("train", "sample", "eval") or "--workdir" in words or len(words) < 3:
        return words
    words += ["--workdir", str(place.work)]
    if words[0] != "train" and "--read" not in words and "--checkpoint" not in words:
        words += ["--checkpoint", str(place.trained / "checkpoints" / "checkpoint_1.pth")]
    return words


def check_message(ended, said):
    """One line that begins with `error: `, names everything in `said` and ends as a sentence."""
    assert ended.status == 2, ended
    assert ended.out == ""
    assert ended.err.count("\n") == 1, ended.err
    line = ended.err.rstrip("\n")
    assert line.startswith("error: ")
    assert line.endswith((".", "?"))
    assert len(line) < 600
    for text in said:
        assert text in line, line


@pytest.mark.parametrize("name", CASES)
def test_wrong_input_is_told_in_one_line_and_nothing_is_written(name, place):
    prepare, said = CASES[name]
    words = complete(prepare(place), place)
    before, trained = listing(place.root), listing(place.trained)
    check_message(call(*words), said)
    assert listing(place.root) == before
    assert listing(place.trained) == trained
    assert not (place.root / MARK).exists()


@pytest.mark.parametrize("name", ["checkpoint_that_runs_code", "flag_unknown", "imagenet_labels_out_of_range"])
def test_wrong_input_in_a_process_of_its_own(name, place):
    prepare, said = CASES[name]
    words = complete(prepare(place), place)
    before = listing(place.root)
    check_message(run(*words), said)
    assert listing(place.root) == before
    assert not (place.root / MARK).exists()


def test_there_are_thirty_kinds():
    assert len(CASES) >= 30


# ---- the system refuses


def refuse(number, after=0):
    """Return a function that passes `after` calls and then fails as the system does; it counts its failures."""

    def failing(*arguments, original=None, **named):
        failing.calls += 1
        if failing.calls > after:
            failing.failed += 1
            raise OSError(number, os.strerror(number))
        return original(*arguments, **named)

    failing.calls = failing.failed = 0
    return failing


@pytest.mark.parametrize("words", [TRAIN, SAMPLE, NLL, ASYM], ids=["train", "sample", "nll", "asym"])
def test_a_read_only_place_is_found_before_any_work(words, place, monkeypatch):
    words = complete(words, place)
    path_type = type(place.root)
    write = path_type.write_bytes

    def write_bytes(self, data):
        if place.root in self.parents:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        return write(self, data)

    monkeypatch.setattr(path_type, "write_bytes", write_bytes)
    check_message(call(*words),
                  [str(place.work), "read-only file system", "Choose an output folder on a writable disk"])
    assert listing(place.root) == {}


@pytest.mark.parametrize("after", [3, 8])
def test_a_disk_that_fills_during_training_loses_nothing(after, place, trained, monkeypatch):
    failing, write = refuse(errno.ENOSPC, after), common_checkpoints._Remembering.write
    with monkeypatch.context() as patch:
        patch.setattr(common_checkpoints._Remembering, "write", lambda self,
                      data: _failing_write(failing, write, self, data))
        check_message(call(*TRAIN, "--workdir", place.work, "--quiet"),
                      ["checkpoint", "no space left on the disk", "same command again"])
    assert failing.failed
    after_a_full_disk(place, TRAIN, trained)


def _failing_write(failing, write, stream, data):
    try:
        return failing(stream, data, original=write)
    except OSError as error:
        stream.error = error
        raise


@pytest.mark.parametrize(("words", "folder"), [(SAMPLE, "eval_sampling/0"), (NLL, "nll"), (ASYM, "asym")],
                         ids=["sample", "nll", "asym"])
@pytest.mark.parametrize("after", [1, 3])
def test_a_disk_that_fills_while_writing_results_loses_nothing(words, folder, after, place, trained, monkeypatch,
                                                               rough_figures):
    path = trained / "checkpoints" / "checkpoint_1.pth"
    words = (*words, "--checkpoint", path)
    failing, fsync = refuse(errno.ENOSPC, after), os.fsync
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", lambda number: failing(number, original=fsync))
        check_message(call(*words, "--workdir", place.work, "--quiet"),
                      ["no space left on the disk", "same command again"])
    assert failing.failed
    whole = place.root / "whole"
    good(*words, "--workdir", whole)
    after_a_full_disk(place, words, whole, folder)


def after_a_full_disk(place, words, whole, folder="."):
    """What is there is complete, no half file is left, and the same command ends as if nothing had happened."""
    assert leftovers(place.work) == []
    check_complete(place.work)
    good(*words, "--workdir", place.work)
    assert contents(place.work / folder) == contents(whole / folder)


def test_a_disk_that_fills_while_logging_is_told_in_one_line(place, monkeypatch):
    def full(path, text):
        with files.system_errors(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("common.training.log.append_text", full)
    check_message(call(*TRAIN, "--workdir", place.work, "--quiet"), ["log.jsonl", "no space left on the disk"])


def test_a_training_that_diverges_saves_nothing_of_it(place):
    words = (*TRAIN, "--config.optim.lr=1e30", "--config.optim.warmup=0", "--n_iters", "50", "--quiet")
    check_message(call(*words, "--workdir", place.work), ["the gradient is no longer finite at step", "--restore"])
    for path in place.work.rglob("*.pth"):
        assert all(bool(tensor.isfinite().all()) for tensor in load_torch(path)["model"].values())


def test_a_network_whose_ode_has_no_solution_is_told_in_one_line(place):
    state = place.state()
    for name, tensor in state["model"].items():
        if name.endswith("weight") and tensor.dim() == 4:
            tensor *= 1e9
    torch.save(state, place.root / "wild.pth")
    words = (*NLL, "--checkpoint", place.root / "wild.pth", "--workdir", place.work, "--quiet")
    check_message(call(*words), ["no finite solution"])


def test_more_processes_than_images_in_a_batch(place, monkeypatch):
    monkeypatch.setenv("RANK", "0")  # as torchrun does
    monkeypatch.setenv("WORLD_SIZE", "17")
    ended = call(*TRAIN, "--workdir", place.work)
    check_message(ended, ["--bs: a batch of 16 cannot be split into 17 parts", "Use a larger batch, fewer processes"])
    assert listing(place.root) == {}
