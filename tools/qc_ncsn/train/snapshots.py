"""Evaluation of a training snapshot: likelihood of one test batch, nine samples, and a sample metric."""

import copy

import torch

from common.diffusion.denoiser import ScoreDenoiser
from common.diffusion.noise import UnitNoise
from common.diffusion.rk45 import StepTooSmall
from common.diffusion.score_samplers import sample_pc
from common.diffusion.score_sampling import pc_options
from common.diffusion.scores import make_score
from common.images.grids import save_grid, viewing_scale
from common.images.pixels import to_uint8
from common.score.models import trainable
from tools.qc_ncsn.data import dequantised_batch
from tools.qc_ncsn.likelihood import bits_per_dim


def test_snapshot(run, step):
    """Compute the NLL of one test batch with raw weights, nine samples and the sample metric with EMA weights, as
    configured."""
    network = copy.deepcopy(run.network)
    parameters = [parameter for _, parameter in trainable(network)]
    score = make_score(network.eval().requires_grad_(False), run.config["model"]["energy"])
    if run.training["snapshot_nll"]:
        try:
            nll = test_nll(run, score)
        except StepTooSmall:  # the ODE of a half-trained network may be too stiff
            nll = float("nan")
        run.log.tell({"nll": nll}, step)
    for parameter, shadow in zip(parameters, run.average.shadow):
        parameter.data.copy_(shadow)
    if run.training["snapshot_sampling"]:
        sample_nine(score, run.sde, run.config, run.options.seed, run.device, run.work.samples / f"iter_{step}")
    if run.metric is not None:
        run.log.tell({"frechet_distance": run.metric.measure(score, run.work.samples, step)}, step)


def test_nll(run, score):
    """Return the mean bits/dim of the first test batch (rtol 1e-4, atol 1e-5, as the original's snapshots)."""
    indices = range(min(run.training["batch_size"], len(run.test_images)))
    x, epsilon = dequantised_batch(run.test_images, indices, run.options.seed, run.device)
    bpd, _, _ = bits_per_dim(score, run.sde, x, epsilon, rtol=1e-4, atol=1e-5)
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
    save_grid(folder / "sample.png", pixels, scale=viewing_scale(pixels.shape[1]))
