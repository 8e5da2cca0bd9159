"""What the tests of compute_fid share."""

import shutil

import pytest

from tests.common.metrics.pictures import write_folder


@pytest.fixture(scope="session")
def pictures_made(tmp_path_factory):
    """A folder with 12 images in real/ and 10 others in fake/."""
    folder = tmp_path_factory.mktemp("pictures")
    write_folder(folder / "real")
    write_folder(folder / "fake", 10, first=20)
    return folder


@pytest.fixture(autouse=True)
def here(own_folder, pictures_made):
    """Each test in a folder of its own, with copies of these."""
    shutil.copytree(pictures_made, own_folder, dirs_exist_ok=True)
    return own_folder
