"""Figures of a calibration. Each function draws on matplotlib axes of its own; global settings stay as they are."""

import numpy as np

from common.images.figures import new_figure, plain_text

BEFORE, AFTER, PREDICTED = "tab:red", "tab:green", "tab:cyan"
RISK_BINS, SIZE_BINS = np.linspace(0, 0.5, 100), np.linspace(0, 10, 100)
PLOT_TYPES = ("true_value", "predicted_value", "prediction_interval", "calibration_interval")


def risk_histogram(before, after, alpha):
    """Return (figure, axes) of the test risks of all splits, uncalibrated and calibrated: (runs,) each."""
    figure, axes = new_figure()
    axes.hist(before, RISK_BINS, color=BEFORE, alpha=0.7, label="uncalibrated")
    axes.hist(after, RISK_BINS, color=AFTER, alpha=0.7, label="calibrated")
    axes.axvline(alpha, color="black", linestyle="--", label=f"alpha {alpha:g}")
    values = np.concatenate([before, after, [alpha]])
    axes.set_xlim(min(0.05, values.min() - 0.01), max(0.2, values.max() + 0.01))
    axes.set_xlabel("risk of the test images")
    axes.set_ylabel("splits")
    axes.legend(loc="upper right")
    return figure, axes


def set_sizes(widths, title="width of the uncalibrated intervals"):
    """Return (figure, axes) of the widths of each level. widths: {level: array of any shape}."""
    figure, axes = new_figure()
    top = max(float(np.quantile(values, 0.999)) for values in widths.values())
    bins = SIZE_BINS if top <= SIZE_BINS[-1] else np.linspace(0, top, 100)
    for name, values in widths.items():
        # matplotlib leaves names that begin with an underscore out of the legend
        axes.hist(np.ravel(values), bins, alpha=0.5, label=f" {name}" if name.startswith("_") else name)
    axes.set_xlim(0, min(bins[-1], 1.05 * top))
    axes.set_xlabel(title)
    axes.set_ylabel("coordinates of all images")
    axes.legend(loc="upper right")
    return plain_text(figure), axes


def residuals(values):
    """Return (figure, axes) of truth - point as a box for each level. values: {level: array of any shape}."""
    figure, axes = new_figure()
    axes.boxplot([np.ravel(array) for array in values.values()], tick_labels=list(values), showfliers=False)
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set_ylabel("truth - point")
    return plain_text(figure), axes


def intervals(rows, names, plot_type="calibration_interval"):
    """Return (figure, axes) of one image's intervals, a line for each coordinate in units of its range, -1..1.

    rows: {"truth", "point", "lower", "upper", "low", "high": (K,)}; lower and upper as predicted, low and high as
    calibrated.  plot_type: one of PLOT_TYPES, how much is drawn.
    """
    figure, axes = new_figure(6.0, 0.22 * len(names) + 1.2)
    place, depth = np.arange(len(names)), PLOT_TYPES.index(plot_type)
    if depth == 3:
        axes.hlines(place, rows["low"], rows["high"], color=BEFORE, linewidth=5, alpha=0.5, label="calibrated")
    if depth >= 2:
        axes.hlines(place, rows["lower"], rows["upper"], color=PREDICTED, linewidth=2.5, label="predicted")
    if depth >= 1:
        axes.plot(rows["point"], place, "|", color="black", markersize=8, label="point")
    axes.plot(rows["truth"], place, "o", color="black", markersize=3.5, label="truth")
    axes.set_yticks(place, names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(-1, 1)
    axes.set_xticks([-1, -0.5, 0, 0.5, 1])
    axes.set_xlabel("value in units of the range over generated images")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return plain_text(figure), axes


def interval_rows(level, index, lambdas, shape=1.0):
    """Return {"truth", "point", "lower", "upper", "low", "high": (K,)} of an image of a Level.

    lower, upper: as predicted; low, high: calibrated.  lambdas: one number, or the lower's and the upper arm's.
    """
    point, below, above = level.point[index], level.intervals.below[index], level.intervals.above[index]
    return {"truth": level.truth[index], "point": point, "lower": point - below, "upper": point + above,
            "low": point - lambdas[0] * shape * below, "high": point + lambdas[-1] * shape * above}
