"""What a training snapshot is tested with: likelihood of one test batch, and nine samples."""

import torch

from common.diffusion.denoiser import ScoreDenoiser
from common.diffusion.noise import UnitNoise
from common.diffusion.score_samplers import sample_pc
from common.diffusion.score_sampling import pc_options
from common.images.grids import save_grid
from common.images.pixels import to_uint8
from tools.qc_ncsn.data import dequantised_batch
from tools.qc_ncsn.likelihood import bits_per_dim


def test_nll(score, sde, config, options, device):
    """Return the mean bits/dim of the first test batch (rtol 1e-4, atol 1e-5, as the original's snapshots)."""
    from tools.qc_ncsn.data import open_images

    images = open_images(config, options.data_dir, "test")
    indices = range(min(config["training"]["batch_size"], len(images)))
    x, epsilon = dequantised_batch(images, indices, options.seed, device)
    bpd, _, _ = bits_per_dim(score, sde, x, epsilon, rtol=1e-4, atol=1e-5)
    return float(bpd.mean())


@torch.no_grad()
def sample_nine(score, sde, config, seed, device, folder):
    """Write nine samples as the original does: sample.np (uint8 NHWC in .npy format) and a 3x3 grid sample.png."""
    from common.files import write_npy

    data = config["data"]
    shape = (data["num_channels"], data["image_size"], data["image_size"])
    noise = UnitNoise(seed, range(config["sampling"]["batch_size"]), shape, device)
    sigmas = sde.reverse_sigmas(config["sampling"]["num_scales"])
    pixels = to_uint8(sample_pc(ScoreDenoiser(score), noise, sigmas, pc_options(config["sampling"]), sde), "unit")
    write_npy(folder / "sample.np", pixels)
    save_grid(folder / "sample.png", pixels)
