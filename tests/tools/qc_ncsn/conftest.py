"""One torch thread in the tests of qc_ncsn: runs in this process must agree bit for bit with runs in others."""

import torch

torch.set_num_threads(1)
