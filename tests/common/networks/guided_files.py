"""Small networks of guided-diffusion as files: those of the golden cases."""

import json
from pathlib import Path

import torch

from tests.golden import fill

CASES = Path(fill.__file__).parent / "imagenet_activations"
FLAGS = json.loads((CASES / "guided_linear" / "case.json").read_text())["model_flags"]  # 5 classes, 8 x 8 pixels


def guided_state(case="guided_linear"):
    """Return a network's state dict under guided-diffusion's names."""
    rows = fill.load_manifest(CASES / case / "manifest.json")
    return {name: torch.from_numpy(values) for name, values in fill.fill_state(rows, {}).items()}
