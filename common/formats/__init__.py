"""File formats: checkpoints, npz, pickles, TorchScript. Nothing that is read here can run code."""
