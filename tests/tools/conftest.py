"""What the tools' tests share."""

import os
import shutil

import pytest


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """An empty folder that is the current one, with the default places for statistics and cache."""
    monkeypatch.chdir(tmp_path)
    for name in ("GENPROBE_STATS", "GENPROBE_CACHE", "GENPROBE_INCEPTION"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def own_material(own_folder, material):
    """The same, with links to what is in the folder `material` of a tool's tests."""
    shutil.copytree(material, own_folder, dirs_exist_ok=True, copy_function=os.link)
    return own_folder
