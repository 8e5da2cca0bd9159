"""report: one page about a folder of runs."""

import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from tests.tools.report.folders import Page, report, write_run
from tools.report.curves import draw, thin, ticks
from tools.report.find import scan
from tools.report.sections import differing
from tools.report.words import duration, short_names, show


@pytest.fixture
def runs(tmp_path):
    """Two training runs with logs, samples of one, a table of no run, and a broken record and picture."""
    for name, weight in (("u", 0.0), ("qc", 0.003)):
        options = {"seed": 1, "balancing_fac": weight, "json": weight > 0, "workdir": name}
        write_run(tmp_path / name, options=options, results={"loss": 0.125 + weight, "per_level": [1, 2]})
        lines = [json.dumps({"step": step, "loss": 100 / (step + 1), "seconds": step}) for step in range(0, 1000, 2)]
        (tmp_path / name / "log.jsonl").write_text("\n".join(lines) + '\n{"step": 10')
    write_run(tmp_path / "u" / "eval_sampling" / "0", command="qc_ncsn sample", status="running", results={})
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    Image.fromarray(pixels).save(tmp_path / "u" / "eval_sampling" / "0" / "grid.png")
    Image.fromarray(np.zeros((1700, 2000, 3), np.uint8)).save(tmp_path / "u" / "large.png")
    (tmp_path / "table.csv").write_text("model,Asym\nU <b>,1.5 ± 0.1\n")
    (tmp_path / "table.md").write_text("| model | Asym |\n|---|---|\n| not shown | 1 |\n")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text('{"tool"')
    (tmp_path / "broken" / "half.png").write_bytes(b"\x89PNG\r\n")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "run.json").write_text("[]")
    return tmp_path


def test_S1_the_page_takes_the_place_of_no_other_file(runs):
    """--output names a record, a picture or a table by mistake: they stay; an earlier page is written again."""
    for name in ("u/run.json", "u/large.png", "table.csv"):
        before = (runs / name).read_bytes()
        done = report(runs, "--output", runs / name)
        assert (done.status, done.err.count("\n")) == (2, 1)
        advice = "Choose another name, or move it away."
        assert f"{runs / name}: is in the way: this file is not a page. {advice}" in done.err
        assert (runs / name).read_bytes() == before
    assert [report(runs, "--output", runs / "all.html").status for _ in range(2)] == [0, 0]


def test_the_page_is_whole_and_needs_nothing_else(runs):
    done = report(runs, "--json")
    assert done.status == 0, done.err
    page = Page((runs / "report.html").read_text())
    beside = {"u/eval_sampling/0/grid.png", "u/large.png"}  # each picture leads to its file
    assert {address for address in page.addresses if not address.startswith(("data:image/", "#"))} == beside
    assert "<script" not in page.source
    assert page.source.count("http") == page.source.count("http-equiv") == 1
    results = json.loads(done.out)["results"]
    assert (results["runs"], results["tables"], results["pictures"], results["logs"]) == (3, 1, 3, 2)
    assert results["unreadable"] == ["broken/half.png", "broken/run.json"]
    assert results["page_bytes"] == (runs / "report.html").stat().st_size


def test_the_page_shows_what_differs_and_what_came_out(runs):
    report(runs)
    text = (runs / "report.html").read_text()
    table = re.search(r"<h3>qc_ncsn train</h3>(.*?)</table>", text, re.DOTALL).group(1)
    assert re.findall(r'<th scope="col"(?: class="number")?>(.*?)</th>', table) == \
        ["run", "loss", "balancing fac", "time"]
    assert "0.128" in table
    assert "1 min 15 s" in table
    assert re.search(r'u/eval_sampling/0 <span class="status interrupted">interrupted</span>', text)
    assert "U &lt;b&gt;" in text
    assert "not shown" not in text
    assert 'class="tiny"' in text
    assert text.count("<polyline") == 2  # one chart (seconds are not drawn), two runs
    assert text.index("table.csv") > text.index('id="tool-qc_ncsn"')


def test_the_tables_are_printed(runs):
    done = report(runs)
    assert "1.5 ± 0.1" in done.err
    assert "unreadable: broken/run.json" in done.err
    assert done.out == ""


def test_the_same_folder_gives_the_same_bytes(runs):
    report(runs)
    first = (runs / "report.html").read_bytes()
    report(runs)
    assert (runs / "report.html").read_bytes() == first


def test_a_dry_run_writes_nothing(runs):
    done = report(runs, "--dry_run", "--json")
    assert done.status == 0
    assert json.loads(done.out)["outputs"] == []
    assert not (runs / "report.html").exists()


def test_input_errors(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    wrong = {
        "no such folder": (tmp_path / "none",),
        "this is a file, not a folder": (tmp_path / "file",),
        "no run.json, table or picture here": (tmp_path / "empty",),
        "this is a folder": (tmp_path, "--output", tmp_path / "empty"),
        "a part of the path is a file": (tmp_path, "--output", tmp_path / "file" / "x.html"),
        "missing required flag": (),
    }
    for said, words in wrong.items():
        done = report(*words)
        assert done.status == 2
        assert said in done.err
        assert done.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"]


def test_only_some_of_many_pictures_are_shown(tmp_path):
    for index in range(40):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / f"{index:02}.png")
    report(tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert text.count("<img") == 24
    assert "16 more pictures" in text


def test_files_belong_to_the_nearest_run(runs):
    found = scan(runs)
    assert [run.name for run in found.runs] == ["qc", "u", "u/eval_sampling/0"]
    assert [name for name, _ in found.runs[2].pictures] == ["u/eval_sampling/0/grid.png"]
    assert len(found.runs[0].log) == 500  # the unfinished last line is left out


def test_options_that_differ():
    options = [{"seed": 1, "sizes": [1], "quiet": True}, {"seed": 2, "sizes": [1], "quiet": False, "new": 3}]
    assert differing(options) == ["seed", "new"]
    assert differing(options[:1]) == []


@pytest.mark.parametrize(("value", "text"), [
    (None, "—"), (True, "yes"), (1234, "1234"), (50000, "50,000"), (0.000123, "0.000123"), (12345.6, "12,346"),
    (1.5e-7, "1.5×10⁻⁷"), (-3.25, "−3.25"),
    ([1, 2.5], "1, 2.5"), ({"a": 1}, "a 1"), (list(range(20)), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, … (20)"),
])
def test_values_as_cells(value, text):
    assert show(value) == text


@pytest.mark.parametrize(("seconds", "text"),
                         [(0.42, "0.42 s"), (12.3, "12 s"), (185, "3 min 5 s"), (7800, "2 h 10 min"), (None, "")])
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("names", "short"), [
    (["a/b/c"], ["a/b/c"]), (["x/a/y", "x/b/y"], ["a", "b"]), (["x/a", "x/a/b"], ["a", "a/b"]),
    (["."], ["this folder"]),
    ([".", "nll"], ["this folder", "nll"]), (["a", "b"], ["a", "b"]), (["r/a/1/e", "r/b/1/e"], ["a", "b"]),
])
def test_names_of_runs_are_without_what_all_share(names, short):
    assert short_names(names) == short


def test_curves_keep_their_shape():
    points = [(step, float(step % 2)) for step in range(10_000)]
    thinned = thin(points)
    assert len(thinned) == 300
    assert all(0.4 < value < 0.6 for _, value in thinned)
    assert thin(points[:300]) == points[:300]
    assert draw({"flat": [(0, 1.0), (1, 1.0)]}).count("<polyline") == 1
    assert draw({f"run{index}": [(0, 1.0), (1, 2.0)] for index in range(20)}).count("<polyline") == 8


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 7), (0.001, 0.0035), (0, 130_000), (1e-9, 2e-9)])
def test_ticks_are_few_and_within(low, high):
    values = ticks(low, high)
    assert 2 <= len(values) <= 8
    slack = 1e-6 * (high - low)
    assert all(low - slack <= value <= high + slack for value in values)


def test_tiles_of_a_chunked_data_set_are_no_results(tmp_path):
    from PIL import Image

    (tmp_path / "photo_left").mkdir()
    (tmp_path / "photo_left" / "centers.pt").write_bytes(b"")
    for path in (tmp_path / "preview.png", tmp_path / "photo_left" / "00000001.jpg"):
        Image.new("RGB", (4, 4)).save(path)
    assert [name for name, _ in scan(tmp_path).rest.pictures] == ["preview.png"]


def test_pages_are_linked_from_where_the_report_lies(tmp_path):
    write_run(tmp_path / "runs" / "map")
    (tmp_path / "runs" / "map" / "a page & more.html").write_text("<p>a page</p>")
    for output, link in (("runs/report.html", "map/a%20page%20%26%20more.html"),
                         ("report.html", "runs/map/a%20page%20%26%20more.html")):
        assert report(tmp_path / "runs", "--output", tmp_path / output).status == 0
        assert link in Page((tmp_path / output).read_text()).addresses
    first = (tmp_path / "runs/report.html").read_bytes()
    report(tmp_path / "runs")  # the report itself is not a page of the folder
    assert (tmp_path / "runs/report.html").read_bytes() == first


@pytest.mark.parametrize("record", [{"options": 5}, {"results": [1]}, {"seconds": "1"}, {"status": 3}, [1], "text"])
def test_R4_a_broken_record_is_shown_as_broken_and_costs_no_other(tmp_path, record):
    for name, value in (("good", {"tool": "made_up", "options": {}, "results": {"score": 2}, "status": "done"}),
                        ("bad", record)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps(value))
    ended = report(tmp_path, "--json")
    assert ended.status == 0, ended.err
    assert (ended.results["runs"], ended.results["unreadable"]) == (1, ["bad/run.json"])


def test_R7_names_that_are_no_unicode_or_hold_control_characters_are_escaped(tmp_path):
    folder = tmp_path / os.fsdecode(b"b\xff\x1b]0;x\x07")
    folder.mkdir()
    (folder / "table.csv").write_text("a,b\n1,2\n")
    ended = report(tmp_path)
    assert ended.status == 0, ended.err
    page = (tmp_path / "report.html").read_text()
    assert "b\\udcff\\x1b]0;x\\x07/table.csv" in page
    assert "\x1b" not in page + ended.err
