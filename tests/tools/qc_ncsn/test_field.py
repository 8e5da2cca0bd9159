"""Faults that were found in the field, by their numbers: configurations, checkpoints, comparisons, standard errors."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from common.errors import InputError
from common.files import read_json, write_json, write_npz
from common.locks import lock_file
from common.record import LOCK
from common.score.config import check_same_model, override, preset
from common.score.container import read_checkpoint
from common.score.models import find_checkpoint
from common.score.ranges import check_config
from tests.tools.commands import ROOT, call_tool, environment
from tests.tools.qc_ncsn.runs import kill_after
from tools.qc_ncsn.evaluate import asym
from tools.qc_ncsn.evaluate.stored import read_nll
from tools.qc_ncsn.work_dir import WorkDir

FILE = "configs/qc_ncsn/training/cifar10_ncsnpp_deep_continuous.py"
TEXT = "def get_config():\n  config = get_default_configs()\n  model = config.model\n  model.nf = {}\n  return config\n"


@pytest.mark.parametrize("entry", ["model.sigma_max=10", "model.energy=true", "data.num_channels=3"])
def test_Q2_a_configuration_that_contradicts_the_checkpoint_is_refused_by_its_first_entry(entry):
    stored = override(preset("u_digits"), [entry])
    with pytest.raises(InputError, match=f"was trained with {entry.split('=')[0]} .*this command's configuration has"):
        check_same_model(preset("u_digits"), stored, "checkpoint_1.pth")
    check_same_model(override(preset("u_digits"), [entry, "sampling.snr=0.2", "loss.slices=4"]), stored, "x")


@pytest.mark.parametrize("name", ["configs/vp/cifar10_ncsnpp_deep_continuous.py", "cifar10_ncsnpp_deep_continuous.py",
                                  "configs/subvp/cifar10_ncsnpp_continuous.py", "configs/qc_ncsn/cifar10_config.py"])
def test_Q3_only_the_published_paths_name_a_preset(name):
    with pytest.raises(InputError, match="not the path of a published configuration file"):
        preset(name)


def test_Q3_a_file_that_differs_from_the_published_one_is_named_and_never_run(tmp_path):
    path = tmp_path / FILE
    path.parent.mkdir(parents=True)
    path.write_text(TEXT.format(128) + "raise SystemExit('it was run')\n")
    assert preset(path) == preset(FILE) == preset("qc_cifar10")
    path.write_text(TEXT.format(64))
    with pytest.raises(InputError, match="this file sets model.nf to 64, the published one sets 128"):
        preset(path)
    for line, what in (("config.training.n_iters = 5", "training.n_iters to 5, the published one sets 750001"),
                       ("data = config.data; data.random_flip = False", "data.random_flip to False"),
                       ("config.training.likelihood_weighting = True", "training.likelihood_weighting to True")):
        path.write_text(f"{TEXT.format(128)}{line}\n")
        with pytest.raises(InputError, match=f"this file sets {what}"):
            preset(path)
    path.write_text("not Python (")
    with pytest.raises(InputError, match="it is not Python"):
        preset(path)


@pytest.mark.parametrize("entry", ["data.centered=true", "seed=7", "data.uniform_dequantization=true"])
def test_Q4_an_entry_that_does_not_act_is_refused(entry):
    with pytest.raises(InputError):
        override(preset("u_digits"), [entry])


@pytest.mark.parametrize("entry", ["model.ch_mult=0,1", "model.num_scales=-3", "model.init_scale=nan",
                                   "model.sigma_max=inf", "optim.grad_clip=nan", "sampling.batch_size=0"])
def test_Q4_an_entry_out_of_its_range_is_refused(entry):
    with pytest.raises(InputError, match=entry.split("=")[0]):
        check_config(override(preset("u_digits"), [entry]))


def write_nll(work, seed=0, weights="raw", repeats=1, images=6, offset=0.0):
    """Write a finished evaluation of bits/dim: repeats of an image differ little, images much."""
    values = np.arange(images) + offset + 1e-3 * np.random.default_rng(seed).standard_normal((repeats, images))
    for repeat in range(repeats):
        write_npz(work.nll / f"bpd_{repeat}.npz", bpd=values[repeat].astype(np.float32), nfe=np.int64(50),
                  index=np.arange(images), repeat=np.int64(repeat), nfe_per_image=np.full(images, 50))
    options = {"weights": weights, "split": "test", "seed": seed, "num_images": images, "total_repeat": repeats,
               "rtol": 1e-3, "atol": 1e-5, "coupling": "image"}
    write_json(work.nll / "run.json", {"status": "done", "tool": "qc_ncsn", "command": "qc_ncsn eval nll",
                                       "options": options, "derived": {"data": "digits"},
                                       "results": {"nll": float(values.mean()), "nll_se": 0.7}})
    return values


def compare(folder, *words):
    """Run `qc_ncsn compare` and return how it ended."""
    return call_tool("qc_ncsn", "compare", "--output_dir", folder / "table", "--json", *words)


@pytest.mark.parametrize(("other", "what"), [({"weights": "ema"}, "weights"), ({"seed": 1}, "seed"), ({}, None)])
def test_Q5_evaluations_that_differ_in_more_than_the_model_are_not_paired(tmp_path, other, what):
    works = [WorkDir(tmp_path / name) for name in "ab"]
    write_nll(works[0])
    write_nll(works[1], offset=0.5, **other)
    ended = compare(tmp_path, "--workdirs", works[0].root, works[1].root)
    entry = ended.results["b"]
    assert ("nll_difference" in entry) == (what is None)
    assert (f"nll of b and a differ in {what}" in ended.err) == (what is not None)
    assert f"{other.get('weights', 'raw')}, 6 images, test" in (tmp_path / "table" / "table.md").read_text()


def test_Q5_two_folders_of_one_name_or_one_folder_twice_are_refused(tmp_path):
    for name in ("u/run", "q/run"):
        (tmp_path / name).mkdir(parents=True)
    line = compare(tmp_path, "--workdirs", tmp_path / "u/run", tmp_path / "q/run").err
    assert "two of the folders are called 'run'" in line
    line = compare(tmp_path, "--workdirs", tmp_path / "u/run", tmp_path / "u/run", "--names", "a", "b").err
    assert "is given twice" in line


def test_Q6_repeats_of_an_image_are_one_value_in_a_standard_error(tmp_path):
    work = WorkDir(tmp_path / "w")
    values = write_nll(work, repeats=8)
    found = read_nll(work.nll)
    by_image = values.mean(axis=0)
    assert found["bits_per_dim_stderr"] == pytest.approx(by_image.std(ddof=1) / 6**0.5, rel=1e-4)
    assert found["num_images"] == 6


def test_Q6_one_image_has_no_standard_error(capsys):
    assert np.isnan(asym._error(np.ones((3, 1)))).all()
    results = {"weights": "raw", "num_images": 1, "levels": 3, "asym": 1.0, "asym_se": None, "nasym": 2.0,
               "nasym_se": float("nan"), "nasym_ratio": 2.0}
    asym.show(json.loads(json.dumps(results)))
    assert "+-" not in capsys.readouterr().err


def test_Q9_the_newest_snapshot_of_our_runs_is_the_default_and_70_of_the_originals(tmp_path):
    work = WorkDir(tmp_path / "w")
    work.checkpoints.mkdir(parents=True)
    for number in (60, 70, 75):
        work.checkpoint(number).touch()
    assert find_checkpoint(work) == work.checkpoint(70)
    write_json(work.root / "run.json", {"tool": "qc_ncsn", "options": {}})
    assert find_checkpoint(work) == work.checkpoint(75)


def test_other_features_on_the_same_work_folder_are_refused(tmp_path, monkeypatch):
    from common.features import spaces

    small = spaces.open_space("small")
    monkeypatch.setattr(spaces, "open_space", lambda *_: small)
    write_npz(tmp_path / "w" / "eval_sampling" / "0" / "samples_0.npz", nfe=np.int64(1),
              samples=np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), np.uint8))
    words = ("qc_ncsn", "eval", "encode", "--workdir", tmp_path / "w", "--device", "cpu", "--quiet", "--features")
    assert call_tool(*words, "small").status == 0
    before = (tmp_path / "w" / "stat" / "generated_stat.npz").read_bytes()
    ended = call_tool(*words, "inception")
    assert ended.status == 2
    assert "has features small, this command has inception" in ended.err
    assert (tmp_path / "w" / "stat" / "generated_stat.npz").read_bytes() == before


def test_a_comparison_of_other_runs_in_the_same_folder_is_refused(tmp_path):
    works = [WorkDir(tmp_path / name) for name in "abc"]
    for work in works:
        write_nll(work)
    assert compare(tmp_path, "--workdirs", works[0].root, works[1].root).status == 0
    before = (tmp_path / "table" / "table.md").read_bytes()
    ended = compare(tmp_path, "--workdirs", works[0].root, works[2].root)
    assert ended.status == 2
    assert "workdirs" in ended.err
    assert (tmp_path / "table" / "table.md").read_bytes() == before


SMALL = ("--config", "u_digits", "--config.model.nf=4", "--config.model.ch_mult=1",
         "--config.model.attn_resolutions=()", "--bs", "4", "--device", "cpu")
JOBS = {  # command: (words, a file that the original leaves there)
    "sample": (("sample", "--num_samples", "2", "--method", "multistep", "--num_steps", "2"),
               "eval_sampling/0/samples_0.npz", {"samples": np.zeros((3, 8, 8, 1), np.uint8), "nfe": np.int64(2000)}),
    "nll": (("eval", "nll", "--num_images", "1", "--rtol", "0.5", "--atol", "0.5"), "nll/bpd_0.npz",
            {"bpd": np.ones(3, np.float32), "nfe": np.int64(3)}),
    "asym": (("eval", "asym", "--num_images", "1", "--nl", "2"), "asym/repeat_0.npz",
             {"asym": np.ones(2), "nasym": np.ones(2)}),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The checkpoint of a short training."""
    folder = tmp_path_factory.mktemp("field") / "w"
    assert call_tool("qc_ncsn", "train", *SMALL, "--n_iters", "1", "--workdir", folder, "--quiet").status == 0
    return folder / "checkpoints-meta" / "checkpoint.pth"


@pytest.mark.parametrize("name", JOBS)
def test_Q1_files_without_a_record_are_neither_replaced_nor_adopted(name, trained, tmp_path, rough_figures):
    words, place, arrays = JOBS[name]
    words = ("qc_ncsn", *words, "--checkpoint", trained, "--device", "cpu", "--quiet", "--workdir")
    write_npz(tmp_path / "theirs" / place, **arrays)
    before = (tmp_path / "theirs" / place).read_bytes()
    assert call_tool(*words, tmp_path / "ours").status == 0
    own = (tmp_path / "ours" / place)
    kept = own.read_bytes()
    (own.parent / "run.json").unlink()
    for folder, more in (("theirs", ()), ("theirs", ("--dry_run",)), ("ours", ()), ("ours", ("--seed", "5"))):
        ended = call_tool(*words, tmp_path / folder, *more)
        assert ended.status == 2
        assert "is in the way: no record says what wrote it" in ended.err
    assert ((tmp_path / "theirs" / place).read_bytes(), own.read_bytes()) == (before, kept)


@pytest.mark.long
def test_Q8_a_reader_that_goes_away_and_a_hang_up_lose_nothing(tmp_path):
    command = [sys.executable, "-m", "tools.qc_ncsn", "train", *SMALL, "--n_iters", "5", "--workdir", tmp_path / "w"]
    line = '"$@" 2>&1 | head -1'
    shown = subprocess.run(["bash", "-o", "pipefail", "-c", line, "-", *map(str, command)], cwd=ROOT, env=environment(),
                           capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert read_json(tmp_path / "w" / "run.json")["results"]["step"] == 5
    ended, _ = kill_after((*command[3:-1], tmp_path / "h", "--n_iters", "100000"), tmp_path / "h",
                          (tmp_path / "h" / "log.jsonl").exists, 0.5, signal.SIGHUP)
    assert ended.status == 130
    assert read_checkpoint(tmp_path / "h" / "checkpoints-meta" / "checkpoint.pth")["step"] > 0


def test_Q10_a_second_trainer_in_one_folder_is_refused(tmp_path):
    (tmp_path / "w").mkdir()
    lock = lock_file(tmp_path / "w" / LOCK, tmp_path / "w")
    ended = call_tool("qc_ncsn", "train", *SMALL, "--n_iters", "1", "--workdir", tmp_path / "w")
    lock.close()
    assert ended.status == 2
    assert "another process is writing into this folder" in ended.err
    assert not (tmp_path / "w" / "checkpoints-meta").exists()
