"""The targets of the papers' tables: each says what it wants, leaves what it measured, and is on its page."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.chains.parts import measured, wanted
from tests.tools.commands import ROOT, environment
from tests.tools.report.folders import page_of

CHAINS = ROOT / "docs" / "chains"
TABLES = sorted(path.stem.removeprefix("table_").replace("_", "-") for path in CHAINS.glob("table_*.sh"))
WITHOUT_PAPER = {"qc-samplers"}  # ours: no table of a paper


def run(folder, table, **variables):
    """Run a table's script in a folder; returns what subprocess.run does."""
    given = {**environment(), "PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "OUT": str(folder / "out"),
             **variables}
    return subprocess.run(["bash", CHAINS / f"table_{table.replace('-', '_')}.sh"], cwd=ROOT, env=given, text=True,
                          capture_output=True, check=False, timeout=300)


def test_every_table_wants_measures_and_is_described():
    page = (ROOT / "docs" / "reproduce.md").read_text()
    assert set(TABLES) - WITHOUT_PAPER == set(wanted.TABLES)
    assert set(TABLES) == set(measured.MAKERS)
    for table in TABLES:
        assert f"`make table-{table}`" in page
        source = (CHAINS / f"table_{table.replace('-', '_')}.sh").read_text()
        parts = [(CHAINS / name).read_text() for name in re.findall(r"parts/\w+\.sh", source)]
        assert any("parts.measured" in text for text in [source, *parts])


@pytest.mark.parametrize("table", wanted.TABLES)
def test_the_files_of_a_table_are_listed_and_missing_ones_are_status_2(table, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DATA", str(tmp_path / "data"))
    monkeypatch.setenv("CHECKPOINTS", str(tmp_path / "checkpoints"))
    assert wanted.main(table) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(wanted.TABLES[table]) + 1
    assert all(re.search(r"\d [MG]B", line) for line in lines[:-1])
    for variable, name, *_ in wanted.TABLES[table]:
        path = Path(os.environ[variable]) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert wanted.main(table) == 0


def record(folder, seed=0, **results):
    """Write the record of a finished run."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"status": "done", "options": {"seed": seed}, "results": results,
                                                 "seconds": 2.0}))


@pytest.mark.parametrize(("scale", "images", "shown"), [("paper", 10_000, True), ("paper", 500, False),
                                                         ("small", 10_000, False)])
def test_the_published_value_stands_beside_the_best_of_all_models_on_all_test_images(tmp_path, monkeypatch, scale,
                                                                                      images, shown):
    monkeypatch.setenv("SCALE", scale)
    for model, value in (("u", 3.46), ("qc", 3.4), ("c", 3.5)):
        record(tmp_path / model / "nll", nll=value, num_images=images, nll_se=0.01)
    assert measured.make("qc-2", tmp_path) == 0
    page = page_of(tmp_path)
    assert ("Best likelihood of U-, QC- and C-NCSN++ on CIFAR-10's test images" in page.text) == shown
    assert ("published 3.38, best NLL on CIFAR-10 of Chao et al. 2023, by a third-party index" in page.text) == shown
    assert ('<td class="number">3.400 ± 0.010<small>published' in page.source) == shown


def test_a_table_made_alone_takes_its_own_place_on_the_page_and_no_other(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- measured: begin -->\n\n### table-qc-2, small scale\n\nearlier\n\n"
                    "### table-qc-4, small scale\n\nold\n\n<!-- measured: end -->\nafter\n")
    for table, ode in (("qc-3", ""), ("qc-4", "_ode")):
        record(tmp_path / table / "seed0" / "U" / f"eval_fidis{ode}", fid=2.0)
        assert measured.make(table, tmp_path / table) == 0
    assert measured.write(tmp_path, page) == 0
    text = page.read_text()
    assert re.findall(r"### table-(\S+), small", text) == ["qc-2", "qc-3", "qc-4"]
    assert "### table-qc-2, small scale\n\nearlier\n\n### table-qc-3" in text
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("| U | 2 |\n\n<!-- measured: end -->\nafter\n")


def test_measures_over_seeds_have_their_standard_error_and_stand_on_the_page(tmp_path):
    for seed, value in enumerate((3.0, 3.2, 3.4)):
        record(tmp_path / "out" / "small" / f"seed{seed}" / "U" / "nll", seed, nll=value)
    assert measured.make("qc-2", tmp_path / "out" / "small") == 0
    page = tmp_path / "page.md"
    page.write_text(f"before\n{measured.BEGIN}\nold\n{measured.END}\nafter\n")
    for _ in range(2):
        assert measured.write(tmp_path / "out", page) == 0
        text = page.read_text()
        assert "|  | bits/dim |\n| --- | --- |\n| U | 3.20 +- 0.12 |" in text
        assert "seeds 0 1 2; each of 3; 6 s of all runs" in text
        assert "old" not in text
        assert (text.startswith("before\n"), text.endswith("after\n")) == (True, True)


def test_shares_of_counterfactuals_have_a_binomial_error_and_means_that_of_their_interval(tmp_path):
    record(tmp_path / "style" / "evaluation", attributes={"all": {
        "success": 0.5, "success_total": 100, "l1": 0.2, "l1_error": 0.0196, "flipped": 50}})
    rows = {measure: (value, error, count) for _, measure, value, error, count in measured.flip_rows(tmp_path)}
    assert rows["success"] == (0.5, pytest.approx(0.05), 100)
    assert rows["l1"] == (0.2, pytest.approx(0.01), 50)


def test_a_page_has_a_row_a_name_and_says_of_how_many_where_that_differs():
    made = {"table": "t", "scale": "small", "date": "today", "machine": "one", "seeds": [0], "seconds": 1234,
            "rows": [("a", "l1_x", 0.5, 0.01, 10), ("b", "l1_x", 0.25, None, 1000), ("b", "y", -4e-9, 1e-9, None)]}
    assert measured.lines_of(made)[2:-1] == ["today; one; one seed; 1,234 s of all runs.", "", "|  | l1 x | y |",
                                             "| --- | --- | --- |", "| a | 0.500 +- 0.010 (10) |  |",
                                             "| b | 0.25 (1,000) | -4.0e-09 +- 1.0e-09 |"]


def test_two_tables_of_one_folder_stand_both_on_the_page(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(f"{measured.BEGIN}{measured.END}")
    for table in ("rcps-histogram", "rcps-levels"):
        monkeypatch.setitem(measured.MAKERS, table, lambda folder: [("x", "y", 1.0, None, None)])
        assert measured.make(table, tmp_path) == 0
    assert measured.write(tmp_path, page) == 0
    assert page.read_text().count("### table-rcps-") == 2


def test_a_table_without_runs_is_status_2(tmp_path, capsys):
    assert measured.make("blobgan-fid", tmp_path) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("value", [0.001234, 1.5, 1234.5])
def test_a_number_without_error_keeps_four_digits(value):
    assert float(measured.shown(value, None)) == pytest.approx(value, rel=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("table", wanted.TABLES)
def test_at_paper_scale_a_table_ends_with_what_it_wants(table, tmp_path):
    done = run(tmp_path, table, SCALE="paper", DRY_RUN="1", DATA=str(tmp_path), CHECKPOINTS=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.count("MISSING") == len(wanted.TABLES[table])
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_at_paper_scale_the_intervals_run_dry_on_stand_ins(tmp_path):
    from tests.tools.commands import results_of

    results_of("calibrate_rcps", "make-synthetic", "--base_dir", tmp_path, "--exp_name", "super_resolution",
               "--resize_factors", 1, 16, 32, "--num_images", 100)
    done = run(tmp_path, "rcps-levels", SCALE="paper", DRY_RUN="1", DATA=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_at_paper_scale_the_fid_of_blobgan_runs_dry_on_stand_ins(tmp_path, inception_weights):
    from tests.tools.blobgan_networks import save_blobgan
    from tests.tools.every_command import bitmaps

    save_blobgan(tmp_path / "blobgan_256x512.ckpt")
    (tmp_path / inception_weights.name).symlink_to(inception_weights)
    bitmaps(tmp_path / "bdd100k/images/100k/val")
    done = run(tmp_path, "blobgan-fid", SCALE="paper", DRY_RUN="1", DATA=str(tmp_path), CHECKPOINTS=str(tmp_path))
    assert done.returncode == 0, done.stderr
