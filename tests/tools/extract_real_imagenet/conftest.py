"""What the tests of extract_real_imagenet share."""

import pytest

from tests.tools.activation_networks import save_network


@pytest.fixture
def workplace(own_folder):
    """An empty current folder but for network.safetensors, a small network of 1,000 classes."""
    save_network(own_folder / "network.safetensors", label_dim=1000)
    return own_folder
