"""Several checkpoints of one folder: --checkpoint_idx 1 2 3."""

import json
import shutil

import numpy as np
import pytest

from tests.tools.qc_ncsn.runs import call, contents, good, kill_after, listing, run

SMALL = ("--config", "u_digits", "--config.model.nf=4", "--config.model.ch_mult=1",
         "--config.model.attn_resolutions=()")
CPU = ("--device", "cpu")
ALL = ("--checkpoint_idx", "1", "2", "3")
SAMPLE = ("sample", *CPU, "--method", "multistep", "--num_steps", "2", "--num_samples", "6", "--bs", "4")
NLL = ("eval", "nll", *CPU, "--num_images", "2", "--rtol", "0.5", "--atol", "0.5")
ASYM = ("eval", "asym", *CPU, "--num_images", "2", "--nl", "2")
PLACES = {NLL: "nll", ASYM: "asym", SAMPLE: "eval_sampling/0"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series") / "w"
    good("train", *SMALL, *CPU, "--bs", "4", "--config.training.snapshot_freq=2", "--workdir", folder, "--n_iters", "6")
    return folder


@pytest.fixture
def work(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "w")
    return tmp_path / "w"


@pytest.mark.parametrize("words", PLACES, ids=list(PLACES.values()))
def test_a_series_holds_what_each_checkpoint_alone_gives(words, work, tmp_path, rough_figures):
    before = listing(work)
    results = good(*words, "--workdir", work, *ALL)
    assert results["checkpoint_idx"] == [1, 2, 3]
    assert results["step"] == [2, 4, 6]
    changed = {name for name in listing(work) if name not in before}
    assert {name.split("/")[0] for name in changed} == {"by_checkpoint"}  # the layout of one checkpoint is untouched
    alone = good(*words, "--workdir", work, "--checkpoint_idx", "2")
    for name, value in alone.items():
        if name in results and name != "images_per_second":
            assert results[name][1] == value, name
    place = PLACES[words]
    assert contents(work / place) == contents(work / "by_checkpoint" / "2" / place)


def test_a_series_leaves_one_table_and_one_curve_and_answers_when_repeated(work):
    results = good(*NLL, "--workdir", work, *ALL)
    folder = work / "by_checkpoint" / "nll"
    lines = (folder / "table.csv").read_text().splitlines()
    assert lines[0].startswith("checkpoint_idx,nll,nll_se,nfe")
    assert [line.split(",")[:2] for line in lines[1:]] == [
        [str(number), str(value)] for number, value in zip([1, 2, 3], results["nll"])]
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    before = listing(work / "by_checkpoint" / "2")
    assert good(*NLL, "--workdir", work, *ALL) == results
    assert good(*NLL, "--workdir", work, "--checkpoint_idx", "3", "1", "2", "--read") == results
    assert listing(work / "by_checkpoint" / "2") == before
    assert good(*NLL, "--workdir", f"{work}/by_checkpoint/3")["nll"] == results["nll"][2]
    assert "of other checkpoints" in call(*NLL, "--workdir", work, "--checkpoint_idx", "1", "2", "--read").err


def test_a_series_is_extended_by_further_checkpoints_and_mended(work, rough_figures):
    first = good(*NLL, "--workdir", work, "--checkpoint_idx", "1", "3")
    before = listing(work / "by_checkpoint" / "1")
    (work / "by_checkpoint" / "3" / "nll" / "bpd_0.npz").write_bytes(b"torn")
    results = good(*NLL, "--workdir", work, *ALL)
    assert [results["nll"][0], results["nll"][2]] == first["nll"]
    assert listing(work / "by_checkpoint" / "1") == before
    assert np.load(work / "by_checkpoint" / "3" / "nll" / "bpd_0.npz")["bpd"].size == 2


def test_a_series_refuses_before_it_writes(work):
    before = listing(work)
    assert "Available snapshots: 1, 2, 3" in call(*NLL, "--workdir", work, "--checkpoint_idx", "1", "9").err
    path = work / "checkpoints" / "checkpoint_1.pth"
    assert "contradicts --checkpoint_idx" in call(*NLL, "--workdir", work, *ALL, "--checkpoint", path).err
    assert "was trained with model.nf 4" in call(*NLL, "--config", "u_digits", "--workdir", work, *ALL).err
    assert "Leave it out" in call("eval", "nfe", "--workdir", work, "--checkpoint_idx", "1").err
    ended = call(*NLL, "--workdir", work, *ALL, "--dry_run")
    assert ended.status == 0
    assert all(f"by_checkpoint/{number}/nll" in ended.err for number in (1, 2, 3))
    assert listing(work) == before


def test_samples_of_a_series_are_encoded_and_scored_against_one_reference(work, rough_figures):
    good(*SAMPLE, "--workdir", work, *ALL)
    good("eval", "encode", *CPU, "--features", "small", "--encode_dataset", "--workdir", work, *ALL)
    assert len(list(work.rglob("dataset_stat.npz"))) == 1
    assert (work / "by_checkpoint" / "sample" / "0" / "samples.png").exists()
    for name in ("fidis", "prdc", "nfe"):
        ended = call("eval", name, "--workdir", work, *ALL, "--json", *(("--nearest_k", "2") if name == "prdc" else ()))
        assert ended.status == 0, ended.err
        assert len((work / "by_checkpoint" / name / "table.csv").read_text().splitlines()) == 4
        if name == "fidis":
            assert len(set(ended.results["frechet_distance"])) == 3
    stored = json.loads((work / "by_checkpoint" / "1" / "eval_fidis" / "run.json").read_text())
    assert stored["results"]["reference"] == str(work / "by_checkpoint" / "stat" / "dataset_stat.npz")


@pytest.mark.long
def test_a_killed_series_ends_with_the_same_bytes(work, tmp_path):
    words = (*NLL, "--total_repeat", "6", *ALL, "--quiet")
    part = work / "by_checkpoint" / "2" / "nll" / "bpd_1.npz"
    kill_after((*words, "--workdir", work), work, part.exists, 0)
    shutil.copytree(work, tmp_path / "whole", ignore=shutil.ignore_patterns("by_checkpoint"))
    assert run(*words, "--workdir", work).status == 0
    good(*words, "--workdir", tmp_path / "whole")
    found = [{name: digest for name, digest in contents(folder / "by_checkpoint").items() if name.endswith("z")}
             for folder in (work, tmp_path / "whole")]
    assert found[0] == found[1]
    assert len(found[0]) == 18


def test_calculate_and_read_together_measure_and_show(work, rough_figures):
    assert good(*ASYM, "--workdir", work, "--calculate", "--read")["num_images"] == 2
    assert good(*NLL, "--workdir", work, "--calculate", "--read")["num_images"] == 2


@pytest.mark.long
def test_overwriting_a_series_remakes_each_part_and_removes_nothing_else(work):
    results = good(*NLL, "--workdir", work, *ALL)
    (work / "by_checkpoint" / "2" / "mine.txt").write_text("kept")
    before = {name: stamp for name, stamp in listing(work).items() if "/nll/" not in name}
    assert "would remove" in call(*NLL, "--workdir", work, *ALL, "--overwrite", "--dry_run").err
    assert good(*NLL, "--workdir", work, *ALL, "--overwrite") == results
    assert good(*NLL, "--workdir", work, *ALL, "--overwrite", "--seed", "3")["nll"] != results["nll"]
    assert {name: stamp for name, stamp in listing(work).items() if "/nll/" not in name} == before
    ended = call(*NLL, "--workdir", work, *ALL)
    assert ended.status == 2
    assert "has seed 3, this command has 0" in ended.err
