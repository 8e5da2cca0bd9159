"""What the tests of train_decision_model share."""

import pytest

from tests.tools.train_decision_model.runs import write_material


@pytest.fixture
def here(own_folder):
    """A current folder with pictures and their tables."""
    write_material(own_folder)
    return own_folder
