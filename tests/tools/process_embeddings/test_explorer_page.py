"""The explorer page, driven in headless Chromium: hover, click, filters, search, selection and its file, keys, tabs."""

import base64
import csv
import time

import numpy as np
import pytest

from tests.tools.commands import results_of
from tests.tools.process_embeddings.chromium import find_chromium, open_page
from tests.tools.process_embeddings.trees import clusters, write_tree

NAMES = ["kit_fox", "Siberian_husky", "</script><script>throw 1</script>", "goldfish"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A page of two maps: two sets together, and one of them in three dimensions."""
    root = tmp_path_factory.mktemp("maps")
    for name, seed, count in (("real", 1, 64), ("made", 2, 48)):
        layers, labels, images = clusters(count, 4, seed)
        write_tree(root / name, "imagenet_real", layers, labels, NAMES, images, label_mode="none", input_mode="clean")
    results_of("process_embeddings", "--model", "imagenet_real", "--data_dir", root / "real", "--output_dir",
               root / "one",
               "--n_components", 3, "--title", "real alone", "--n_neighbors", 8)
    words = [f"{name}={root / name}:imagenet_real" for name in ("real", "made")]
    results = results_of("process_embeddings", "--models", *words, "--output_dir", root / "both", "--n_neighbors", 8,
                         "--title", "both", "--more_maps", root / "one" / "imagenet_real_umap_n8_d0.1.json")
    return root / "both" / "real+made_umap_n8_d0.1.html", results


@pytest.fixture(scope="module")
def page(made, tmp_path_factory):
    """The page in a browser; skipped, and said, where there is none."""
    if find_chromium() is None:
        pytest.skip("no Chromium here (apt install chromium, or name one in GENPROBE_CHROMIUM): the page was not "
                    "driven")
    folder = tmp_path_factory.mktemp("browser")
    with open_page(made[0].as_uri(), folder, 1200, 900) as opened:
        opened.wait_for("window.explorer && explorer.tabs[0].view !== null")
        opened.downloads = folder / "downloads"
        yield opened


def text(page, selector):
    return page.evaluate(f"document.querySelector({selector!r}).textContent")


def type_into(page, selector, value):
    page.evaluate(f"(() => {{ const e = document.querySelector({selector!r}); e.value = {value!r};"
                  "e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change')); })()")
    page.settle()


def pixels(page):
    """Return the drawn points, (H, W, 4) uint8."""
    width, height, data = page.evaluate(
        "[points.width, points.height, btoa(Array.from(buffer.data, value => String.fromCharCode(value)).join(''))]"
    )
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)


def test_points_are_drawn_where_the_page_says(page):
    page.settle()
    drawn = pixels(page)
    ground = drawn[0, -1, :3]
    for point in (0, 40, 100):
        x, y = page.evaluate(f"explorer.screenOf({point})")
        left, top = page.evaluate("(() => { const b = overlay.getBoundingClientRect(); return [b.left, b.top]; })()")
        assert not np.array_equal(drawn[int(y - top), int(x - left), :3], ground)
    assert text(page, "#status") == "112 of 112 shown"


def test_hover_shows_the_point_and_its_picture(page):
    page.move(*page.evaluate("explorer.screenOf(5)"))
    page.settle()
    assert page.evaluate("explorer.state.hover") >= 0
    assert not page.evaluate("document.getElementById('tip').hidden")
    assert "sample_" in text(page, "#tip")
    assert page.evaluate("document.querySelectorAll('#tip canvas').length") == 1
    middle = page.evaluate("Array.from(document.querySelector('#tip canvas').getContext('2d').getImageData(20, 20, 1, "
                           "1).data)")
    hovered = page.evaluate("explorer.tabs[0].classes.names[explorer.tabs[0].classes.of[explorer.state.hover]]")
    colours = np.random.default_rng(1).integers(0, 256, (4, 3), dtype=np.uint8)
    label = [name.replace("_", " ") for name in NAMES].index(hovered)
    assert np.abs(np.array(middle[:3]) - colours[label].astype(int)).max() < 12  # the atlas is a JPEG


def test_click_shows_the_record_and_neighbours_and_one_can_walk_on(page):
    page.click(*page.evaluate("explorer.screenOf(5)"))
    page.settle()
    chosen = page.evaluate("explorer.tabs[0].chosen")
    assert f"sample_{chosen:06d}" in text(page, "#record")
    assert page.evaluate("document.querySelectorAll('.neighbours button').length") == 12
    first = page.evaluate("explorer.tabs[0].neighbours[explorer.tabs[0].chosen * 12]")
    page.click_on(".neighbours button")
    assert page.evaluate("explorer.tabs[0].chosen") == first


def test_names_of_users_are_text_and_never_markup(page):
    assert "</script><script>throw 1</script>" in text(page, "#class-filter")
    assert page.evaluate("document.scripts.length") == 2


def test_class_filter_and_search_hide_points(page):
    page.click_on("#class-filter .choice:nth-child(2) input")
    assert text(page, "#status") == "84 of 112 shown"
    page.click_on("#classes-none")
    assert text(page, "#status") == "0 of 112 shown"
    page.click_on("#classes-all")
    type_into(page, "#search", "GOLDFISH made")
    assert text(page, "#status") == "12 of 112 shown"
    type_into(page, "#search", "")
    type_into(page, "#class-search", "husky")
    assert page.evaluate("[...document.querySelectorAll('#class-filter .choice')].filter(e => !e.hidden).length") == 1
    type_into(page, "#class-search", "")
    page.click_on("#set-filter .choice:nth-child(1) input")
    assert text(page, "#status") == "48 of 112 shown"
    page.click_on("#set-filter .choice:nth-child(1) input")
    assert text(page, "#status") == "112 of 112 shown"


def test_colour_by_class_set_and_score_changes_the_picture(page):
    seen = []
    for name in ("set", "class", "share of own set among neighbours"):
        type_into(page, "#colour", name)
        seen.append(pixels(page))
    assert not np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[1], seen[2])
    assert not page.evaluate("document.getElementById('ramp').hidden")
    type_into(page, "#colour", "set")


def corners(page, margin=6):
    """Return the window's rectangle (left, top, right, bottom) around all points."""
    places = np.array(page.evaluate("Array.from({length: explorer.tabs[0].count}, (_, i) => explorer.screenOf(i))"))
    return [*(places.min(0) - margin), *(places.max(0) + margin)]


def exported(page):
    path = page.downloads / "selection.csv"
    path.unlink(missing_ok=True)
    assert not page.evaluate("document.getElementById('export').disabled")
    page.settle()
    page.click_on("#export")
    for _ in range(500):
        if path.exists() and path.stat().st_size:
            break
        page.settle()  # and takes note of what the browser says
        time.sleep(0.02)
    return list(csv.DictReader(path.open(encoding="utf-8")))


def test_box_and_lasso_select_and_the_selection_is_downloaded(page, made):
    page.evaluate("overlay.focus()")
    page.press("b")
    left, top, right, bottom = corners(page)
    page.drag((left, top), (left + 30, top + 30), (right, bottom))
    assert text(page, "#selected-count") == "112"
    page.press("l")
    middle = (left + right) / 2
    page.drag((left, top), (middle, top), (middle, bottom), (left, bottom))
    places = np.array(page.evaluate("Array.from({length: explorer.tabs[0].count}, (_, i) => explorer.screenOf(i))"))
    inside = np.flatnonzero(places[:, 0] < middle)
    rows = exported(page)
    assert len(rows) == len(inside) == int(text(page, "#selected-count"))
    table = list(csv.DictReader(made[0].with_suffix(".csv").open(encoding="utf-8")))
    for row, index in zip(rows, inside):
        wanted = table[index]
        assert (row["set"], row["sample_id"], row["original_path"]) == (wanted["set"], wanted["sample_id"],
                                                                        wanted["original_path"])
        assert abs(float(row["umap_x"]) - float(wanted["umap_x"])) < 1e-5
    page.press("m")
    page.press("Escape")
    assert text(page, "#selected-count") == "0"


def test_wheel_keys_and_dragging_move_the_view(page):
    page.evaluate("overlay.focus()")
    page.press("0")
    before = page.evaluate("({...explorer.tabs[0].view})")
    page.mouse("mouseWheel", 300, 400, deltaX=0, deltaY=-300)
    assert page.evaluate("explorer.tabs[0].view.scale") > before["scale"]
    page.press("0")
    page.press("ArrowLeft")
    assert page.evaluate("explorer.tabs[0].view.x") == before["x"] + 60
    page.drag((400, 850), (430, 850), (440, 850))
    assert page.evaluate("explorer.tabs[0].view.x") == pytest.approx(before["x"] + 100)
    page.press("n")
    assert page.evaluate("explorer.tabs[0].chosen") >= 0
    page.press("0")


def test_pictures_stand_in_for_points_and_dark_is_drawn_anew(page):
    light = pixels(page)
    page.click_on("#pictures")
    page.settle()
    assert page.evaluate("ink.getImageData(0, 0, overlay.width, overlay.height).data.some(v => v)")
    page.click_on("#pictures")
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    page.settle()
    assert pixels(page)[0, -1, :3].max() < 60 < light[0, -1, :3].min()
    page.call("Emulation.setEmulatedMedia", features=[])
    page.settle()


def test_tabs_hold_other_maps_and_axes_of_three(page):
    page.click_on("#tabs button:nth-child(2)")
    page.settle()
    assert text(page, "#status") == "64 of 64 shown"
    before = pixels(page)
    type_into(page, "#axes", "12")
    assert not np.array_equal(before, pixels(page))
    page.click_on("#tabs button:nth-child(1)")
    assert text(page, "#status") == "112 of 112 shown"


def test_the_numbers_of_the_run_stand_on_the_page(page, made):
    assert f"{made[1]['auc']:.3f}" in text(page, "#numbers")


def test_nothing_complained_and_nothing_was_fetched(page):
    """The last test of this file: what the console and the network saw meanwhile."""
    assert page.complaints == []
    assert [url[:60]
            for url in page.requests if not url.startswith(("data:", "blob:"))] == [page.evaluate("location.href")[:60]]
