"""The bench runner: ratios of medians, results compared, names by prefix."""

import json
import time

import numpy as np
import pytest

from tests.bench import registry
from tests.bench.__main__ import main
from tests.bench.measure import measure, same_result


@pytest.fixture
def benches(monkeypatch):
    """Two made-up benchmarks in place of the real ones."""
    monkeypatch.setattr(registry, "_benches", {})
    monkeypatch.setattr(registry.pkgutil, "iter_modules", lambda path: [])

    @registry.bench("zz.sleep", peer="a longer sleep", at_least=1000, rounds=3)
    def sleeps():
        return lambda: time.sleep(0.01), lambda: time.sleep(0.03), lambda ours, peer: ours is peer

    @registry.bench("zz.wrong", peer="another sum", unit="rows/s", items=50, rounds=3)
    def wrong():
        return lambda: np.ones(3), lambda: np.ones(3) * 1.01

    return registry._benches


def test_ratio_is_the_peers_seconds_over_ours(benches):
    row = measure(benches["zz.sleep"])
    assert 2 < row["ratio"] < 4
    assert row["same"]
    assert (row["unit"], row["against"]) == ("s", "a longer sleep")
    assert row["ours"] == pytest.approx(0.01, rel=0.5)


def test_rates_are_items_a_second(benches):
    row = measure(benches["zz.wrong"])
    assert row["ours"] > 50
    assert row["ratio"] == pytest.approx(row["ours"] / row["peer"])


def test_the_command_prints_ratios_and_tells_differing_results(benches, capsys):
    assert main(["zz.sleep"]) == 0
    text = capsys.readouterr().out
    assert "zz.sleep" in text
    assert "below the promised 1000" in text
    assert main(["--json", "zz"]) == 1
    captured = capsys.readouterr()
    rows = json.loads(captured.out)["results"]
    assert [row["name"] for row in rows] == ["zz.sleep", "zz.wrong"]
    assert {"name", "ours", "peer", "ratio", "unit"} <= set(rows[0])
    assert "RESULTS DIFFER" in captured.err


def test_an_unknown_name_is_an_error(benches, capsys):
    assert main(["zz.slep"]) == 2
    assert capsys.readouterr().err == "error: zz.slep: no benchmark is called so. Did you mean zz.sleep?\n"


def test_results_are_compared_through_lists_and_dictionaries():
    assert same_result({"a": [1.0, np.ones(3)]}, {"a": [1.0005, np.ones(3)]})
    assert not same_result({"a": 1.0}, {"b": 1.0})
    assert not same_result([1.0], [1.0, 2.0])
    assert not same_result(np.ones(3), np.ones(3) * 1.01)


@pytest.mark.long
def test_a_peer_that_does_a_part_is_extrapolated_and_memory_is_shown(monkeypatch, capsys):
    monkeypatch.setattr(registry, "_benches", {})
    monkeypatch.setattr(registry.pkgutil, "iter_modules", lambda path: [])

    @registry.bench("zz.part", peer="one of ten", rounds=3, memory=True, peer_share=0.1)
    def part():
        return lambda: np.ones(4_000_000).sum() and time.sleep(0.02), lambda: time.sleep(0.02), lambda *_: True

    row = measure(registry._benches["zz.part"])
    assert 3 < row["ratio"] < 12
    assert row["memory"][0] is None or 20 < row["memory"][0] < 60 > row["memory"][1]
    assert main(["zz.part"]) == 0
    assert row["memory"][0] is None or " MB, peer +" in capsys.readouterr().out
