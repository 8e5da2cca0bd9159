"""The table of differences against other programs: the numbers agree wherever these are installed."""

import pytest

from tests.peers.metrics import compare


@pytest.mark.filterwarnings("ignore")
def test_numbers_are_those_of_the_peers(own_cache):
    """clean-fid is among the requirements; its KID is a float32 sum."""
    rows, missing = compare(300, width=24, num_logits=10, size=100)
    assert "clean-fid" not in missing
    for name, metric, theirs, ours in rows:
        tolerance = {"FID": 1e-5, "KID": 1e-3, "its deviation over subsets": 1e-3}.get(metric, 1e-6)
        assert ours == pytest.approx(theirs, rel=tolerance), (name, metric)


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENPROBE_CACHE", str(tmp_path))
