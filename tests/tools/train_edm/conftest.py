"""What the tests of train_edm share."""

import pytest

from tests.tools.train_edm.runs import write_colours


@pytest.fixture
def here(own_folder):
    """An empty current folder but for the images in colours/."""
    write_colours(own_folder / "colours")
    return own_folder
