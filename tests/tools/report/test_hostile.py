"""Names, titles, captions and cells with markup, scripts, control characters and formulas are text everywhere."""

import csv
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from common import console
from common.console import shown
from common.formats.tables import table_text
from tests.tools.process_embeddings.chromium import find_chromium, open_page
from tests.tools.report.folders import Page, page_of, report, write_run
from tests.tools.report.hostile import ATTRIBUTES, NAMES, TAGS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder whose names, titles, captions, cells, options, logged numbers and pages are all hostile."""
    root = tmp_path_factory.mktemp("hostile")
    for number, name in enumerate(NAMES):
        place = root / name.replace("/", "∕").replace("\0", "")
        figures = [{"name": name, "value": number, "unit": name, "better": "lower",
                    "published": {"value": 1, "source": name}}]
        summary = {"title": name, "rank": "measurement", "sentence": name * (number % 2), "pictures": [["*.png", name]],
                   "rows": [{"name": name, "figures": figures}]}
        write_run(place, name, name, options={name: name}, results={name: name}, words=["--name", name], why=name,
                  status=["done", name][number % 5 == 0], versions={name: name}, inputs=[{"name": name, name: name}],
                  machine={"name": name}, derived={name: name}, summary=summary, **{f"more {name}": name})
        Image.new("L", (2, 2)).save(place / "a.png")
        (place / "table.csv").write_text(table_text([name, "other"], [[name, number] for _ in range(3)]), newline="")
        (place / "log.jsonl").write_text("".join(json.dumps({"step": step, name: step}) + "\n" for step in range(3)))
        (place / "page.html").write_text(f"<title>{name}</title>")
    (root / "broken<script>").mkdir()
    (root / "broken<script>" / "run.json").write_text('{"tool": "<script>"')
    ended = report(root, "--title", NAMES[1])
    assert ended.status == 0, ended.err
    assert not any(sign in ended.err for sign in "\x1b\x07\x9b\r\u202e")
    return root


def test_hostile_names_are_shown_as_text_on_the_page(folder):
    page = page_of(folder)
    assert {tag for tag, _ in page.tags} <= TAGS
    assert {name for _, attributes in page.tags for name in attributes} <= ATTRIBUTES
    assert not any(sign in page.source for sign in "\x1b\x07\x9b\r\u202e")
    for address in page.addresses:
        assert not address.lower().startswith(("javascript:", "data:text", "http"))
    for name in NAMES:
        assert " ".join(shown(name).split()) in page.text


@pytest.mark.long  # they import torch
def test_hostile_names_are_shown_as_text_in_the_other_pages(tmp_path):
    for page in (Page(explorer_of(NAMES)), Page(cf_of(tmp_path / "cf.html"))):
        assert page.open == []
        assert not {tag for tag, _ in page.tags} & {"iframe", "base"}
        assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
        assert not any(address.startswith(("javascript:", "x", "http")) for address in page.addresses)
        assert not any(sign in page.source for sign in "\x1b\x07\x9b\r\u202e")
        assert len(page.attributes("script")) <= 2  # the page's own, and its data
        assert shown(NAMES[2]) in page.text


def explorer_of(names):
    """Return an explorer page whose sets, classes, notes and heading have hostile names."""
    from tools.process_embeddings.explorer import Tab, build_page

    count = len(names)
    records = [{"sample_id": name, "class_label": str(number), "prompt": name} for number, name in enumerate(names)]
    near = np.tile(np.arange(2), (count, 1))
    tab = Tab("; ".join(names), records, np.arange(2.0 * count).reshape(count, 2), np.arange(count), names,
              ["."] * count, near, np.ones((count, 2)), {}, [(name, name) for name in names], names,
              {str(number): name for number, name in enumerate(names)}, "near")
    return build_page([tab], "; ".join(names), 10_000, None, lambda *_: None)[0]


def cf_of(path):
    """Return a page of counterfactuals whose images and attributes have hostile names."""
    from tools.evaluate_cf.page import write_page

    explained = SimpleNamespace(names=NAMES, description={"kind": "attributes"})
    material = SimpleNamespace(folder=SimpleNamespace(path=path.parent), explained=explained,
                               options=SimpleNamespace(sparse=True))
    summary = {name: {"pairs": 1, "already": 0, "not_found": 0, "failed": 0} for name in [*NAMES, "all"]}
    line = {"attribute": 0, "target": 1, "number": 0, "outcome": "flipped", "l1": 0.1, "blobs_changed": 0,
            "scores_before": [0.0] * 30, "scores_after": [1.0] * 30}
    pairs = [{"image": name, "line": line, "after": "", "difference": "", "real": "", "moved": []} for name in NAMES]
    images = {name: {"real": "", "before": "", "blobs": ""} for name in NAMES}
    gallery = SimpleNamespace(left=0, aspect=1, images=images, pairs=pairs)
    write_page(path, material, {"attributes": summary, "images": 1, "pairs": 1}, [], SimpleNamespace(of={}), gallery)
    return path.read_text(encoding="utf-8")


def test_hostile_names_are_text_in_terminal_tables(capsys):
    console._settings["console"] = None
    console.show_table(NAMES[22], NAMES, [NAMES])
    console.say(NAMES[22])
    console._settings["console"] = None
    written = capsys.readouterr().err
    assert not any(sign in written for sign in "\x1b\x07\x9b\r\u202e")
    assert written.count("[bold red]markup[/]") >= 2


def test_hostile_names_are_no_formulas_in_csv_tables():
    text = table_text(NAMES, [NAMES])
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row)


@pytest.mark.long
def test_no_hostile_name_runs_in_a_browser(folder, tmp_path):
    if find_chromium() is None:
        pytest.skip("no Chromium here (apt install chromium, or name one in GENPROBE_CHROMIUM)")
    explorer = tmp_path / "explorer.html"
    explorer.write_text(explorer_of(NAMES), encoding="utf-8")
    cf_of(tmp_path / "cf.html")
    with open_page((folder / "report.html").as_uri(), tmp_path, 1400, 900) as page:
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        for place in (folder / "report.html", explorer, tmp_path / "cf.html"):
            page.call("Page.navigate", url=place.as_uri())
            page.wait_for("document.readyState === 'complete'")
            page.settle()
            assert page.evaluate("window.ran === undefined && !!document.querySelector('h1')"), place
        assert page.complaints == []
        assert all(address.startswith(("file:", "data:")) for address in page.requests)
