"""The explorer page in headless Chromium: values, touch, policies, keyboard, counts, labels, table, address."""

import contextlib
import csv
import functools
import http.server
import json
import re
import threading
import time

import numpy as np
import pytest

from tests.tools.process_embeddings.chromium import find_chromium, open_page
from tools.process_embeddings.explorer import Tab, build_page
from tools.process_embeddings.write import write_table

COUNT = 60
READY = "window.explorer && explorer.state.drawn"


def records_of(count):
    """Return records whose values are easily changed: big numbers, versions, floats, missing ones; two cranes."""
    return [{"sample_id": f"sample_{number:06d}", "class_label": 134 if number % 2 else 517, "class_name": "crane",
             "path": f"img/{number}.png" if number % 7 else None, "big": 588848899891200431 + number, "word": "1.10",
             "version": f"{1 + number % 4}.{number % 3}0", "sigma": [0.1, 80.0, 1e-05][number % 3],
             "score": 1 / (number + 3), "kind": ["train", "test", "=1+1"][number % 3], "set": f"part {number % 2}"}
            for number in range(count)]


def tab_of(title, records, points, **more):
    neighbours = np.array([[(number + step) % len(points) for step in (1, 2, 3)] for number in range(len(points))])
    group = np.array([int(record["sample_id"][-6:]) * 2 // COUNT for record in records])
    return Tab(title, records, points, group, ["real", "made"], ["x", "y"], neighbours, np.ones(neighbours.shape),
               {"share": np.arange(len(points)) / len(points)}, [("samples", "60")], [], **more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """page.html and map.png, as the command writes them, and the table of the page's first tab."""
    folder = tmp_path_factory.mktemp("page")
    generator = np.random.default_rng(0)
    points = generator.normal(size=(COUNT, 2)) * 0.3 + np.repeat([[0, 0], [7, 3]], COUNT // 2, axis=0)
    points = points.astype(np.float32)
    records = records_of(COUNT)
    from PIL import Image

    Image.new("RGB", (40, 30), (200, 30, 30)).save(folder / "map.png")
    tabs = [tab_of("first", records, points), tab_of("second", records[::-1], -points[::-1])]
    html, _ = build_page(tabs, "a <map> & more", 10**6, folder / "map.png")
    (folder / "page.html").write_text(html, encoding="utf-8")
    write_table(folder / "table.csv", records, points, ["real"] * 30 + ["made"] * 30)
    return folder


@pytest.fixture(scope="module")
def browser(folder, tmp_path_factory):
    if find_chromium() is None:
        pytest.skip("no Chromium here: the page was not driven")
    place = tmp_path_factory.mktemp("browser")
    with open_page((folder / "page.html").as_uri(), place, 1200, 900) as opened:
        opened.downloads, opened.address = place / "downloads", (folder / "page.html").as_uri()
        opened.wait_for(READY)
        yield opened


@pytest.fixture
def page(browser):
    """The page as first opened, 1,200 x 900."""
    browser.complaints.clear()
    go_to(browser, browser.address)
    yield browser
    assert browser.complaints == []


def go_to(browser, address):
    browser.call("Page.navigate", url="about:blank")
    browser.call("Page.navigate", url=address)
    browser.wait_for(f"location.href !== 'about:blank' && document.readyState === 'complete' && ({READY})")


def text(page, selector):
    return page.evaluate(f"document.querySelector({selector!r}).textContent")


def counts(page, name):
    return page.evaluate(f"[...document.querySelectorAll('#{name}-filter .count')].map(e => Number(e.textContent))")


def put(page, selector, value):
    page.evaluate(f"(() => {{ const e = document.querySelector({selector!r}); e.value = {value!r};"
                  "e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change')); })()")


def downloaded(page, name, button):
    path = page.downloads / name
    path.unlink(missing_ok=True)
    page.click_on(button)
    for _ in range(500):
        if path.exists() and path.stat().st_size:
            break
        page.settle()
        time.sleep(0.02)
    return path


def test_A1_classes_of_one_name_are_two_lines_and_two_colours(page):
    assert page.evaluate("[...document.querySelectorAll('#class-filter .name')].map(e => e.textContent)") == [
        "crane (134)", "crane (517)"]
    page.click_on("#class-filter .choice:nth-child(1) input")
    assert text(page, "#status") == "30 of 60 shown"
    put(page, "#colour", "class")
    assert page.evaluate("new Set(current().colours).size") == 2


def test_A3_the_exported_values_are_those_of_the_table(page, folder):
    page.click_on("#select-shown")
    path = downloaded(page, "selection.csv", "#export")
    with path.open(encoding="utf-8", newline="") as stream:
        got = list(csv.DictReader(stream))
    with (folder / "table.csv").open(encoding="utf-8", newline="") as stream:
        wanted = list(csv.DictReader(stream))
    assert len(got) == len(wanted) == COUNT
    for ours, theirs in zip(got, wanted):
        assert {name: ours[name] for name in theirs} == theirs
    assert got[1]["share"] == "0.016666668"  # the shortest text of the float32


def test_A21_two_fingers_zoom_and_move_and_one_scrolls_the_page(browser):
    browser.call("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
    browser.call("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=5)
    try:
        go_to(browser, browser.address)

        def touch(kind, *places):
            browser.call("Input.dispatchTouchEvent", type=kind, touchPoints=[
                {"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)])

        before = browser.evaluate("({...current().view})")
        touch("touchStart", (150, 400), (250, 400))
        for wide in (60, 80, 100):
            touch("touchMove", (200 - wide, 400), (200 + wide, 400))
        touch("touchEnd")
        after = browser.evaluate("({...current().view})")
        assert after["scale"] == pytest.approx(2 * before["scale"])
        middle = 200 - browser.evaluate("overlay.getBoundingClientRect().left")
        assert (middle - after["x"]) / after["scale"] == pytest.approx((middle - before["x"]) / before["scale"])
        assert browser.evaluate("scrollY") == 0
        touch("touchStart", (200, 500))
        for y in range(490, 250, -20):
            touch("touchMove", (200, y))
            browser.settle()
        touch("touchEnd")
        browser.wait_for("scrollY > 150")
        assert browser.evaluate("current().view.x") == after["x"]
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390
        browser.evaluate("scrollTo(0, 0)")
        browser.settle()
        x, y = browser.evaluate("(fit(current()), explorer.screenOf(5))")
        touch("touchStart", (x, y))
        touch("touchEnd")
        browser.wait_for("current().chosen >= 0")
    finally:
        browser.call("Emulation.setTouchEmulationEnabled", enabled=False)
        browser.call("Emulation.setDeviceMetricsOverride", width=1200, height=900, deviceScaleFactor=1, mobile=False)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder under a Content-Security-Policy."""

    policy = ""

    def end_headers(self):
        self.send_header("Content-Security-Policy", self.policy)
        super().end_headers()

    def log_message(self, *_):
        """Say nothing."""


@contextlib.contextmanager
def served(folder, policy):
    kind = type("Kind", (Handler,), {"policy": policy})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(kind, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/page.html"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("policy", ["script-src 'none'", "default-src 'self'",
                                    "sandbox; default-src 'none'; img-src 'self'; style-src 'self'"])
def test_A22_under_a_policy_without_scripts_there_is_a_text_and_the_picture(browser, folder, policy):
    with served(folder, policy) as address:
        browser.call("Page.navigate", url=address)
        words, share = "", 0
        for _ in range(200):  # in a sandbox nothing can be asked of the page by script
            nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
            words = " ".join(str(node.get("name", {}).get("value", "")) for node in nodes)
            share = red_share(browser.call("Page.captureScreenshot", format="png")["data"])
            if "none may run here" in words and share:
                break
            time.sleep(0.02)
    assert "none may run here" in words
    assert "Lasso" not in words
    assert share > 0.0005  # the 40 x 30 pixels of the picture


def red_share(data):
    import base64
    import io

    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)
    return np.mean(np.abs(pixels - [200, 30, 30]).max(axis=2) < 12)


def test_a_browser_without_decompression_shows_the_picture_and_says_so(browser):
    script = browser.call("Page.addScriptToEvaluateOnNewDocument", source="delete self.DecompressionStream")
    browser.call("Page.navigate", url="about:blank")
    browser.call("Page.navigate", url=browser.address)
    browser.wait_for("document.getElementById('reason')?.textContent.includes('too old')")
    assert not browser.evaluate("document.getElementById('fallback').hidden")
    assert browser.evaluate("document.getElementById('app').hidden")
    browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script["identifier"])


def test_A23_arrows_move_between_radio_buttons_and_the_chosen_point_is_announced(page):
    page.evaluate("document.querySelector('[data-mode=move]').focus()")
    for mode, key in (("box", "ArrowRight"), ("lasso", "ArrowDown"), ("move", "ArrowRight"), ("lasso", "ArrowLeft")):
        page.press(key)
        assert page.evaluate("[state.mode, document.activeElement.dataset.mode]") == [mode, mode]
        assert page.evaluate("document.querySelectorAll('[data-mode][tabindex=\"0\"]').length") == 1
        assert page.evaluate("document.querySelectorAll('[data-mode][aria-checked=true]').length") == 1
    page.evaluate("choose(5)")
    assert text(page, "#announce") == "Chosen: crane (134), real, sample_000005"
    assert page.evaluate("document.getElementById('announce').getAttribute('aria-live')") == "polite"


AUDIT = """(() => {
  const seen = [...document.querySelectorAll('#app *')].filter(e => e.getClientRects().length);
  const named = e => e.getAttribute('aria-label') || e.textContent.trim() || e.title
    || e.labels?.[0]?.textContent.trim();
  const focusable = e => e.matches('button, a[href], input, select, summary, [tabindex="0"]');
  const ids = seen.map(e => e.id).filter(Boolean);
  return {
    nameless: seen.filter(e => e.matches('button, input, select, [role=radio], [role=tab]') && !named(e))
      .map(e => e.outerHTML),
    scrolled: seen.filter(e => /auto|scroll/.test(getComputedStyle(e).overflowY) && e.scrollHeight > e.clientHeight
      && !focusable(e) && ![...e.querySelectorAll('*')].some(focusable)).map(e => e.outerHTML.slice(0, 80)),
    twice: ids.filter((id, k) => ids.indexOf(id) !== k),
    nested: seen.filter(e => e.matches('button, [role=tab]') && e.querySelector('button, input, a')).map(e => e.id),
    lang: document.documentElement.lang, title: document.title,
  };
})()"""


def test_A23_controls_have_names_and_scrolled_regions_can_be_reached(page):
    page.evaluate("choose(5); toggleTable(true)")
    put(page, "#range-add", "score")
    audit = page.evaluate(AUDIT)
    assert {name: audit[name] for name in ("nameless", "scrolled", "twice", "nested")} == {
        "nameless": [], "scrolled": [], "twice": [], "nested": []}
    assert audit["lang"] == "en"
    assert audit["title"] == "a <map> & more"


def test_A24_counts_follow_search_and_filters(page):
    assert (counts(page, "set"), counts(page, "class")) == ([30, 30], [30, 30])
    put(page, "#search", "sample_00000")
    assert (counts(page, "set"), counts(page, "class")) == ([10, 0], [5, 5])
    page.click_on("#class-filter .choice:nth-child(1) input")
    assert (counts(page, "set"), counts(page, "class")) == ([5, 0], [5, 5])  # what ticking it again would show
    page.click_on("#set-filter .choice:nth-child(1) input")
    assert (counts(page, "set"), counts(page, "class")) == ([5, 0], [0, 0])


def test_A24_fit_zooms_to_what_is_shown(page):
    whole = page.evaluate("current().view.scale")
    page.click_on("#set-filter .choice:nth-child(1) input")
    page.click_on("#fit")
    assert page.evaluate("current().view.scale") > 2 * whole
    box = page.evaluate("(() => { const b = overlay.getBoundingClientRect();"
                        "return [b.left, b.top, b.right, b.bottom]; })()")
    places = np.array(page.evaluate("Array.from({length: 30}, (_, k) => explorer.screenOf(30 + k))"))
    assert np.all(places > np.array(box[:2]) + 20)
    assert np.all(places < np.array(box[2:]) - 20)
    page.click_on("#set-filter .choice:nth-child(1) input")
    page.press("0")
    assert page.evaluate("current().view.scale") == pytest.approx(whole)


def test_A25_the_first_drawing_waits_for_no_frame(browser):
    script = browser.call("Page.addScriptToEvaluateOnNewDocument", source="window.requestAnimationFrame = () => 1")
    try:
        go_to(browser, browser.address)
        ground = browser.evaluate("words[words.length - 1]")
        assert browser.evaluate(f"words.some(word => word !== {ground})")
    finally:
        browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script["identifier"])


def test_class_labels_stand_on_their_points_and_can_be_switched_off(page):
    page.evaluate("current().classes.of.forEach((_, i) => { current().classes.of[i] = i < 30 ? 0 : 1; }); refilter()")
    page.settle()
    assert page.evaluate("explorer.state.labelled") == [0, 1]
    for k, start in ((0, 0), (1, 30)):
        place = page.evaluate(f"labelPlaces(current()).find(({{k}}) => k === {k})")
        members = np.array(page.evaluate(f"Array.from({{length: 30}}, (_, i) => i + {start})"
                                         ".map(i => [tabs[0].x[i], tabs[0].y[i]])"))
        assert np.hypot(*(members.mean(axis=0) - [place["x"], place["y"]])) < 0.6
    page.click_on("#class-filter .choice:nth-child(1) input")
    page.settle()
    assert page.evaluate("explorer.state.labelled") == [1]
    page.press("c")
    assert text(page, "#labels") == "Labels"
    assert page.evaluate("document.getElementById('labels').getAttribute('aria-pressed')") == "false"


def test_the_chosen_point_is_carried_to_the_other_map(page):
    page.evaluate("choose(7)")
    page.click_on("#tabs button:nth-child(2)")
    assert page.evaluate("[state.tab, current().chosen]") == [1, COUNT - 1 - 7]
    assert "sample_000007" in text(page, "#record")
    page.evaluate("choose(0)")
    page.click_on("#tabs button:nth-child(1)")
    assert page.evaluate("current().chosen") == COUNT - 1


def test_ranges_filter_and_show_histograms(page):
    put(page, "#range-add", "score")
    assert page.evaluate("[...document.getElementById('range-add').options].every(o => o.value !== 'score')")
    put(page, ".range input:nth-of-type(1)", "0.1")
    assert text(page, "#status") == f"{sum(1 / (number + 3) >= 0.1 for number in range(COUNT))} of 60 shown"
    box = page.evaluate("(() => { const b = document.querySelector('.range canvas').getBoundingClientRect();"
                        "return [b.left, b.top, b.width, b.height]; })()")
    page.drag(*((box[0] + box[2] * share, box[1] + 20) for share in (0.5, 0.7, 0.995)))
    low = 1 / 62 + 0.5 * (1 / 3 - 1 / 62)
    assert text(page, "#status") == f"{sum(1 / (number + 3) >= low for number in range(COUNT))} of 60 shown"
    page.click_on(".range .only")
    assert text(page, "#status") == "60 of 60 shown"


def test_any_column_colours_the_points(page):
    names = page.evaluate("[...document.getElementById('colour').options].map(o => o.value)")
    assert {"set", "class", "share", "score", "kind", "version", "record_set", "sample_id"} <= set(names)
    assert "word" not in names  # the same everywhere
    put(page, "#colour", "kind")
    assert page.evaluate("new Set(current().colours).size") == 3
    assert page.evaluate("[...document.querySelectorAll('#legend .name')].map(e => e.textContent)") == ["train", "test",
                                                                                                    "=1+1"]
    put(page, "#colour", "score")
    assert page.evaluate("document.getElementById('legend').hidden")
    assert not page.evaluate("document.getElementById('ramp').hidden")


def test_the_table_lists_what_is_shown_or_selected_and_sorts(page):
    page.press("t")
    assert text(page, "#table-count") == "60 shown"
    put(page, "#search", "sample_00000")
    assert text(page, "#table-count") == "10 shown"
    for _ in range(2):
        page.evaluate("[...document.querySelectorAll('#table th button')]"
                      ".find(e => e.textContent.startsWith('sample_id')).click()")
    first = page.evaluate("[...document.querySelectorAll('#table tbody tr:first-child td')].map(e => e.textContent)")
    assert "sample_000009" in first
    assert page.evaluate("document.querySelector('#table th[aria-sort=descending]').textContent") == "sample_id ▼"
    page.click_on("#table tbody tr:nth-child(1) button")
    assert page.evaluate("current().chosen") == 9
    page.evaluate("current().selected[3] = 1; showSelection(current())")
    assert text(page, "#table-count") == "1 selected"


def test_the_address_brings_the_view_back(page):
    put(page, "#search", "crane")
    put(page, "#colour", "score")
    page.evaluate("current().hiddenClasses.add(1); refilter(); showFilters(current()); choose(3);"
                  "zoom(current(), 3, 400, 300);"
                  "current().ranges.set('share', [0.02, 0.3]); refilter(); showRanges(current()); toggleTable(true)")
    page.wait_for("location.hash.includes('point=3') && location.hash.includes('table=1')")
    page.evaluate("new Promise(done => setTimeout(done, 350))")
    before = page.evaluate("({place: explorer.screenOf(3), shown: current().numShown, hash: location.hash})")
    go_to(page, page.address + before["hash"])
    page.settle()
    assert page.evaluate("[current().query, state.colourBy, current().chosen]") == ["crane", "score", 3]
    assert page.evaluate("current().numShown") == before["shown"]
    assert np.allclose(page.evaluate("explorer.screenOf(3)"), before["place"], atol=2)
    go_to(page, page.address + "#map=99&colour=nothing&classes=zz&point=1e9&view=a,b&range=1,2,none&size=x")
    assert text(page, "#status").endswith("of 60 shown")


def test_the_view_is_saved_as_a_picture(page):
    from PIL import Image

    with Image.open(downloaded(page, "map.png", "#save-picture")) as picture:
        assert picture.size == tuple(page.evaluate("[points.width, points.height]"))
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 10


def test_the_data_are_gzipped(folder):
    import base64
    import gzip

    html = (folder / "page.html").read_text(encoding="utf-8")
    packed = html.split('id="data">')[1].split("</script>")[0]
    assert json.loads(gzip.decompress(base64.b64decode(packed)))["heading"] == "a <map> & more"


def test_the_policy_of_the_page_allows_its_own_script_style_and_pictures_alone(browser, folder):
    html = (folder / "page.html").read_text(encoding="utf-8")
    policy = re.search('<meta http-equiv="Content-Security-Policy" content="([^"]*)">', html)[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "http:" not in policy
    browser.call("Page.navigate", url="about:blank")
    browser.call("Page.navigate", url=browser.address)
    browser.wait_for(READY)
    browser.evaluate("document.body.append(Object.assign(document.createElement('script'), "
                     "{textContent: 'self.foreign = 1'}))")
    browser.evaluate("document.body.setAttribute('onclick', 'self.foreign = 1'); document.body.click()")
    assert browser.evaluate("self.foreign === undefined")
