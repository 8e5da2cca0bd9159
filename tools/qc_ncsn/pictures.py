"""The plots of the evaluations."""

import numpy as np

from common.images.figures import new_figure, save_figure


def histogram(path, values, label, bins=30):
    """Draw a histogram of per-image values with its mean."""
    figure, axes = new_figure()
    axes.hist(values, bins=bins, color="#4c72b0")
    mean = float(np.mean(values))
    axes.axvline(mean, color="#c44e52", label=f"mean {mean:.3f}")
    axes.set(xlabel=label, ylabel="images")
    axes.legend(frameon=False)
    save_figure(path, figure)


def level_curves(path, sigmas, curves, ylabel, log=True):
    """Draw values per noise level with standard errors. curves: {label: (mean (T,), standard error (T,))}.

    log: a logarithmic axis, which omits values that are not positive (rounding, for a gradient field).
    """
    figure, axes = new_figure()
    for label, (mean, error) in curves.items():
        mean, error = np.asarray(mean, float), np.asarray(error, float)
        (line,) = axes.plot(sigmas, mean, marker="o", markersize=3, label=label)
        axes.fill_between(sigmas, mean - error, mean + error, alpha=0.25, color=line.get_color(), linewidth=0)
    axes.set(xscale="log", xlabel="noise level sigma", ylabel=ylabel)
    if log:
        axes.set_yscale("log", nonpositive="mask")
    if len(curves) > 1:
        axes.legend(frameon=False)
    save_figure(path, figure)
