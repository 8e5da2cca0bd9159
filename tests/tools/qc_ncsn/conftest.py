"""One torch thread in the tests of qc_ncsn: runs in this process must agree bit for bit with runs in others."""

import pytest
import torch

from common.images import figures

torch.set_num_threads(1)


def rough(figure):
    """Return a figure without its axes' frames, ticks and labels, which take nearly all of a drawing's time."""
    figure.set_layout_engine("none")
    figure.set_dpi(30)
    for axes in figure.axes:
        axes.set_axis_off()
    return figure


@pytest.fixture
def rough_figures(monkeypatch):
    """Draw a figure's lines, bars and legend alone: where a picture is no more than a file beside the results.

    Every kind of picture is drawn in full by some test that does not use this, and by the commands run as processes.
    """
    monkeypatch.setattr(figures, "plain_text", rough)
