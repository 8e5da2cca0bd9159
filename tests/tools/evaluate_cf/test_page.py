"""The page cf.html: escaped, self-contained, filters, and a summary of what changes."""

import json
import re
from html import unescape
from pathlib import Path

import pytest
import torch

from common.formats.tables import write_table
from tests.tools.commands import results_of
from tests.tools.evaluate_cf.made import NAMES, make, save_decision
from tests.tools.evaluate_cf.test_measures import pairs_of
from tests.tools.process_embeddings.chromium import find_chromium, open_page
from tools.evaluate_cf.page import title_of

HOSTILE = '<img src=x onerror=alert(1)>"&.png'


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of two batches, the images with a name that is markup, and its evaluation."""
    root = tmp_path_factory.mktemp("page")
    made = make(root)
    name = HOSTILE.replace("/", "")
    for path in made.folder.glob("metadata_*.pt"):
        value = torch.load(path, weights_only=True)
        value["image_names"] = [name if each == "01.png" else each for each in value["image_names"]]
        torch.save(value, path)
    (made.files["images"] / "01.png").rename(made.files["images"] / name)
    made.names[1] = name
    scores = (made.model(made.pictures) > 0.5).int().tolist()
    rows = []
    for place, (image, first) in enumerate(zip(made.names, scores)):
        rows.append([image, "", *first, place % 2, 0.5 * (place % 2)])
        rows += [[image, attribute, *first, place % 2, 0.5] for attribute in range(2)]
    write_table(root / "truth.csv", ["image", "attribute", *NAMES, "light", "<b>sky</b>"], rows)
    oracle = save_decision(root / "oracle.tar", made.gan, NAMES, seed=3)
    results_of("evaluate_cf", *made.words("--truth", root / "truth.csv", "--oracle", oracle))
    return made


def data_of(page):
    """Return the data of a page."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_the_page_has_every_pair_once_and_pictures_as_files(made):
    data = data_of((made.folder / "evaluation" / "cf.html").read_text(encoding="utf-8"))
    pairs = pairs_of(made.folder / "evaluation")
    assert [(pair["image"], pair["attribute"]) for pair in data["pairs"]] == [key[:2] for key in pairs]
    for pair, row in zip(data["pairs"], pairs.values()):
        assert pair["outcome"] == row["outcome"]
        assert len(pair["moved"]) == int(row["blobs_changed"])
        assert pair["picture"].startswith("data:image/png;base64,")
        assert set(data["images"][pair["image"]]) == {"real", "before", "blobs"}


def test_names_of_images_and_measures_are_escaped(made):
    page = (made.folder / "evaluation" / "cf.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert "<b>sky" not in page
    assert "&lt;b&gt;sky&lt;/b&gt;" in page
    assert "default-src 'none'" in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")


def test_the_title_says_what_is_explained_and_which_version():
    assert title_of(Path("a/cf"), ["green"], True) == "Counterfactuals of green (cf)"
    assert title_of(Path("cf"), list("abcde"), False) == "Counterfactuals of a, b, c, d, ..., before sparsifying (cf)"


def test_the_summary_names_what_changes_most_with_each_decision(made):
    page = (made.folder / "evaluation" / "cf.html").read_text(encoding="utf-8")
    sections = re.findall(r'<section class="change">.*?</section>', page, re.DOTALL)
    pairs = pairs_of(made.folder / "evaluation").values()
    flips = {(row["attribute"], row["target"]) for row in pairs if row["outcome"] == "flipped"}
    assert len(sections) == len(flips) > 0
    for section in sections:
        said = re.search(r"Known measures.*?images: (.*?); (.*?)\. ", unescape(section))
        shifts = {name: float(value) for name, value in re.findall(r"(?:^|, )(\S.*?) ([+-][\d.]+)", said[1])}
        name = max(shifts, key=shifts.get)
        expected = f"{name} moves most towards the decision" if shifts[name] > 0 else "none moves towards it"
        assert said[2] == expected
    assert all("mean change of the pictures" in section for section in sections)


@pytest.mark.skipif(find_chromium() is None, reason="no Chromium here")
def test_the_page_opens_without_a_request_or_error_and_its_filters_work(made, tmp_path):
    place = made.folder / "evaluation" / "cf.html"
    pairs = pairs_of(made.folder / "evaluation")
    flipped = sum(row["outcome"] == "flipped" for row in pairs.values())
    with open_page(place.as_uri(), tmp_path) as page:
        cards = "document.querySelectorAll('.card').length"
        assert page.wait_for(cards) == 10
        assert page.evaluate("document.querySelectorAll('figure svg line.way').length") > 0  # blobs moved
        page.evaluate("{const s = document.getElementById('outcome'); s.value = 'flipped';"
                      "s.dispatchEvent(new Event('change'))}")
        assert page.evaluate(cards) == flipped
        assert page.evaluate("document.getElementById('count').textContent") == f"{flipped} of 10 pairs"
        page.evaluate("{const s = document.getElementById('attribute'); s.value = '1';"
                      "s.dispatchEvent(new Event('change'))}")
        assert page.evaluate(cards) == sum(row["outcome"] == "flipped" for key, row in pairs.items() if key[1] == 1)
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        page.settle()
        assert page.complaints == []
        assert [address for address in page.requests if not address.startswith(("data:", "file:"))] == []
        assert page.evaluate("document.querySelector('.card h3').textContent.includes('→')")
        page.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000
