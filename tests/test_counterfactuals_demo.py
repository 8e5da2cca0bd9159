"""The demo of the counterfactuals, where it was made (make demo DEMO=counterfactuals), keeps what its page says."""

import csv
import json

import numpy as np
import pytest

from docs.chains.parts.street_tables import distances, results
from docs.chains.parts.streets import COINS
from tests.tools.commands import ROOT

DEMO = ROOT / "out" / "demo" / "counterfactuals"
pytestmark = pytest.mark.skipif(not (DEMO / "table_scenes.csv").exists(), reason="the demo was not made here")


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
