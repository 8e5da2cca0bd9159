"""The golden runner itself: weights, tolerances, cases anywhere, exit statuses."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.golden.__main__ import main
from tests.golden.compare import Judged, judge, limits, within, worst_of
from tests.golden.fill import fill_array, fill_state
from tests.golden.registry import Case, check, find_cases, find_check
from tests.golden.run import run_case

ROOT = Path(__file__).parent.parent


def make_case(folder, spec, **arrays):
    folder.mkdir(parents=True)
    (folder / "case.json").write_text(json.dumps(spec))
    np.savez(folder / "case.npz", **arrays)
    return Case(folder)


@pytest.mark.parametrize(("got", "expected", "tolerance", "ratio"), [
    ([1.0, 2.0], [1.0, 2.0], {}, 0), ([1.0], [1.5], {"atol": 0.25}, 2), ([10.0], [8.0], {"rtol": 0.25}, 1),
    ([1.0, 100.0], [2.0, 100.0], {"atol_rel_to_max": 0.02}, 0.5), ([0.0], [3.0], {"atol": 1, "rtol": 1}, 0.75),
    ([math.nan], [1.0], {"atol": 1}, math.inf), ([1.0], [math.nan], {"atol": 1}, math.inf),
    ([math.nan], [math.nan], {}, 0),
    ([math.inf], [math.inf], {}, 0), ([math.inf], [1.0], {"rtol": 1}, math.inf),
    ([1.0], [1.0, 1.0], {"atol": 9}, math.inf),
    ([1.0], [1.0 + 1e-9], {}, math.inf), ([], [], {}, 0), (["a"], ["a"], {}, 0), (["a"], ["b"], {"atol": 9}, math.inf),
    ([True], [False], {"atol": 9}, math.inf), (3, 4, {"atol": 2}, 0.5),
])
def test_error_over_tolerance(got, expected, tolerance, ratio):
    assert within(np.array(got), np.array(expected), **tolerance) == pytest.approx(ratio)


def test_unsigned_differences_do_not_wrap():
    assert within(np.uint8([0]), np.uint8([255]), atol=1) == 255


@pytest.mark.parametrize(("tolerance", "name", "expected"), [
    (None, "x", {}), ("exact", "x", {}), (0, "x", {}), ({"exact": True}, "x", {}), (1e-6, "x", {"atol": 1e-6}),
    ({"abs": 0.1, "note": "text"}, "x", {"atol": 0.1}), ({"rtol": 0.1, "grad_rtol": 2}, "x", {"rtol": 0.1}),
    ({"flat": 0, "other": {"rtol": 0.5}}, "flat", {}), ({"flat": 0, "other": {"rtol": 0.5}}, "other", {"rtol": 0.5}),
    ({"rtol": 0.1, "uint8": 1}, "x", {"rtol": 0.1}),
])
def test_tolerances_are_read_as_the_cases_write_them(tolerance, name, expected):
    assert limits(tolerance, name, "float32") == expected


def test_a_uint8_array_has_its_own_limit():
    assert limits({"rtol": 0.1, "uint8": 1}, "x", "uint8") == {"atol": 1.0}


@pytest.mark.parametrize("tolerance", ["within a grey level", {"bpd_abs": 0.02}])
def test_what_cannot_be_read_is_not_guessed(tolerance):
    with pytest.raises(ValueError, match="must judge it"):
        limits(tolerance, "x")


def test_a_check_may_judge_by_itself():
    ratios = judge(Judged({"bpd": 0.5}, {"x": 1.0}), {"x": np.array(1.0)}, None)
    assert worst_of(ratios) == ("bpd", 0.5)
    assert worst_of({"a": 3.0, "b": math.nan})[0] == "b"
    with pytest.raises(ValueError, match="compared nothing"):
        judge({}, {}, None)


def test_filled_values_depend_on_the_name_alone():
    row = {"name": "module.weight", "shape": [2, 3], "dtype": "float32", "mean": 1.0, "std": 0.5}
    first = fill_array(row)
    assert first.dtype == np.float32
    assert np.array_equal(first, fill_array(dict(row)))
    assert not np.array_equal(first, fill_array({**row, "name": "module.bias"}))
    assert fill_array({"name": "n", "shape": [], "dtype": "int64", "value": 7}) == 7


def test_two_things_replace_a_filled_value():
    rows = [{"name": name, "shape": [2], "dtype": "float32", "mean": 0, "std": 1} for name in ("a", "b", "c")]
    rows[1]["buffer"] = "kernel"
    arrays = {"state:a": np.array([1.0, 2.0]), "kernel": np.array([[3.0, 4.0]])}
    state = fill_state(rows, arrays)
    assert state["a"].tolist() == [1, 2]
    assert state["b"].tolist() == [3, 4]
    assert np.array_equal(state["c"], fill_array(rows[2]))


def test_cases_are_found_at_any_depth_and_read_relative_files(tmp_path):
    make_case(tmp_path / "area" / "one",
              {"check": "x/y", "files": {"a": "data"}, "manifest_from": "../two/manifest.json"})
    two = make_case(tmp_path / "area" / "two", {"check": "x/y", "seconds_one_cpu_thread": 5.5, "input_tree": "tree"})
    (two.folder / "manifest.json").write_text('[{"name": "w", "shape": [1], "dtype": "int64", "value": 3}]')
    one, other = find_cases(tmp_path)
    assert one.state_dict()["w"].tolist() == [3]
    assert one.file("a") == tmp_path / "area" / "one" / "data"
    assert other.path("input_tree") == two.folder / "tree"
    assert (one.slow, other.slow) == (False, True)


def test_nan_and_exceptions_fail(tmp_path):
    case = make_case(tmp_path / "c", {"check": "x/y", "tolerance": 1.0}, x=np.array([1.0]))
    assert run_case(case, lambda case: {"x": case.arrays["x"]}).passed
    assert not run_case(case, lambda case: {"x": np.array([math.nan])}).passed
    assert not run_case(case, lambda case: Judged({"own": math.nan})).passed
    assert not run_case(case, lambda case: {"unknown": 1}).passed
    broken = run_case(case, lambda case: 1 / 0)
    assert not broken.passed
    assert "ZeroDivisionError" in broken.line()


def test_checks_are_registered_by_name():
    assert find_check("qc_ncsn/imagenet32_files") is not None
    assert find_check("qc_ncsn/none") is None
    assert find_check("nothing/none") is None
    with pytest.raises(AssertionError, match="two checks"):
        check("qc_ncsn/imagenet32_files")(lambda case: {})


def golden(*words):
    command = [sys.executable, "-m", "tests.golden", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_tells_passes_failures_and_unknown_checks(tmp_path, capsys):
    source = ROOT / "tests" / "golden" / "qc_ncsn" / "imagenet32_files"
    shutil.copytree(source, tmp_path / "good")
    done = golden(tmp_path)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "1 passed, 0 failed"
    shutil.copytree(source, tmp_path / "bad")
    with np.load(source / "case.npz") as archive:
        arrays = dict(archive)
    np.savez(tmp_path / "bad" / "case.npz", **{**arrays, "val_data_label": arrays["val_data_label"] + 1})
    assert main(["--json", str(tmp_path)]) == 1
    rows = json.loads(capsys.readouterr().out)["results"]
    assert [(row["check"], row["case"], row["passed"]) for row in rows] == [
        ("qc_ncsn/imagenet32_files", "bad", False), ("qc_ncsn/imagenet32_files", "good", True),
    ]
    make_case(tmp_path / "new", {"check": "no/such"})
    assert main([str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == "1 passed, 1 failed"
    assert "unknown check no/such" in said.err


@pytest.mark.parametrize("words", [["none"], ["tests/common"], [], ["--jsn", "tests/golden"]])
def test_wrong_words_end_with_one_line(words):
    done = golden(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
