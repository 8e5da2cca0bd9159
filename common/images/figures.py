"""Matplotlib figures as files: the same figure gives the same bytes."""

import io
import warnings

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


def plain_text(figure):
    """Have all texts of a figure drawn as they are, names with dollar signs too, and return the figure."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    return figure


def png_bytes(figure):
    """Return a figure as PNG, its texts as they are; the same figure gives the same bytes."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # drawn as an empty box
        plain_text(figure).savefig(stream, format="png", metadata={"Software": None})  # else matplotlib's version
    return stream.getvalue()


def save_figure(path, figure):
    """Write a figure as PNG, atomically; see png_bytes."""
    write_bytes(path, png_bytes(figure))
