"""What the tests of train_quantile_encoder share."""

import os
import shutil

import pytest

from tests.tools.train_quantile_encoder.runs import write_material


@pytest.fixture(scope="session")
def material(tmp_path_factory):
    """A folder with a generator, and images of it for training and validation."""
    folder = tmp_path_factory.mktemp("material")
    write_material(folder)
    return folder


@pytest.fixture
def here(own_folder, material):
    """A current folder with a copy of these."""
    shutil.copytree(material, own_folder, dirs_exist_ok=True, copy_function=os.link)
    return own_folder
