"""Killed, interrupted, extended or changed: what a second command on the same folder does."""

import shutil
import signal

import pytest

from tests.tools.qc_ncsn.runs import (
    TINY,
    call,
    contents,
    good,
    kill_after,
    leftovers,
    listing,
    log_rows,
    run,
)

TRAIN = ("train", *TINY, "--n_iters", "12", "--config.training.snapshot_freq=4", "--log_freq", "1",
         "--config.training.snapshot_freq_for_preemption=3")
SAMPLE = ("sample", "--num_samples", "24", "--bs", "8", "--method", "multistep", "--num_steps", "8")
NLL = ("eval", "nll", "--num_images", "3", "--bs", "2", "--rtol", "0.5", "--atol", "0.5")
ASYM = ("eval", "asym", "--num_images", "4", "--bs", "3", "--nl", "4")
JOBS = {"sample": (SAMPLE, "eval_sampling/0"), "nll": (NLL, "nll"), "asym": (ASYM, "asym")}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished work folder: training, samples, likelihoods, asymmetries."""
    folder = tmp_path_factory.mktemp("work") / "trained"
    for words in (TRAIN, SAMPLE, NLL, ASYM):
        good(*words, "--workdir", folder)
    return folder


@pytest.fixture
def work(trained, tmp_path):
    """A copy of that folder."""
    shutil.copytree(trained, tmp_path / "work")
    return tmp_path / "work"


def checkpoints(folder):
    return {name: data for name, data in contents(folder).items() if name.endswith(".pth")}


@pytest.mark.long
def test_training_killed_twice_ends_with_the_same_bytes(tmp_path):
    long = (*TRAIN, "--n_iters", "30", "--config.training.snapshot_freq=10")  # so long that both kills meet it running
    good(*long, "--workdir", tmp_path / "whole")
    words = (*long, "--workdir", tmp_path / "cut", "--quiet")
    log = tmp_path / "cut" / "log.jsonl"
    for count in (3, 15):
        ended, running = kill_after(words, tmp_path / "cut",
                                    lambda n=count: log.exists() and log.read_text().count("\n") > n, 0)
        assert running
        assert ended.status == -signal.SIGKILL
    assert run(*words).status == 0
    assert leftovers(tmp_path / "cut") == []
    assert checkpoints(tmp_path / "cut") == checkpoints(tmp_path / "whole")
    assert len(checkpoints(tmp_path / "cut")) == 4
    assert log_rows(tmp_path / "cut") == log_rows(tmp_path / "whole")


def test_training_told_to_stop_saves_and_goes_on(tmp_path):
    words = (*TRAIN, "--workdir", tmp_path / "cut", "--quiet", "--n_iters", "300")
    log = tmp_path / "cut" / "log.jsonl"
    ended, running = kill_after(words, tmp_path / "cut", lambda: log.exists() and log.read_text().count("\n") > 6, 0,
                                signal.SIGTERM)
    assert running
    assert ended.status == 130
    assert ended.err.startswith("interrupted; progress saved, resume with: python -m "
                                "tools.qc_ncsn train")
    saved = (tmp_path / "cut" / "checkpoints-meta" / "checkpoint.pth").stat().st_mtime_ns
    assert saved >= log.stat().st_mtime_ns  # saved after the last step it did


@pytest.mark.long  # tests/faults kills each of them 20 times
@pytest.mark.parametrize("name", JOBS)
def test_a_job_killed_amid_its_files_ends_with_the_same_bytes(name, trained, tmp_path):
    words, place = JOBS[name]
    shutil.copytree(trained / "checkpoints", tmp_path / "cut" / "checkpoints")
    words = (*words, "--workdir", tmp_path / "cut", "--quiet")
    ended, running = kill_after(words, tmp_path / "cut", lambda: any((tmp_path / "cut" / place).glob("**/*.npz")), 0)
    assert running
    assert ended.status == -signal.SIGKILL
    assert run(*words).status == 0
    assert leftovers(tmp_path / "cut") == []
    assert contents(tmp_path / "cut" / place) == contents(trained / place)


@pytest.mark.parametrize(("name", "lost"),
                         [("sample", "samples_1.npz"), ("nll", "bpd_0.npz"), ("asym", "repeat_0.npz")])
def test_what_is_missing_from_a_finished_job_is_made_again(name, lost, trained, work):
    words, place = JOBS[name]
    (work / place / lost).unlink()
    good(*words, "--workdir", work)
    assert contents(work / place) == contents(trained / place)


@pytest.mark.parametrize("name", ["train", *JOBS])
def test_a_finished_job_answers_without_touching_anything(name, work):
    words = TRAIN if name == "train" else JOBS[name][0]
    before = listing(work)
    results = good(*words, "--workdir", work, *(() if name == "train" else ("--bs", "5")))
    assert results
    assert listing(work) == before


@pytest.mark.parametrize("name", ["train", *JOBS])
def test_a_dry_run_writes_nothing(name, trained, tmp_path):
    words = TRAIN if name == "train" else JOBS[name][0]
    if name != "train":
        shutil.copytree(trained / "checkpoints", tmp_path / "new" / "checkpoints")
    before = listing(tmp_path / "new")
    ended = call(*words, "--workdir", tmp_path / "new", "--dry_run")
    assert ended.status == 0, ended.err
    assert ended.err.startswith("would ")
    assert listing(tmp_path / "new") == before
    assert (tmp_path / "new").exists() == (name != "train")


@pytest.mark.parametrize("name", ["train", *JOBS])
def test_overwriting_starts_anew(name, trained, work):
    words, place = (TRAIN, ".") if name == "train" else JOBS[name]
    good(*words, "--workdir", work, "--seed", "1", "--overwrite")
    stem = "checkpoints/checkpoint_1.pth" if name == "train" else next(path
                                                                       for path in contents(trained / place)
                                                                       if ".npz" in path)
    assert contents(work / place)[stem] != contents(trained / place)[stem]
    good(*words, "--workdir", work, "--overwrite")
    assert contents(work / place) == contents(trained / place)


def test_more_steps_extend_a_run_to_the_bytes_of_a_longer_one(work, tmp_path):
    longer = tuple("16" if word == "12" else word for word in TRAIN)
    good(*longer, "--workdir", work)
    good(*longer, "--workdir", tmp_path / "straight")
    got, straight = checkpoints(work), checkpoints(tmp_path / "straight")
    assert list(got) == list(straight)
    # earlier ones tell another n_iters
    for name in ("checkpoints/checkpoint_4.pth", "checkpoints-meta/checkpoint.pth"):
        assert got[name] == straight[name]


def test_more_samples_images_and_repeats_extend_a_job(work, tmp_path, trained, rough_figures):
    shutil.copytree(trained / "checkpoints", tmp_path / "straight" / "checkpoints")
    first = (work / "eval_sampling/0/samples_1.npz").stat().st_mtime_ns
    for words, place in (((*SAMPLE, "--num_samples", "30"), "eval_sampling/0"),
                         ((*NLL, "--num_images", "4", "--total_repeat", "2"), "nll"),
                         ((*ASYM, "--total_repeat", "2"), "asym")):
        good(*words, "--workdir", work)
        good(*words, "--workdir", tmp_path / "straight")
        assert contents(work / place) == contents(tmp_path / "straight" / place)
    assert (work / "eval_sampling/0/samples_1.npz").stat().st_mtime_ns == first  # only what was missing was made


CHANGED = {
    "seed": (TRAIN, ("--seed", "1"), "has seed 0, this command has 1"),
    "batch size": (TRAIN, ("--bs", "32"), "has bs 16, this command has 32"),
    "fewer steps": (TRAIN, ("--n_iters", "8"), "has n_iters 12, this command has 8"),
    "network": (TRAIN, ("--config.model.nf=8",), "has model.nf 4, this command has 8"),
    "regulariser": (TRAIN, ("--balancing_fac", "0.1"), "has balancing_fac 0.0, this command has 0.1"),
    "data": (TRAIN, ("--dataset", "photos32", "--config.data.image_size=8", "--config.data.num_channels=3"), "digits"),
    "sampler": (SAMPLE, ("--method", "heun"), "has method multistep, this command has heun"),
    "sampling steps": (SAMPLE, ("--num_steps", "9"), "has num_steps 8, this command has 9"),
    "fewer samples": (SAMPLE, ("--num_samples", "20"), "has num_samples 24, this command has 20"),
    "weights": (SAMPLE, ("--weights", "raw"), "has weights ema, this command has raw"),
    "checkpoint": (SAMPLE, ("--checkpoint_idx", "1"), "has checkpoint sha256"),
    "tolerance": (NLL, ("--rtol", "1e-2"), "has rtol 0.5, this command has 0.01"),
    "levels": (ASYM, ("--nl", "5"), "has nl 4, this command has 5"),
    "estimator": (ASYM, ("--estimator", "antisymmetric"), "has estimator paper, this command has antisymmetric"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_another_value_of_what_shapes_results_is_named(name, work):
    words, change, said = CHANGED[name]
    before = listing(work)
    ended = call(*words, "--workdir", work, *change)
    assert ended.status == 2
    assert ended.err.startswith(f"error: {work}")
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert listing(work) == before
