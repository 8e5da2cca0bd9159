"""Images chosen by their numbers, single PNGs, and what stored files say of themselves."""

import json

import numpy as np
import pytest
from PIL import Image

from common.errors import InputError
from tests.tools.qc_ncsn.runs import call, good, listing
from tools.qc_ncsn.sample.rounds import parse_seeds

SMALL = ("--config", "u_digits", "--config.model.nf=4", "--config.model.ch_mult=1",
         "--config.model.attn_resolutions=()")
CPU = ("--device", "cpu")
METHODS = {"pc": ("--method", "pc", "--num_scales", "3"), "ode": ("--method", "ode", "--rtol", "0.1", "--atol", "0.1"),
           "multistep": ("--method", "multistep", "--num_steps", "3")}
MULTISTEP = METHODS["multistep"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds") / "w"
    good("train", *SMALL, *CPU, "--bs", "4", "--config.training.snapshot_freq=2", "--workdir", folder, "--n_iters", "2")
    return folder / "checkpoints" / "checkpoint_1.pth"


def sample(checkpoint, work, *words):
    return good("sample", *CPU, "--checkpoint", checkpoint, "--workdir", work, *words)


def stored(work, method="pc"):
    files = sorted((work / ("eval_sampling_ode" if method == "ode" else "eval_sampling")).glob("*/samples_*.npz"))
    archives = [np.load(path) for path in files]
    return [np.concatenate([archive[name] for archive in archives]) for name in ("index", "samples")]


@pytest.mark.parametrize("method", METHODS)
def test_a_chosen_image_is_the_image_of_that_number(method, checkpoint, tmp_path):
    sample(checkpoint, tmp_path / "all", *METHODS[method], "--num_samples", "9")
    sample(checkpoint, tmp_path / "some", *METHODS[method], "--seeds", "7-8,2", "--bs", "2", "--png")
    index, pixels = stored(tmp_path / "some", method)
    assert index.tolist() == [7, 8, 2]
    everything = stored(tmp_path / "all", method)[1]
    assert np.abs(pixels.astype(int) - everything[index].astype(int)).max() <= 1  # another batch: to rounding
    for number, image in zip(index, pixels):
        folder = "eval_sampling_ode" if method == "ode" else "eval_sampling"
        path = tmp_path / "some" / folder / "0" / "images" / f"{number:06d}.png"
        assert np.array_equal(np.asarray(Image.open(path)), image[..., 0])


def test_chosen_images_are_shared_among_divisions(checkpoint, tmp_path):
    for division in (0, 1):
        sample(checkpoint, tmp_path, *MULTISTEP, "--seeds", "100,3,50-52", "--num_divisions", "2", "--division_idx",
               division)
    assert stored(tmp_path)[0].tolist() == [100, 3, 50, 51, 52]


@pytest.mark.parametrize(("text", "numbers"), [("0-3", [0, 1, 2, 3]), ("5", [5]), ("4, 2-3,2", [4, 2, 3])])
def test_lists_of_numbers_keep_their_order_each_number_once(text, numbers):
    assert parse_seeds(text).tolist() == numbers


@pytest.mark.parametrize("text", ["", "a", "-1", "3-1", "1,,2", "1-", "1.5", "0-99999999999", str(2**63), "1-2-3"])
def test_other_lists_are_refused(text):
    with pytest.raises(InputError, match="--seeds"):
        parse_seeds(text)


def test_numbers_and_a_count_contradict_each_other_and_other_numbers_are_another_job(checkpoint, tmp_path):
    words = ("sample", *CPU, "--checkpoint", checkpoint, "--workdir", tmp_path / "w", *MULTISTEP)
    assert "contradicts --seeds" in call(*words, "--seeds", "1-2", "--num_samples", "3").err
    good(*words, "--seeds", "1-2")
    before = listing(tmp_path / "w")
    assert "has seeds 1-2, this command has 1-3" in call(*words, "--seeds", "1-3").err
    assert "has seeds 1-2, this command has None" in call(*words, "--num_samples", "3").err
    for same in ("1-2", "1,2", "1-2,1", " 1, 2"):
        assert good(*words, "--seeds", same)["num_samples"] == 2
    assert listing(tmp_path / "w") == before


def test_single_images_are_added_to_finished_samples_mended_and_extended(checkpoint, tmp_path):
    sample(checkpoint, tmp_path, *MULTISTEP, "--num_samples", "5", "--bs", "3")
    folder = tmp_path / "eval_sampling" / "0"
    before = (folder / "samples_0.npz").stat().st_mtime_ns
    sample(checkpoint, tmp_path, *MULTISTEP, "--num_samples", "5", "--bs", "3", "--png")
    assert sorted(path.name for path in (folder / "images").iterdir()) == [f"{number:06d}.png" for number in range(5)]
    whole = {path.name: path.read_bytes() for path in (folder / "images").iterdir()}
    (folder / "images" / "000001.png").write_bytes(b"torn")
    (folder / "images" / "000004.png").unlink()
    sample(checkpoint, tmp_path, *MULTISTEP, "--num_samples", "6", "--bs", "3")  # once made, they are kept complete
    found = {path.name: path.read_bytes() for path in (folder / "images").iterdir()}
    assert len(found) == 6
    assert {**found, **whole} == found
    assert (folder / "samples_0.npz").stat().st_mtime_ns == before


def test_Q1_each_stored_file_says_what_made_it(checkpoint, tmp_path):
    sample(checkpoint, tmp_path, *MULTISTEP, "--num_samples", "2", "--seed", "5")
    path = tmp_path / "eval_sampling" / "0" / "samples_0.npz"
    words = json.loads(str(np.load(path)["made_by"]))
    assert words["seed"] == 5
    assert words["weights"] == "ema"
    assert words["sampling"]["method"] == "multistep"
    assert words["checkpoint_sha256"] == json.loads((path.parent / "run.json").read_text())["inputs"][0]["sha256"]
    work = ("--workdir", tmp_path, *CPU, "--checkpoint", checkpoint, "--num_images", "1")
    good("eval", "nll", *work, "--rtol", "0.5", "--atol", "0.5")
    good("eval", "asym", *work, "--nl", "1")
    for name in ("nll/bpd_0.npz", "asym/levels_0/level_000.npz", "asym/repeat_0.npz"):
        words = json.loads(str(np.load(tmp_path / name)["made_by"]))
        assert words["command"] == f"qc_ncsn eval {name.split('/')[0]}"
        assert (words["seed"], words["weights"]) == (0, "raw")


def test_Q1_a_file_of_another_seed_between_ones_own_is_made_again(checkpoint, tmp_path):
    for name, seed in (("a", 1), ("b", 2)):
        sample(checkpoint, tmp_path / name, *MULTISTEP, "--num_samples", "2", "--seed", seed)
    mine, other = (tmp_path / name / "eval_sampling" / "0" / "samples_0.npz" for name in ("a", "b"))
    before = mine.read_bytes()
    mine.write_bytes(other.read_bytes())
    sample(checkpoint, tmp_path / "a", *MULTISTEP, "--num_samples", "3", "--seed", "1", "--bs", "2")
    assert mine.read_bytes() == before
