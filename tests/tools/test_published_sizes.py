"""The published sizes from images to outputs on a CPU: a 1024 px generator, an IR-SE50 encoder of 9,088 coordinates."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from common.networks.quantile_encoder import build_encoder, preset_config
from common.networks.stylegan2 import StyleGAN2, StyleGAN2Config
from common.rcps.outputs import KEYS, Outputs
from common.style_space import FFHQ33
from tests.tools.commands import results_of

CHANNELS = (512, 512, 512, 512, 512, 256, 128, 64, 32)  # of FFHQ's config F


@pytest.mark.long
def test_two_images_of_1024_px_and_their_outputs_at_three_factors(own_folder):
    torch.manual_seed(0)
    torch.save({"g_ema": StyleGAN2(StyleGAN2Config(CHANNELS)).state_dict()}, "g.pt")
    encoder = build_encoder(preset_config("ir_se50", 9088)).eval()
    Path("assets/super_resolution/models").mkdir(parents=True)
    torch.save({"state_dict": encoder.state_dict(), "opts": {}}, "assets/super_resolution/models/superres_alpha_0.1.pt")
    made = results_of("generate_ffhq", "--stylegan_path", "g.pt", "--num_images", 2, "--resize_factors", "1,16,32",
                      "--verify", "--device", "cpu")
    assert (made["num_dims"], made["num_latents"], made["image_size"], made["verified"]) == (9088, 18, 1024, 2)
    for factor in (1, 16, 32):
        results_of("generate_outputs_npz", "--resize_factor", factor, "--image_dir", "assets/data/generated/1x",
                   "--output_path", f"out/{factor}/outputs.npz", "--device", "cpu")
    results_of("generate_outputs_npz", "--resize_factor", 16, "--image_dir", "assets/data/generated/16x",
               "--output_path", "again/outputs.npz", "--device", "cpu")
    assert Path("out/16/outputs.npz").read_bytes() == Path("again/outputs.npz").read_bytes()
    dims = [dim.flat for dim in FFHQ33]
    found = Outputs("out/1/outputs.npz").columns(dims)
    assert all(found[key].shape == (2, 33) and np.isfinite(found[key]).all() for key in KEYS)
    checked = results_of("calibrate_rcps", "validate", "--dims", "ffhq33", "--outputs",
                         *(f"out/{factor}/outputs.npz" for factor in (1, 16, 32)))
    assert [row["with_truth"] for row in checked["files"]] == [2, 2, 2]
    levels = [f"{name}=out/{factor}/outputs.npz" for name, factor in (("easy", 1), ("medium", 16), ("hard", 32))]
    words = ("--guarantee", "crc", "--alpha", 0.9)  # two images: the one promise that so few can make
    calibrated = results_of("calibrate_rcps", "--outputs", *levels, *words, "--total_runs", 2, "--output_dir", "sets")
    assert calibrated["num_dims"] == 33
    assert calibrated["risk_calibration"]["mean"][0] <= 0.85  # (n R + 1) / (n + 1) <= alpha
    drawn = results_of("calibrate_rcps", "endpoints", "--calibration", "sets", "--outputs", *levels, "--stylegan_path",
                       "g.pt", "--output_dir", "ends", "--device", "cpu")
    assert drawn["pictures"] == 6
    with Image.open("ends/hard_00000.png") as picture:
        assert picture.size == (5 * 256, 256)
