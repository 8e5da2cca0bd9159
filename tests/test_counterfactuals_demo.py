"""The demo of the counterfactuals, where it was made (make demo DEMO=counterfactuals), keeps what its page says."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from common.blobs.metadata import metadata_files, read_metadata
from common.explained.opening import open_explained
from docs.chains.parts.street_tables import distances, results
from docs.chains.parts.streets import COINS
from tests.tools.commands import ROOT

DEMO = ROOT / "out" / "demo" / "counterfactuals"
pytestmark = pytest.mark.skipif(not (DEMO / "table_scenes.csv").exists(), reason="the demo was not made here")
counterfactuals = pytest.mark.skipif(not (DEMO / "evaluation" / "run.json").exists(),
                                     reason="the demo's counterfactuals were not made here")


def rows(name):
    """Return {first cell: {column: number}} of a table of the demo."""
    with open(DEMO / name, newline="") as table:
        return {next(iter(row.values())): {key: float(value) for key, value in list(row.items())[1:]}
                for row in csv.DictReader(table)}


def test_models_decide_rightly_on_scenes_they_have_not_seen():
    for name in ("decision", "oracle"):
        assert results(DEMO / name)["names"] == list(COINS[:4])
        assert min(results(DEMO / name)["accuracy"]) >= 0.95
    table = rows("table_models.csv")
    assert all(min(table[name][coin] for coin in COINS[:4]) >= 0.95 for name in ("decision", "oracle"))


def test_the_biased_model_looks_at_the_sky():
    table = rows("table_models.csv")
    assert table["biased"]["green, sky agrees"] >= 0.95
    assert table["biased"]["green, sky disagrees"] <= 0.3
    assert table["decision"]["green, sky disagrees"] >= 0.95


def test_the_checkpoint_that_stays_is_the_nearest_to_held_out_scenes():
    fids = distances(DEMO / "gan")
    assert list(fids) == list(range(200, max(fids) + 1, 200))
    best = min(fids, key=fids.get)
    assert results(DEMO / "gan")["best_checkpoint"].endswith(f"step={best}.ckpt")
    assert fids[best] <= fids[200] / 4
    assert fids[best] < 1.0
    measured = json.loads((DEMO / "distance" / "run.json").read_text())["results"]
    assert measured["frechet_distance"] < 1.0


def test_the_judge_finds_each_thing_in_what_is_drawn():
    table = rows("table_scenes.csv")
    for thing in ("green light", "red light", "obstacle ahead", "obstacle left", "obstacle right"):
        assert table[thing]["drawn"] >= 0.03
        assert abs(table[thing]["real"] - 0.5) < 0.05
    assert len(list((DEMO / ".drawn" / "imgs").glob("*.png"))) == 2000


def test_the_encoder_finds_layouts_better_than_it_began():
    log = [json.loads(line) for line in (DEMO / "encoder_train" / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in log]
    assert np.mean(losses[-2:]) < losses[0]


def evaluation(name):
    """Return {attribute, or all: its measures} of an evaluation of the demo."""
    return results(DEMO / name)["attributes"]


@counterfactuals
def test_inversions_keep_what_the_model_decides():
    batches = [read_metadata(path) for _, path in metadata_files(DEMO / "counterfactuals")]
    names = [name for each in batches for name in each.names]
    model = open_explained(DEMO / "decision" / "checkpoint.tar")
    pixels = np.stack([np.asarray(Image.open(DEMO / ".scenes" / "val" / name).convert("RGB")) for name in names])
    decided = model.decided(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1)
    kept = (torch.cat([each.scores for each in batches]) > 0.5) == decided
    assert len(names) == 24
    assert kept.float().mean() >= 0.95


@counterfactuals
def test_decisions_flip_and_the_judge_sees_most_of_it():
    before, after = evaluation("evaluation_before"), evaluation("evaluation")
    assert list(after) == [*COINS[:4], "all"]
    for each, bar in ((before, 0.65), (after, 0.6)):
        assert each["all"]["pairs"] == 96
        assert each["all"]["success"] >= 0.9
        assert each["all"]["truth"] >= bar
        assert all(each[name]["truth_total"] > 0 for name in COINS[:4])


@counterfactuals
def test_sparse_counterfactuals_change_fewer_blobs_by_less_and_keep_more():
    before, after = evaluation("evaluation_before")["all"], evaluation("evaluation")["all"]
    assert after["success"] == before["success"]
    assert after["blobs_changed"] <= 0.4 * before["blobs_changed"]
    assert after["l1"] <= 0.75 * before["l1"]
    assert after["kept"] >= before["kept"] + 0.05
    assert after["truth"] >= before["truth"] - 0.12


@counterfactuals
def test_the_oracle_confirms_four_of_five_flips():
    assert evaluation("evaluation_before")["all"]["oracle_flip"] >= 0.8


@counterfactuals
def test_the_real_pictures_agree_with_most_flips():
    before, after = evaluation("evaluation_before")["all"], evaluation("evaluation")["all"]
    assert before["flip_on_real"] >= 0.6
    assert after["flip_on_real"] >= 0.45
