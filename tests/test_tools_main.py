"""`python -m tools`: what there is, told without importing it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools.__main__ import EMBEDDED, find_tools, preset_modules

ROOT = Path(__file__).parent.parent


def ask(*words):
    command = [sys.executable, "-X", "importtime", "-m", "tools", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert " torch" not in done.stderr
    return done


def test_the_list_has_one_line_for_each_tool():
    done = ask()
    assert done.returncode == 0
    for name, line in find_tools().items():
        assert any(text.split() == [name, *line.split()] for text in done.stdout.splitlines())
        assert line


def test_tools_are_read_and_not_imported(tmp_path):
    (tmp_path / "broken.py").write_text('"""Breaks when imported.\n\nMore text.\n"""\nraise SystemExit(1)\n')
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "__main__.py").write_text('"""A tool of several files."""\n')
    (tmp_path / "folder" / "helper.py").write_text('"""No tool."""\n')
    (tmp_path / "__init__.py").write_text("")
    assert find_tools(tmp_path) == {"broken": "Breaks when imported.", "folder": "A tool of several files."}


def test_presets_are_listed_with_a_line_each():
    done = ask("presets")
    assert done.returncode == 0
    for tool, module in preset_modules().items():
        assert f"{tool}:" in done.stdout
        for name, line in module.PRESETS.items():
            assert name in done.stdout
            assert line in done.stdout
            assert "\n" not in line


def test_embedded_data_is_as_the_list_says():
    from common.datasets.sets.embedded import NAMES, open_embedded

    assert set(EMBEDDED) == set(NAMES)
    for name in NAMES:
        line = EMBEDDED[name]
        assert all(f"{len(open_embedded(name, split)):,} {split}" in line for split in ("train", "test"))
        assert name in ask("data").stdout


@pytest.mark.parametrize("words", [["toools"], ["presets", "more"]])
def test_unknown_words_are_named(words):
    command = [sys.executable, "-m", "tools", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: python -m tools ")
    assert done.stderr.count("\n") == 1
