"""Two processes under torchrun train like one; tests/faults has the longer comparisons."""

import json

import pytest

from tests.tools.qc_ncsn.runs import TINY, good, log_rows, torchrun

TRAIN = ("train", *TINY, "--n_iters", "19", "--log_freq", "1", "--balancing_fac", "0.003", "--slices", "2",
         "--config.model.dropout=0.2", "--config.optim.warmup=4")


@pytest.mark.long
def test_two_processes_train_like_one(tmp_path):
    good(*TRAIN, "--workdir", tmp_path / "one")
    ended = torchrun(2, *TRAIN, "--workdir", tmp_path / "two", "--json", "--quiet")
    assert ended.status == 0, ended.err
    assert json.loads(ended.out)["results"]["step"] == 19  # one object, from one process
    ours, theirs = log_rows(tmp_path / "two"), log_rows(tmp_path / "one")
    assert [row["step"] for row in ours] == list(range(20))
    for mine, expected in zip(ours, theirs):
        assert mine["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        assert mine["reg"] == pytest.approx(expected["reg"], rel=1e-3)
