"""What the tests of extract_real_imagenet share."""

import shutil

import pytest

from tests.tools.activation_networks import save_network


@pytest.fixture(scope="session")
def network_made(tmp_path_factory):
    """A small network of 1,000 classes, as a file."""
    path = tmp_path_factory.mktemp("network") / "network.safetensors"
    save_network(path, label_dim=1000)
    return path


@pytest.fixture
def workplace(own_folder, network_made):
    """An empty current folder but for a copy of that file."""
    shutil.copy(network_made, own_folder)
    return own_folder
