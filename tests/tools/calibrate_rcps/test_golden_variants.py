"""Golden checks of calibrations and bounds on cases of other sizes, whose values are computed here, literally."""

import json
import math

import numpy as np
import pytest

from tests.golden.registry import Case, find_check
from tests.golden.run import run_case
from tests.tools.calibrate_rcps.conftest import make_outputs

GRID = np.concatenate([np.linspace(0, 1, 10, endpoint=False), np.linspace(1, 10, 100)])
DELTA = 0.1


def write_case(folder, spec, **arrays):
    (folder / "case.json").write_text(json.dumps(spec))
    np.savez(folder / "case.npz", **arrays)
    return Case(folder)


def log_capital(losses, alpha):
    """Return the highest log capital of a sequence, one loss after another."""
    capital, highest, total, spread, variance = 0.0, -math.inf, 0.0, 0.25, 0.25
    for place, loss in enumerate(losses, 1):
        bet = min(1, math.sqrt(2 * math.log(1 / DELTA) / (len(losses) * variance)))
        capital += math.log(1 - bet * (loss - alpha))
        highest, total = max(highest, capital), total + loss
        spread += (loss - (0.5 + total) / (1 + place)) ** 2
        variance = spread / (1 + place)
    return highest


def literal(files, dims, alpha, runs):
    """Return {array: value} of a calibration as the original's, lambda by lambda; the first where none passes."""
    missed = []
    for path in files:
        with np.load(path) as outputs:
            mean = outputs["mean_style_space_vector"]
            truth, (point, lower, upper) = outputs["all_sv"][:, dims], (
                (outputs[f"all_sv_hat{end}"] + mean)[:, dims] for end in ("", "_lq", "_uq"))
        below, above = np.maximum(point - lower, 0), np.maximum(upper - point, 0)
        missed.append([~((point - value * below < truth) & (truth < point + value * above)) for value in GRID])
    count = len(truth)
    seeds = np.random.RandomState(2021).randint(0, 1000, runs)
    picked = [np.random.RandomState(seed).choice(count, int(0.8 * count), replace=False) for seed in seeds]
    others = [np.setdiff1d(np.arange(count), own) for own in picked]
    found = {"idx_lambda_calib": [], "mean_emp_risks": [], "idx_lambda_hoeffding": []}
    for own, test in zip(picked, others):
        losses = [np.concatenate([level[place][own].mean(1) for level in missed]) for place in range(len(GRID))]
        tests = {"idx_lambda_calib": lambda values: log_capital(values, alpha) >= math.log(1 / DELTA),
                 "idx_lambda_hoeffding": lambda values: values.mean() + math.sqrt(
                     math.log(1 / DELTA) / 2 / len(values)) <= alpha}
        for name, passes in tests.items():
            found[name].append(next((place for place, values in enumerate(losses)
                                     if values.mean() <= alpha and passes(values)), 0))
        chosen = found["idx_lambda_calib"][-1]
        found["mean_emp_risks"].append(np.concatenate([level[chosen][test].mean(1) for level in missed]).mean())
    counts = np.concatenate([np.stack([level.sum(1) for level in each]) for each in missed], axis=1)
    return {**found, "miss_counts": counts, "val_idx": np.stack(picked), "test_idx": np.stack(others),
            "split_seeds": seeds, "lambda_calib": GRID[found["idx_lambda_calib"]]}


@pytest.mark.parametrize(("factors", "count", "alpha", "scale"), [((1, 4), 31, 0.1, 1), ((1, 2, 4, 8), 17, 0.1, 1),
                                                                  ((1, 16, 32), 20, 0.1, 60)])
def test_calibrations_of_other_sizes_and_without_a_lambda(tmp_path, factors, count, alpha, scale):
    files = [make_outputs(tmp_path / str(factor) / "outputs.npz", count=count, dims=9, scale=scale * (1 + factor / 20))
             for factor in factors]
    found = literal(files, [7, 2, 5], alpha, 6)
    assert (found["idx_lambda_calib"] == [0] * 6) == (scale == 60)
    spec = {"check": "rcps/rcps_calibration", "selected_dims": [7, 2, 5], "total_runs": 6,
            "files": {str(factor): str(factor) for factor in factors}}
    case = write_case(tmp_path, spec, **found)
    result = run_case(case, find_check("rcps/rcps_calibration"))
    assert result.passed, result.line()
    assert (0 in found["idx_lambda_hoeffding"]) == (scale == 60 or count * len(factors) * 0.8 < 116)
    none = np.array(found["idx_lambda_hoeffding"])  # for which tables of other bounds than the original's say -1
    case.arrays["idx_lambda_hoeffding"] = np.where(none == 0, -1, none)
    assert run_case(case, find_check("rcps/rcps_calibration")).passed
    case.arrays["idx_lambda_calib"][0] += 1
    assert not run_case(case, find_check("rcps/rcps_calibration")).passed


def test_levels_and_image_counts_are_those_of_the_cases_arrays(tmp_path):
    files = [make_outputs(tmp_path / str(factor) / "outputs.npz", count=20, dims=9) for factor in (2, 4)]
    found = literal(files, [7, 2], 0.3, 3)
    with np.load(files[1]) as outputs:
        width = (outputs["all_sv_hat_uq"] - outputs["all_sv_hat_lq"])[:7, [7, 2]].mean(axis=0)
    more = {"emp_risk_all_near": found["miss_counts"][found["idx_lambda_calib"], :20].mean(axis=1) / 2,
            "emp_risk_all_far": found["miss_counts"][found["idx_lambda_calib"], 20:].mean(axis=1) / 2,
            "width_far_last_first7": width * GRID[found["idx_lambda_calib"][-1]]}
    case = write_case(tmp_path, {"check": "rcps/rcps_calibration", "selected_dims": [7, 2], "total_runs": 3,
                                 "alpha": 0.3, "files": {"2": "2", "4": "4"}}, **found, **more)
    result = run_case(case, find_check("rcps/rcps_calibration"))
    assert result.passed, result.line()


def test_bounds_in_other_columns(tmp_path):
    rows = [(0.07, 60, 0.2), (0.31, 500, 0.01)]
    table = np.array([[delta, mean + math.sqrt(math.log(1 / delta) / 2 / number), number, mean]
                      for mean, number, delta in rows])
    losses = np.array([0, 0.5, 1, 0, 0, 0.25, 0, 0, 0, 0.75])
    case = write_case(tmp_path, {"check": "rcps/rcps_bounds", "tolerance": 1e-9,
                                 "table_columns": ["delta", "hoeffding_simple", "n", "muhat"]},
                      table=table, wsr_x=losses, wsr_len=np.array([10]), wsr_delta=np.array([DELTA]),
                      wsr=np.array([1.0]))
    result = run_case(case, find_check("rcps/rcps_bounds"))
    low, high = 0.0, 1.0
    for _ in range(60):
        low, high = (low, middle) if log_capital(losses, middle := (low + high) / 2) >= math.log(1 / DELTA) else \
            (middle, high)
    case.arrays["wsr"][0] = high
    assert run_case(case, find_check("rcps/rcps_bounds")).passed, result.line()
