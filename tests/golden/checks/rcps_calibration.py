"""Calibration of prediction sets: bounds, and a whole published calibration, through what the command calls."""

import dataclasses
import math
import re

import numpy as np

from tests.golden.compare import Judged, within
from tests.golden.registry import check

BOUNDS = {"hoeffding_simple": "hoeffding", "hoeffding_kl": "kl", "bentkus": "bentkus", "hoeffding_bentkus": "hb",
          "hb_as_in_runner": "bentkus"}  # columns of a table; the runner's own "hb" is Bentkus' alone


@check("rcps/rcps_bounds")
def rcps_bounds(case):
    """A table (risk, n, delta) x bounds, with the published floor of n * risk; WSR bounds of sequences in order."""
    from common.rcps.bounds import capital_bound, counted_bound, predictable_bets

    table, columns = case.arrays["table"].copy(), case.spec.get("table_columns", ["muhat", "n", "delta", *BOUNDS])
    for row in table:
        mean, number, delta = (row[columns.index(name)] for name in ("muhat", "n", "delta"))
        count = math.floor(mean * number)
        for place, name in enumerate(columns):
            if name in BOUNDS:
                row[place] = counted_bound(BOUNDS[name], mean, count, int(number), delta)
    ends = np.cumsum(case.arrays["wsr_len"])
    sequences = np.split(case.arrays["wsr_x"], ends[:-1])
    bounds = [capital_bound(losses, predictable_bets(losses, delta), delta)
              for losses, delta in zip(sequences, case.arrays["wsr_delta"])]
    return {"table": table, "wsr": np.array(bounds)}


LEVELS = ("easy", "medium", "hard")


@check("rcps/rcps_calibration")
def rcps_calibration(case):
    """Outputs at some levels calibrated as published, with each bound and normalisation: choices, risks, set sizes.

    Where no lambda passes the original takes the first, 0: empty sets, of risk 1; tables of other bounds say -1 there.
    """
    from common.rcps.choice import PUBLISHED
    from common.rcps.splits import published_seeds

    levels, group, runs = _calibrate(case, case.spec.get("norm_scheme", "mean").split()[0], "wsr")
    exact = {"lambdas": PUBLISHED, "split_seeds": published_seeds(case.spec["total_runs"]), "val_idx": runs.calibration,
             "test_idx": runs.test, "miss_counts": group.tables[0], "idx_lambda_calib": runs.places[:, 0],
             "lambda_calib": PUBLISHED[runs.places[:, 0]]}
    risks = {"mean_emp_risks": runs.risks, "uncalibrated_test_risk": runs.plain_risks, **_at_choice(group, runs)}
    sizes = {}
    for level in levels:
        own_risks, own_sizes = _of_level(case, level, runs)
        risks |= own_risks
        sizes |= own_sizes
    for scheme, flag in (("min_max", "min_max_legacy"), ("none", "none")):
        other = _calibrate(case, flag, "wsr")[2]
        chosen = other.places[:, 0]
        exact |= {f"{scheme}_idx_lambda_calib": chosen, f"{scheme}_lambda_calib": PUBLISHED[chosen]}
        risks[f"{scheme}_mean_emp_risks"] = other.risks
    for name, bound in (("hoeffding", "hoeffding"), ("hb", "hb"), ("hb_runner", "bentkus")):
        exact[f"idx_lambda_{name}"] = _calibrate(case, "mean", bound)[2].places[:, 0]
    for name, chosen in exact.items():  # 0 is never a choice: at lambda 0 everything is missed
        if name.startswith("idx_lambda_") and np.shape(case.arrays.get(name)) == np.shape(chosen):
            exact[name] = np.where((chosen == 0) & (case.arrays[name] == -1), -1, chosen)
    judged = {}
    for got, limits in ((exact, {}), (risks, {"atol": 1e-9}), (sizes, {"rtol": 1e-5})):
        judged |= {name: within(value, case.arrays[name], **limits) for name, value in got.items()
                   if name in case.arrays}
    left = {*case.arrays} - {*judged} - {"dims"}
    assert not left, f"nothing was compared with {sorted(left)}"
    return Judged(judged)


def _calibrate(case, scheme, bound):
    """Return ([Level], Group, Runs) of a case's files, as `calibrate_rcps --parity --bound B` makes them."""
    from tools.calibrate_rcps.calibration import spread_over_splits
    from tools.calibrate_rcps.levels import open_levels, read_levels
    from tools.calibrate_rcps.options import CalibrateOptions, settle

    factors = sorted(case.spec["files"], key=int)
    names = _level_names(case, factors)
    found = [(name, int(factor), case.file(factor) / "outputs.npz")
             for name, factor in zip(names, factors, strict=True)]
    promised = {name: [value] if name == "alpha" else value for name in ("alpha", "delta")
                if isinstance(value := case.spec.get(name), (int, float))}
    options = CalibrateOptions(outputs=[f"{name}={path}" for name, _, path in found], norm_scheme=scheme, bound=bound,
                               parity=True, total_runs=case.spec["total_runs"], **promised)
    levels = read_levels(found, open_levels(found), case.spec["selected_dims"], scheme, published=True)
    (rules,) = settle(options).values()
    ((group, runs),) = spread_over_splits(levels, rules)
    return levels, group, _as_published(group, runs)


def _level_names(case, factors):
    """Return the levels' names as the case's arrays have them, in order; those of three are the published ones."""
    named = [name.removeprefix("emp_risk_all_") for name in case.arrays if name.startswith("emp_risk_all_")]
    if len(factors) == len(LEVELS) and {*named} <= {*LEVELS}:
        return LEVELS
    return named if len(named) == len(factors) else [f"level_{factor}" for factor in factors]


def _as_published(group, runs):
    """Return Runs with lambda 0, the first of the grid, where none passes."""
    from tools.calibrate_rcps.calibration import Setting

    none = runs.places[:, 0] < 0
    empty = Setting(np.zeros(1), np.zeros(1, int), group.plain)
    return dataclasses.replace(
        runs, lambdas=np.where(none[:, None], 0, runs.lambdas), places=np.where(none[:, None], 0, runs.places),
        risks=np.where(none, 1.0, runs.risks),
        settings=[empty if setting is None else setting for setting in runs.settings])


def _at_choice(group, runs):
    """Return the mean calibration loss and the bound of each run at its lambda, and the bound one lambda before."""
    found = {"rhat_at_choice": [], "ucb_at_choice": [], "ucb_before_choice": []}
    for calibration, place in zip(runs.calibration, runs.places[:, 0]):
        misses = group.tables[0][:, group.rows(calibration)].astype(int)
        test = group.test(group.width)
        found["rhat_at_choice"].append(misses[place].mean() / group.width)
        found["ucb_at_choice"].append(test.upper_bound(misses[place]))
        found["ucb_before_choice"].append(test.upper_bound(misses[max(place - 1, 0)]))
    return found


def _of_level(case, level, runs):
    """Return (risks, set sizes) of a level's arrays: over all its images, and the edges of the last run."""
    from common.rcps.choice import PUBLISHED
    from tools.calibrate_rcps.published import level_stats, prediction_sets
    from tools.calibrate_rcps.stored import mean_sizes

    name, last = level.name, runs.places[-1, 0]
    stats, (lower, upper) = level_stats(level, PUBLISHED, runs), prediction_sets(level, PUBLISHED)
    mean = mean_sizes(level, runs.lambdas, runs.settings)
    edges = {f"lower_{name}_last": lower[last], f"upper_{name}_last": upper[last]}
    width = upper[last] - lower[last]
    firsts = {name: int(found[1]) for name in case.arrays
              if (found := re.fullmatch(rf"width_{re.escape(level.name)}_last_first(\d+)", name))}
    return ({f"emp_risk_all_{name}": [risks.mean() for risks in stats["all_emp_risks"]]},
            {f"set_size_mean_per_dim_{name}": mean, f"set_size_mean_{name}": mean.mean(axis=1), **edges,
             f"width_{name}_last": width.mean(axis=0),
             **{first: width[:count].mean(axis=0) for first, count in firsts.items()}})
