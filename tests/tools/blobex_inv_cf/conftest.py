"""Tiny inputs, made once, and a finished run."""

import os
import shutil

import pytest

from tests.tools.blobex_inv_cf.runs import WORDS, write_material
from tests.tools.commands import results_of


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A folder with gan.ckpt, encoder.pt, decision.tar, val/ and a finished run in `out`."""
    folder = write_material(tmp_path_factory.mktemp("cf"))
    before = os.getcwd()
    os.chdir(folder)
    results_of("blobex_inv_cf", *WORDS)
    os.chdir(before)
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """A copy of these, and the current folder."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
