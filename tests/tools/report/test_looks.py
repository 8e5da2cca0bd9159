"""What the page looks like: contrast from its colours; in a browser its widths, colours, console and keyboard."""

import re

import numpy as np
import pytest
from PIL import Image

from tests.tools.process_embeddings.chromium import find_chromium, open_page
from tests.tools.report.folders import Page, page_of, write_run
from tests.tools.report.test_cards import chains  # noqa: F401
from tools.report.style import CSS, DARK, LIGHT

TEXT, GRAPHIC = 4.5, 3.0  # WCAG 2.2, 1.4.3 and 1.4.11, level AA
PAIRS = [(ink, ground, TEXT) for ink in ("ink", "soft", "accent", "bad", "wait") for ground in ("ground", "card")]
PAIRS += [("ink", "shade", TEXT), ("soft", "shade", TEXT), ("accent", "shade", TEXT), ("goodink", "good", TEXT)]
PAIRS += [(f"c{number}", "card", GRAPHIC) for number in range(8)]


def luminance(colour):
    """Return the relative luminance of #rrggbb (WCAG 2.2)."""
    values = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """Return the ratio of contrast of two colours."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_lines_have_the_contrast_of_level_AA(scheme):
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", scheme))
    found = {(one, other): contrast(colours[one], colours[other]) for one, other, _ in PAIRS}
    assert all(found[one, other] >= least for one, other, least in PAIRS), found
    assert set(re.findall(r"(?<!-)color: ([^;}]+)", CSS)) <= {f"var(--{ink})" for ink, *_ in PAIRS}


@pytest.fixture
def folder(chains):  # noqa: F811
    """Chains with wide tables, long names, a log, a broken file and many pictures."""
    write_run(chains / ("long_name_" * 12) / "run", options={f"option_{number}": number for number in range(60)})
    write_run(chains / ("long_name_" * 12) / "more", options={f"option_{number}": -number for number in range(60)})
    (chains / "b" / "table_of_many.csv").write_text(
        ",".join(f"column_{number}" for number in range(40)) + "\n" + ",".join("1234.5" for _ in range(40)) + "\n")
    (chains / "b" / "eval" / "log.jsonl").write_text("".join(f'{{"step": {n}, "loss": {n % 7}}}\n' for n in range(99)))
    (chains / "broken").mkdir()
    (chains / "broken" / "run.json").write_text("{")
    for number in range(6):
        Image.fromarray(np.full((200, 700, 3), 40 * number, np.uint8)).save(chains / "b" / f"{number}.png")
    return chains


def test_all_that_scrolls_can_be_reached_with_the_keyboard(folder):
    page = page_of(folder)
    for tag, attributes in page.tags:
        if tag == "pre" or attributes.get("class") == "wide":
            assert attributes["tabindex"] == "0"
    assert all(frame["aria-label"] and frame["role"] == "region" for frame in page.attributes("div")
               if frame.get("class") == "wide")
    targets = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert all(address[1:] in targets for address in page.addresses if address.startswith("#"))
    assert page.attributes("html") == [{"lang": "en"}]
    assert all(drawn["aria-label"] for drawn in page.attributes("svg") if drawn.get("role") == "img")


@pytest.mark.long
def test_in_a_browser_nothing_is_cut_off_complained_of_or_requested(folder, tmp_path_factory):
    if find_chromium() is None:
        pytest.skip("no Chromium here (apt install chromium, or name one in GENPROBE_CHROMIUM)")
    page_of(folder)
    wide = "[...document.querySelectorAll('main *')].filter(each => each.getBoundingClientRect().right > innerWidth " \
           "&& !each.closest('.wide')).map(each => each.outerHTML.slice(0, 80))"
    with open_page((folder / "report.html").as_uri(), tmp_path_factory.mktemp("browser"), 1400, 900) as page:
        grounds = set()
        for width in (1400, 390):
            for media, scheme in (("screen", "light"), ("screen", "dark"), ("print", "light")):
                page.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1,
                          mobile=False)
                page.call("Emulation.setEmulatedMedia", media=media,
                          features=[{"name": "prefers-color-scheme", "value": scheme}])
                for unfolded in ("false", "true"):
                    page.evaluate(f"document.querySelectorAll('details').forEach(each => each.open = {unfolded})")
                    page.settle()
                    scrolled = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
                    assert scrolled, (width, media, unfolded)
                    if media == "screen":
                        assert page.evaluate(wide) == [], (width, unfolded)
                grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert len(grounds) == 2  # light and dark
        page.call("Emulation.setEmulatedMedia", media="screen", features=[])
        reached = set()
        for _ in range(60):
            page.call("Input.dispatchKeyEvent", type="keyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9)
            page.call("Input.dispatchKeyEvent", type="keyUp", key="Tab", code="Tab", windowsVirtualKeyCode=9)
            reached.add(page.evaluate("document.activeElement.tagName + ' ' + document.activeElement.className"))
        assert {"A skip", "A ", "DIV wide", "SUMMARY "} <= reached, reached
        assert page.complaints == []
        assert all(address.startswith(("file:", "data:")) for address in page.requests)
        assert sum(address.startswith("file:") for address in page.requests) == 1


def test_the_policy_of_the_page_forbids_all_but_its_own_style_and_pictures(folder):
    policy = next(each["content"] for each in page_of(folder).attributes("meta") if "http-equiv" in each)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not any("style" in attributes for _, attributes in Page((folder / "report.html").read_text()).tags)
