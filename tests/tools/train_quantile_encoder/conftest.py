"""What the tests of train_quantile_encoder share."""

import pytest

from tests.tools.train_quantile_encoder.runs import write_material


@pytest.fixture(scope="session")
def material(tmp_path_factory):
    """A folder with a generator, and images of it for training and validation."""
    folder = tmp_path_factory.mktemp("material")
    write_material(folder)
    return folder


@pytest.fixture
def here(own_material):
    """A current folder with a copy of these."""
    return own_material
