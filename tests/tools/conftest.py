"""What the tools' tests share."""

import pytest


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """An empty folder that is the current one, with the default places for statistics and cache."""
    monkeypatch.chdir(tmp_path)
    for name in ("GENPROBE_STATS", "GENPROBE_CACHE", "GENPROBE_INCEPTION"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path
