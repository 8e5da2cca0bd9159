"""Every command's record has a summary that the page can show, and the page names no place of the machine."""

import shutil

import numpy as np
import pytest

from common.record import read_record
from common.summary import check_summary
from tests.tools.every_command import COMMANDS, make_inputs
from tests.tools.report.folders import page_of

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The inputs of all commands."""
    folder = tmp_path_factory.mktemp("made")
    make_inputs(folder)
    return folder


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "report"])
def test_every_record_has_a_summary_with_figures(made, tmp_path, monkeypatch, name):
    from tools.process_embeddings import embed

    monkeypatch.setattr(embed, "fit_map", lambda features, *rest: (None, np.ascontiguousarray(features[:, : rest[3]])))
    shutil.copytree(made / "in", tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    ended = COMMANDS[name].run("--quiet")
    assert ended.status == 0, ended.err
    record = read_record(tmp_path / COMMANDS[name].record / "run.json")
    summary = check_summary(record["summary"], name)
    assert [figure for row in summary["rows"] for figure in row["figures"]], summary
    assert record["words"][-1] == "--quiet"
    shutil.rmtree(tmp_path / "in")
    page = page_of(tmp_path / "out")
    assert summary["title"] in page.text
    assert str(tmp_path) not in page.source
    assert "/tmp" not in page.source
