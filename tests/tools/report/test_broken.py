"""Records, summaries, logs and tables with anything in them: the page is made, and says what is broken."""

import json
import random

import pytest

from tests.tools.report.folders import page_of, write_run

VALUES = (None, True, 0, -1, 10**400, 1e308, float("nan"), float("inf"), "", "text", "a/b", "/x/y", [], [1, "2", None],
          [[1], {}], {}, {"a": 1}, {"a": {"b": [None]}}, "1e999", "\ud800", -0.0)
FIGURE = {"name": "x", "value": 1.5, "se": 0.1, "unit": "%", "better": "lower",
          "published": {"value": 1, "source": "a paper"}}
RECORD = {"tool": "made", "command": "made up", "status": "done", "seconds": 3, "options": {"seed": 1, "list": [1, 2]},
          "results": {"loss": 1.5, "loss_se": 0.1, "fid": 1.0, "fid_interval": [0.5, 1.5]}, "outputs": ["/a/run/x"],
          "files": ["x"], "words": ["--seed", "1"], "inputs": [{"name": "x", "sha256": "0"}], "machine": {"name": "y"},
          "versions": {"python": "3"}, "derived": {"a": "b"}, "request": {"seed": 1}, "why": "x",
          "summary": {"title": "t", "rank": "step", "sentence": "", "pictures": [["*.png", "c"]],
                      "rows": [{"name": "r", "figures": [FIGURE]}]}}


def mutated(value, generator):
    """Return a copy of a JSON value in which one entry, at any depth, is another value or gone."""
    value = json.loads(json.dumps(value))
    place = value
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = generator.choice(keys)
        if isinstance(place[key], (dict, list)) and place[key] and generator.random() < 0.7:
            place = place[key]
            continue
        if generator.random() < 0.1:
            del place[key]
        else:
            place[key] = generator.choice(VALUES)
        return value


@pytest.mark.parametrize("seed", range(2))
def test_the_page_is_made_whatever_a_record_holds(tmp_path, seed):
    generator = random.Random(seed)
    for number in range(60):
        record = RECORD
        for _ in range(1 + number % 3):
            record = mutated(record, generator) if isinstance(record, dict) and record else record
        write_run(tmp_path / f"run{number}", **{"tool": None, "command": None, **record})
        log = [mutated({"step": 1, "loss": 0.5, "more": [1]}, generator) for _ in range(4)]
        (tmp_path / f"run{number}" / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
        rows = [[generator.choice(VALUES) for _ in range(generator.randrange(5))] for _ in range(12)]
        text = "".join(",".join(map(str, row)) + "\n" for row in rows)
        (tmp_path / f"run{number}" / "table.csv").write_bytes(text.encode(errors="replace"))
    page = page_of(tmp_path)
    assert "runs" in page.text
    page.source.encode()
