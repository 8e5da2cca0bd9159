"""The cards of the page, how runs ended, places on the machine, and what is alike."""

import fcntl
import json
import re

import pytest
from PIL import Image

from common.summary import Quantity, figures, summary, write_summary
from tests.tools.report.folders import Page, page_of, report, write_run
from tools.report.cards import cards_of, sentence
from tools.report.find import scan


def measurement(title, value, better="lower", se=0.01, rank="measurement", **more):
    """Return a summary of one figure."""
    figure = {"name": "loss", "value": value, "se": se, "unit": "nats", "better": better, **more}
    return summary(title, [("", [figure])], rank)


@pytest.fixture
def chains(tmp_path):
    """Two chains: one with a training and two measurements, another with a comparison of rows and a measurement."""
    write_run(tmp_path / "a" / "one", summary=measurement("of a training", 5, rank="step"))
    write_run(tmp_path / "a" / "one" / "eval", "made", "made eval", summary=measurement("Loss on digits", 2.5))
    write_run(tmp_path / "a" / "two" / "eval", "made", "made eval", summary=measurement("Loss on digits", 1.25))
    write_run(tmp_path / "b" / "eval", "made", "made eval", summary=measurement("Loss on digits", 7))
    rows = [(name, [{"name": "score", "value": value, "low": value - 1, "high": value + 1, "unit": "%",
                     "better": "higher"}, {"name": "calls", "value": 30, "unit": "", "better": ""}])
            for name, value in (("U", 10.123), ("C", 90.0), ("QC", 89.5))]
    write_run(tmp_path / "b" / "table", "made", "made compare",
              summary=summary("Three models", rows, "comparison", pictures=[["grid.png", "what they draw"]]))
    Image.new("RGB", (400, 300)).save(tmp_path / "b" / "table" / "grid.png")
    Image.new("RGB", (400, 300)).save(tmp_path / "b" / "table" / "other.png")
    return tmp_path


def test_each_chain_opens_with_its_highest_findings(chains):
    cards = cards_of(scan(chains).runs)
    assert [(card.title, [row[0] for row in card.rows]) for card in cards] == [
        ("Three models", ["U", "C", "QC"]), ("Loss on digits", ["one", "two"])]


def test_the_sentence_has_numbers_with_their_errors(chains):
    three, loss = cards_of(scan(chains).runs)
    assert sentence(loss) == "Best loss: 1.250 ± 0.010 nats (two), against 2.500 ± 0.010 nats (one)."
    assert sentence(three) == "Best score: 90.0 [89.0, 91.0] % (C), worst: 10.1 [9.1, 11.1] % (U); " \
                              "QC is within the error of the best."


def test_the_best_is_marked_only_where_a_direction_is_declared(chains):
    page = page_of(chains)
    marked = re.findall(r"<strong>(.*?)</strong>", page.source)
    assert marked == ["90.0 [89.0, 91.0]", "1.250 ± 0.010"]
    write_run(chains / "b" / "table", "made", "made compare",
              summary=summary("Three models", [(name, figures({"x": value}, [Quantity("x", "x")]))
                                               for name, value in (("U", 1), ("C", 2))], "comparison"))
    write_run(chains / "a" / "one" / "eval", "made", "made eval", summary=measurement("Loss on digits", 1.25))
    assert "<strong>" not in page_of(chains).source  # no direction, and all alike


def test_the_card_has_the_picture_that_the_summary_puts_first(chains):
    page = page_of(chains)
    first = page.attributes("img")[0]
    assert first["alt"] == "what they draw"
    assert all(image["alt"] for image in page.attributes("img"))


def test_a_published_value_stands_beside_the_measured_one_with_its_source(tmp_path):
    published = {"value": 1.5, "source": "Paper, table 2"}
    write_run(tmp_path / "a", summary=measurement("Loss", 1.25, published=published))
    assert "published 1.5, Paper, table 2" in page_of(tmp_path).text


def test_a_folder_without_a_run_may_have_a_summary(tmp_path):
    write_summary(tmp_path / "chain", measurement("Of the chain", 3))
    (tmp_path / "chain" / "table.csv").write_text("a,b\n1,2\n")
    page = page_of(tmp_path)
    assert "Of the chain" in page.text
    assert "chain/table.csv" in page.text
    assert "0 runs" in page.text


@pytest.mark.parametrize("broken", [
    "text", [], {"title": 3}, {"title": "x", "rank": "best", "rows": []}, {"title": "x", "rank": "step", "rows": [1]},
    {"title": "x", "rank": "step", "rows": [{"name": "", "figures": [{"name": "y", "value": "1"}]}]},
    {"title": "x", "rank": "step", "rows": [], "pictures": ["a.png"]},
    {"title": "x", "rank": "step", "rows": [{"name": "", "figures": [
        {"name": "y", "value": 1, "published": {"value": 2}}]}]},
])
def test_a_broken_summary_is_named_and_costs_no_run(tmp_path, broken):
    write_run(tmp_path / "a", summary=broken)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "summary.json").write_text(json.dumps(broken))
    ended = report(tmp_path, "--json")
    assert ended.status == 0, ended.err
    assert ended.results["runs"] == 1
    assert ended.results["unreadable"] == ["a/run.json", "b/summary.json"]


def test_records_without_a_summary_have_rows_with_errors(tmp_path):
    results = {"nll": 5.0318939, "nll_se": 0.0706693, "fid": 3.14650941, "fid_interval": [2.7552193, 3.5377995],
               "file": "/home/someone/x.npz"}
    write_run(tmp_path / "old", results=results)
    page = page_of(tmp_path)
    assert "5.032 ± 0.071" in page.text
    assert "3.15 [2.76, 3.54]" in page.text


def test_runs_are_shown_as_they_ended(tmp_path):
    for name, status in (("failed", "failed"), ("stopped", "interrupted"), ("killed", "running"), ("going", "running"),
                         ("done", "done"), ("cleared", "clearing")):
        write_run(tmp_path / name, status=status, why="MemoryError: too large" if status == "failed" else None)
    with open(tmp_path / "going" / ".run.json.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        page = page_of(tmp_path)
    shown = dict(re.findall(r'<th scope="row">(\w+) <span class="status (?:\w+)">(.*?)</span>', page.source))
    assert shown == {"failed": "failed: MemoryError: too large", "stopped": "interrupted", "killed": "interrupted",
                     "going": "running", "cleared": "interrupted"}
    assert "6 runs, 1 running, 3 interrupted, 1 failed" in page.text


def test_no_place_of_the_machine_is_on_the_page(tmp_path):
    """Paths below the folder are relative to it, also where it was made elsewhere; of others only the name is left."""
    there = "/home/someone/work/out"
    write_run(tmp_path / "a" / "run", outputs=[f"{there}/a/run/table.csv"], files=["table.csv"],
              options={"source": f"{there}/b/data", "space": "/home/someone/my photos/set one", "relative": "in/x",
                       "here": str(tmp_path / "b"), "pair": f"real={there}/c:name"},
              results={"note": "read /home/someone/weights.pth (12 MB), 3/4 of n/a, https://example.org/a/b"},
              words=["--source", f"{there}/b/data", "--weights", "/mnt/disk/weights.pth"],
              inputs=[{"name": "/home/someone/x/y.npz"}, {"name": "C:\\Users\\someone\\z.npz"}],
              why="~/secret/place is full", status="failed",
              summary=measurement("Distance to /home/someone/stats/digits.npz", 1))
    (tmp_path / "a" / "run" / "table.csv").write_text(f"file,value\n{there}/a/run/x.png,1\n/home/someone/q/y.png,2\n")
    page = page_of(tmp_path)
    assert "someone" not in page.source
    assert str(tmp_path) not in page.source
    assert "/mnt" not in page.source
    for text in ("b/data", "…/set one", "in/x", "real=c:name", "…/weights.pth (12 MB), 3/4 of n/a, "
                 "https://example.org/a/b", "--source b/data --weights '…/weights.pth'", "…/y.npz", "…/z.npz",
                 "…/digits.npz", "a/run/x.png"):
        assert text in page.text, text


def test_what_is_alike_in_all_runs_is_no_column(tmp_path):
    for seed in (1, 2):
        write_run(tmp_path / f"run{seed}", options={"seed": seed, "lr": 0.1}, results={"loss": seed, "images": 100})
    page = page_of(tmp_path)
    table = re.search(r'aria-label="runs of qc_ncsn train">(.*?)</table>', page.source, re.DOTALL)[1]
    assert re.findall(r'<th scope="col"[^>]*>(.*?)</th>', table) == ["run", "loss", "seed", "time"]
    assert "Alike in both runs: images 100." in page.text
    assert [text for text in page.texts if text.startswith("qc_ncsn train: options")]


def test_long_tables_of_numbers_are_curves(tmp_path):
    for name in ("u", "c"):
        write_run(tmp_path / name)
        lines = "".join(f"{0.01 * 1.5**step},{step + 0.123456789},0.5\n" for step in range(20))
        (tmp_path / name / "table.csv").write_text("sigma,asym,asym_se\n" + lines)
    page = page_of(tmp_path)
    assert page.source.count("<polyline") == 2  # one chart, a line for each run, none for the errors
    assert "asym by sigma" in page.source
    assert "0.1235" in page.text  # the numbers, folded away, with fewer digits


def test_files_beside_a_run_that_its_record_names_are_its_own(tmp_path):
    write_run(tmp_path / "maps" / "m", "made", "made map", files=["../m.png", "../m.html"], outputs=["x", "y"])
    Image.new("L", (300, 300)).save(tmp_path / "maps" / "m.png")
    (tmp_path / "maps" / "m.html").write_text("<title>a map &amp; more</title>")
    found = scan(tmp_path)
    assert [name for name, _ in found.runs[0].pictures] == ["maps/m.png"]
    assert found.rest.pictures == found.rest.pages == []
    assert "a map & more" in page_of(tmp_path).text


def test_earlier_reports_are_no_pages_beside_it(tmp_path):
    write_run(tmp_path / "a")
    assert report(tmp_path, "--output", tmp_path / "first.html").status == 0
    assert report(tmp_path).status == 0
    assert "first.html" not in Page((tmp_path / "report.html").read_text()).addresses
