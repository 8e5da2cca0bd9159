"""Small networks in files, for the tools that extract activations."""

from common.networks.adm_weights import save_adm
from tests.common.networks.adm_makers import small_network


def save_network(path, **changes):
    """Write a random network (8 x 8 pixels, four classes unless changed) and return it."""
    network = small_network(**changes)
    save_adm(path, network)
    return network


def contents(folder):
    """Return {name: bytes} of all files below a folder but records."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != "run.json"}
