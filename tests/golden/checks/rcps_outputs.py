"""Check of area rcps from images to outputs.npz, through what the command calls."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from tests.golden.registry import check


@check("rcps/outputs_npz")
def outputs_npz(case):
    """A checkpoint of the case's weights, its images and latents, and the command: every array of the case."""
    from common import console
    from tools.generate_outputs_npz.__main__ import OutputsOptions, main

    config = case.spec["config"]
    console.set_quiet(True)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "super_resolution" / "models").mkdir(parents=True)
        torch.save({"state_dict": case.state_dict(), "opts": {"input_nc": config["input_nc"]},
                    "latent_avg": torch.zeros(config["style_dims"])},
                   folder / "super_resolution" / "models" / "superres_alpha_0.1.pt")
        try:
            main(OutputsOptions(base_dir=str(folder), resize_factor=config["resize_factor"], device="cpu",
                                image_dir=str(case.file("images")), output_path=str(folder / "outputs.npz")))
        finally:
            console.set_quiet(False)
        with np.load(folder / "outputs.npz", allow_pickle=False) as archive:
            return {name: archive[name] for name in case.arrays}
