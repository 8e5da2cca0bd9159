"""What the tests of compute_fid share."""

import pytest

from tests.common.metrics.pictures import write_folder


@pytest.fixture(autouse=True)
def here(own_folder):
    """Each test in a folder of its own, with 12 images in real/ and 10 others in fake/."""
    write_folder(own_folder / "real")
    write_folder(own_folder / "fake", 10, first=20)
    return own_folder
