"""--version: the commit in a clone, the version alone elsewhere."""

import re
import subprocess

import pytest

from common import version
from tests.tools.commands import ROOT, call_tool


def clone(folder):
    """Make a repository of one commit that holds a pyproject.toml and return its short hash."""
    (folder / "pyproject.toml").write_text('[project]\nversion = "7.8.9"\n')

    def git(*words):
        return subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", folder, *words], check=True,
                              capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "one")
    return git("rev-parse", "--short=10", "HEAD")


def test_a_clone_names_its_commit_and_whether_files_changed(tmp_path):
    commit = clone(tmp_path)
    assert version.version_line(root=tmp_path) == f"genprobe 7.8.9 (commit {commit})"
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "7.9.0"\n')
    assert version.version_line("tool", tmp_path) == f"tool, genprobe 7.9.0 (commit {commit}, with changes)"


def test_without_git_it_is_the_version_alone(tmp_path, monkeypatch):
    clone(tmp_path)
    below = tmp_path / "venv" / "site-packages"  # of somebody's own repository
    below.mkdir(parents=True)
    assert re.fullmatch(r"genprobe \S+|genprobe of unknown version", version.version_line(root=below))
    monkeypatch.setenv("PATH", "")
    assert version.version_line(root=tmp_path) == "genprobe 7.8.9"


@pytest.mark.parametrize("words", [["report"], ["qc_ncsn"], ["qc_ncsn", "eval"], ["setup_fid", "list"]])
def test_every_command_tells_it(words):
    ended = call_tool(*words, "--version")
    assert ended.status == 0
    assert ended.out == f"{version.version_line(' '.join(words), ROOT)}\n"
