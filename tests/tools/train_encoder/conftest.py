"""What the tests of train_encoder share."""

import pytest

from tests.tools.train_encoder.runs import write_material


@pytest.fixture(scope="session")
def material(tmp_path_factory):
    """A folder with a BlobGAN, a decision model and pictures."""
    folder = tmp_path_factory.mktemp("encoder_material")
    write_material(folder)
    return folder


@pytest.fixture
def here(own_material):
    """A current folder with a copy of these."""
    return own_material
