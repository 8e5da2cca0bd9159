"""Damaged files of a work folder, closed streams and early signals end in a line, not in a traceback."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from common.files import write_json
from tests.tools.commands import ROOT, environment
from tests.tools.qc_ncsn.runs import call, good, start

TRAIN = ("train", "--config", "u_digits", "--config.model.nf=4", "--config.model.ch_mult=1",
         "--config.model.attn_resolutions=()", "--bs", "4", "--device", "cpu")
BROKEN = b'{"step": "x"}\n\xff\xfe\n[1]\n{"step": 1, "loss": "x"}\n{"step": 2, "lo'


def test_a_broken_log_stops_neither_training_nor_comparing(tmp_path):
    words = (*TRAIN, "--workdir", tmp_path / "w", "--n_iters")
    good(*words, "2")
    log = tmp_path / "w" / "log.jsonl"
    log.write_bytes(log.read_bytes() + BROKEN)
    good("compare", "--workdirs", tmp_path / "w", "--output_dir", tmp_path / "t")
    assert good(*words, "3")["step"] == 3


ARRAYS = {"text": np.array(["a"]), "empty": np.zeros(0), "booleans": np.array([True]), "complex": np.array([1j]),
          "objects": np.array([None]), "no finite ones": np.array([np.nan]), "infinity": np.array([np.inf])}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("key", ["bpd", "nfe", "asym", "nasym"])
def test_stored_arrays_that_are_no_numbers_are_named(key, name, tmp_path):
    kind = "nll" if key in ("bpd", "nfe") else "asym"
    path = tmp_path / kind / ("bpd_0.npz" if kind == "nll" else "repeat_0.npz")
    path.parent.mkdir()
    values = {"bpd": np.ones(2), "nfe": 3} if kind == "nll" else {"asym": np.ones(2), "nasym": np.ones(2)}
    np.savez(path, **{**values, key: ARRAYS[name]})
    ended = call("eval", kind, "--workdir", tmp_path, "--read")
    assert ended.status == 2, ended.err
    assert ended.err.startswith(f"error: {path}: ")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("nfe", [np.nan, np.inf, "x", np.ones(2)])
def test_network_calls_that_are_no_finite_number_are_named(nfe, tmp_path):
    path = tmp_path / "eval_sampling" / "0" / "samples_0.npz"
    path.parent.mkdir(parents=True)
    np.savez(path, samples=np.zeros((2, 4, 4, 1), np.uint8), nfe=nfe)
    ended = call("eval", "nfe", "--workdir", tmp_path)
    assert ended.status == 2, ended.err
    assert ended.err.startswith(f"error: {path}: 'nfe' is ")


def test_one_image_is_shown_without_an_error(tmp_path):
    (tmp_path / "nll").mkdir()
    np.savez(tmp_path / "nll" / "bpd_0.npz", bpd=np.ones(1), nfe=3)
    ended = call("eval", "nll", "--workdir", tmp_path, "--read", "--json")
    assert "nan" not in ended.err
    assert ended.results["nll_se"] is None


@pytest.mark.parametrize("results", [{"nll": "x"}, {"asym_by_level": "x", "sigma": 3}, {"nll": [1]}, {"nfe": None}])
def test_a_record_of_other_values_is_compared_without_them(results, tmp_path):
    for folder in ("nll", "asym", "eval_sampling/0"):
        write_json(tmp_path / "w" / folder / "run.json", {"status": "done", "tool": "qc_ncsn", "options": {},
                                                          "command": f"qc_ncsn eval {folder}", "results": results})
    assert call("compare", "--workdirs", tmp_path / "w", "--output_dir", tmp_path / "t").status == 0


@pytest.mark.parametrize(("words", "status"), [(("train", "--bad"), 2), (("train", "--help"), 0)])
def test_closed_streams_change_no_status(words, status):
    command = [sys.executable, "-m", "tools.qc_ncsn", *words]
    closed = subprocess.run(["sh", "-c", '"$@" 2>&- >&-', "sh", *command], cwd=ROOT, env=environment(), check=False)
    assert closed.returncode == status


@pytest.mark.parametrize("delay", [0.1, 0.3, 0.8])
def test_an_early_interruption_leaves_no_traceback(delay, tmp_path):
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", ""], env=environment(), check=True)
    own = time.monotonic() - began  # Python's own start, whose ending is not ours
    process = start(*TRAIN, "--workdir", tmp_path / "w", "--n_iters", "100000", "--quiet")
    time.sleep(own + delay)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in err
