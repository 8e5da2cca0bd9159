"""What the tests of generate_blobgan share."""

import pytest

from tests.tools.blobgan_networks import save_blobgan


@pytest.fixture(autouse=True)
def here(own_folder):
    """Each test in a folder of its own, with a BlobGAN in g.ckpt."""
    save_blobgan(own_folder / "g.ckpt")
    return own_folder
