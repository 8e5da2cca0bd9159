"""Write the two tables of the intervals' demo: whose promise holds at which level, and where it ends.

    python -m docs.chains.parts.interval_tables FOLDER

FOLDER/table_promise.csv, of the calibrations in FOLDER/digits/calibration and FOLDER/each_together: each level's share
of coordinates outside before, at the one lambda of the mean over the levels, and at a lambda of its own; the widths.
FOLDER/table_stress.csv, of FOLDER/.stress: widths at lambda and the share outside for ever stronger corruptions.
"""

import json
import sys
from pathlib import Path

from common.console import say
from common.formats.tables import write_table


def read(path):
    """Return what a JSON file holds."""
    return json.loads(path.read_text())


def promise(folder):
    """Return (columns, rows, the mean's calibration): a row for each level, and their mean."""
    mean, own = (read(folder / name / "calibration.json") for name in ("digits/calibration", "each_together"))
    columns = ["level", "outside at lambda 1", "lambda of the mean", "outside", "width", "lambda of its own",
               "outside there", "width there"]
    rows = []
    for one, other in zip(mean["levels"], own["levels"]):
        rows.append([one["level"], one["risk_uncalibrated"], one["lambda_hat"][0], one["test_risk_mean"],
                     one["width_calibrated"], other["lambda_hat"][0], other["test_risk_mean"],
                     other["width_calibrated"]])
    averages = [sum(column) / len(column) for column in list(zip(*rows))[1:]]
    return columns, [[name, *(f"{value:.3f}" for value in values)]
                     for name, *values in [*rows, ["mean over the levels", *averages]]], mean


def stress(folder):
    """Return (columns, rows): a corruption each."""
    levels = read(folder / ".stress/stress_test/stress_test_results.json")["corruption_levels"]
    return ["corruption", "width", "outside"], [
        [name, f"{entry['mean_interval_width']:.3f}", f"{entry['risk']:.3f}"] for name, entry in levels.items()]


def main(folder):
    """Write both tables, and say what the splits show."""
    columns, rows, mean = promise(folder)
    write_table(folder / "table_promise.csv", columns, rows)
    write_table(folder / "table_stress.csv", *stress(folder))
    say(f"on digits that lambda was not chosen on: {mean['test_risk_mean']:.3f} outside (promised: at most "
        f"{mean['alpha']:g}; at lambda 1 it is {mean['test_risk_uncalibrated']:.3f}); more than that in "
        f"{mean['runs_above_alpha']} of 200 splits")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
