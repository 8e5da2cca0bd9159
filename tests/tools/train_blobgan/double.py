"""train_blobgan in float64, for the tests of equal splits (python -m tests.tools.train_blobgan.double WORDS)."""

import torch

from tools.train_blobgan import networks
from tools.train_blobgan.__main__ import cli, leave

if __name__ == "__main__":
    networks.DTYPE = torch.float64
    leave(cli)
