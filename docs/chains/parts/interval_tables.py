"""Tables of the intervals' demo and of `make table-rcps-...`.

    python -m docs.chains.parts.interval_tables demo FOLDER
    python -m docs.chains.parts.interval_tables levels CALIBRATION OWN
    python -m docs.chains.parts.interval_tables histogram CALIBRATION

levels: each level's share of coordinates outside before, at the one lambda of the mean over the levels, and at a lambda
of its own (a calibration with --levels_as each_together); the widths.  histogram: test risks over the splits.
demo: writes the levels of FOLDER's calibrations to FOLDER/table_promise.csv, to FOLDER/table_stress.csv the widths and
the share outside for ever stronger corruptions, of FOLDER/.stress, and what they show to FOLDER/summary.json.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np

from common.console import say
from common.formats.tables import write_table
from common.summary import Quantity, figures, summary, write_summary

COLUMNS = ["level", "outside at lambda 1", "lambda of the mean", "outside", "width", "lambda of its own",
           "outside there", "width there"]
KEPT = (Quantity("outside at lambda 1", "outside, not calibrated", "%", scale=100),
        Quantity("outside", "outside, one lambda for all", "%", scale=100), Quantity("width", "width"),
        Quantity("outside there", "outside, a lambda for each", "%", scale=100), Quantity("width there", "its width"))


def read(path):
    """Return what a JSON file holds."""
    return json.loads(path.read_text())


def level_rows(mean, own):
    """Return a row of COLUMNS for each level, and their mean, of two folders of calibrations."""
    pairs = zip(*(read(Path(folder) / "calibration.json")["levels"] for folder in (mean, own)))
    rows = [[one["level"], one["risk_uncalibrated"], one["lambda_hat"][0], one["test_risk_mean"],
             one["width_calibrated"], other["lambda_hat"][0], other["test_risk_mean"], other["width_calibrated"]]
            for one, other in pairs]
    averages = [sum(column) / len(column) for column in list(zip(*rows))[1:]]
    return [[name, *(f"{value:.3f}" for value in values)]
            for name, *values in [*rows, ["mean over the levels", *averages]]]


def histogram_rows(calibration):
    """Return a row (test risk, mean, deviation, lowest, highest, splits above alpha) before and after calibration."""
    alpha = read(calibration / "calibration.json")["alpha"]
    with open(calibration / "figures" / "table_risk.csv", newline="") as table:
        runs = list(csv.DictReader(table))
    rows = []
    for name in ("uncalibrated", "calibrated"):
        risks = np.array([float(run[name]) for run in runs])
        numbers = (risks.mean(), risks.std(), risks.min(), risks.max())
        rows.append([name, *(f"{value:.4f}" for value in numbers), f"{(risks > alpha).sum()} of {len(risks)}"])
    return rows


def show(columns, rows):
    """Print a table in Markdown."""
    for row in (columns, ["---"] * len(columns), *rows):
        print(f"| {' | '.join(row)} |")


def demo(folder):
    """Write both tables of the demo, and say what the splits show."""
    calibration = folder / "digits" / "calibration"
    rows = level_rows(calibration, folder / "each_together")
    write_table(folder / "table_promise.csv", COLUMNS, rows)
    levels = read(folder / ".stress" / "stress_test" / "stress_test_results.json")["corruption_levels"]
    write_table(folder / "table_stress.csv", ["corruption", "width", "outside"], [
        [name, f"{entry['mean_interval_width']:.3f}", f"{entry['risk']:.3f}"] for name, entry in levels.items()])
    mean = read(calibration / "calibration.json")
    found = f"on digits not used to choose lambda, {mean['test_risk_mean']:.3f} lie outside (promised: at most " \
            f"{mean['alpha']:g}; {mean['test_risk_uncalibrated']:.3f} at lambda 1); more than promised in " \
            f"{mean['runs_above_alpha']} of 200 splits"
    say(found)
    lines = [(row[0], figures({name: float(value) for name, value in zip(COLUMNS[1:], row[1:])}, KEPT)) for row in rows]
    write_summary(folder, summary("Style vectors of digits: intervals that keep their promise", lines, "comparison",
                                  f"O{found[1:]}.", [["digits.png", "digits drawn by the generator"]]))


def main(what, *folders):
    """Make the table that is asked for."""
    if what == "demo":
        demo(Path(folders[0]))
    elif what == "levels":
        show(COLUMNS, level_rows(*folders))
    else:
        show(["test risk", "mean", "deviation", "lowest", "highest", "splits above alpha"],
             histogram_rows(Path(folders[0])))


if __name__ == "__main__":
    main(*sys.argv[1:])
