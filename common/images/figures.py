"""Matplotlib figures as files: the same figure gives the same bytes."""

import io

from common.files import write_bytes


def new_figure(width=6.0, height=3.6):
    """Return a matplotlib (figure, axes) that needs no display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def save_figure(path, figure):
    """Write a figure as PNG, atomically; the same figure gives the same bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})  # matplotlib would write its version
    write_bytes(path, stream.getvalue())
