"""What the page of a folder of runs says first of calibrated sets: see common.summary."""

from common.numerals import number
from common.summary import Quantity, figures, summariser, summary

LEVEL = (Quantity("risk_uncalibrated", "outside before", "%", scale=100),
         Quantity("test_risk_mean", "outside, on test splits", "%", scale=100),
         Quantity("width_uncalibrated", "width before"), Quantity("width_calibrated", "width"),
         Quantity("num_images", "images"))
SETS = (Quantity("risk", "outside", "%", scale=100), Quantity("mean_width", "width"), Quantity("num_images", "images"))

figures_drawn = summariser("Figures of a calibration", pictures=[
    ["*risk*.png", "risk over random splits, before and after calibration"], ["*size*.png", "widths by level"],
    ["*.png", "figure of the calibration"]])
endpoints = summariser("Images at the ends of the intervals", Quantity("pictures", "pictures"), pictures=[
    ["*.png", "lower end, prediction and upper end of an interval"]])
synthetic = summariser("Synthetic outputs with known true risk", Quantity("num_images", "images"),
                       Quantity("num_dims", "coordinates"))
UNDER_STRESS = (Quantity("risk", "outside", "%", scale=100), Quantity("mean_interval_width", "width"))


def calibration(results):
    """Summarise a calibration: a row for each level, and the promise in words."""
    rows = [(row["level"], figures(row, LEVEL)) for row in results["levels"]]
    sentence = f"{results['promise'].rstrip('.')}; on test splits it is {number(results['test_risk_mean'])}, without " \
               f"calibration {number(results['test_risk_uncalibrated'])}." \
        if results.get("test_risk_mean") is not None and results.get("promise") else ""
    return summary("Calibrated prediction sets", rows, "measurement", sentence)


def sets(results):
    """Summarise `calibrate_rcps apply`: a row for each level."""
    return summary("Calibrated sets of new images", [(row["level"], figures(row, SETS))
                                                         for row in results["levels"]])


def experiments(results):
    """Summarise `calibrate_rcps experiments`: of the stress test a row for each corruption."""
    levels = results.get("stress_test", {}).get("corruption_levels", {})
    return summary("Experiments with a calibration", [(name, figures(each, UNDER_STRESS))
                                                      for name, each in levels.items()])


def simulation(results):
    """Summarise `calibrate_rcps simulate`: how often each bound breaks its promise."""
    share = Quantity("share_above_alpha", "draws above alpha", "%", se="standard_error", scale=100)
    return summary("How often a calibration breaks its promise",
                   [(f"{row['bound']}, {row['group']}", figures(row, [share])) for row in results["rows"]],
                   "measurement")
