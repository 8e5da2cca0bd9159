"""Tiny trainings: scanned digits of 8 x 8, three blobs, a network of a few thousand parameters."""

import torch

from common.training.loop import NotFinite
from tests.tools.commands import results_of, start_tool
from tests.tools.train_edm import runs as edm
from tools.train_blobgan.step import GanStep

NETWORK = ("--preset", "streets", "--resolution", "8", "--size_in", "4", "--n_features", "3", "--dim", "4",
           "--feature_dim", "4", "--noise_dim", "5", "--mlp_hidden_dim", "6", "--n_mlp", "3", "--generator_channels",
           "6", "5", "--discriminator_channels", "4", "8")
JITTER = ("--feature_jitter_xy", "0.04", "--feature_jitter_shift", "0.5", "--feature_jitter_angle", "0.1")
TINY = (*NETWORK, *JITTER, "--data", "digits", "--batch_size", "8", "--max_steps", "12", "--D_reg_every", "4",
        "--lambda_D_R1", "0.3", "--log_every_n_steps", "1", "--state_every", "5", "--every_n_train_steps", "0",
        "--log_images_every_n_steps", "0", "--n_ema_sample", "2", "--num_workers", "0", "--device", "cpu")


def train(*words, out="out"):
    """Train in this process; returns the results."""
    return results_of("train_blobgan", *TINY, "--output_dir", out, *words)


def start(folder, *words):
    """Start a training in a process of its own, in a folder."""
    return start_tool("train_blobgan", folder, *TINY, *words)


def state(folder="out"):
    """Return the stored state of a training."""
    return torch.load(f"{folder}/state.pth", weights_only=True)


def log_rows(folder="out"):
    """Return the rows of log.jsonl without times and memory."""
    return [{name: value for name, value in row.items() if name != "peak_memory_gb"} for row in edm.log_rows(folder)]


def flat(value):
    """Return all tensors in nested dictionaries and lists as one row of float64."""
    if isinstance(value, torch.Tensor):
        return value.detach().double().flatten()
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else []
    return torch.cat([torch.empty(0, dtype=torch.float64), *map(flat, parts)])


def at_steps(monkeypatch, steps, before):
    """Call before(the GanStep) ahead of some steps of all trainings, and before(None) after them."""
    right = GanStep.__call__

    def step(self, loop, number, parts):
        if number in steps:
            before(self)
        try:
            return right(self, loop, number, parts)
        finally:
            before(None)

    monkeypatch.setattr(GanStep, "__call__", step)


def without_steps(monkeypatch, steps):
    """Make all trainings leave some steps out, as if their batches did not exist."""
    right = GanStep.__call__

    def step(self, loop, number, parts):
        if number in steps:
            raise NotFinite("left out")
        return right(self, loop, number, parts)

    monkeypatch.setattr(GanStep, "__call__", step)
