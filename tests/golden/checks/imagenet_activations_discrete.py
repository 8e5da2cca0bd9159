"""Checks of area imagenet_activations that run networks at discrete noise levels: guided-diffusion's and iDDPM's."""

import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from common.diffusion.denoiser import Denoiser
from common.diffusion.edm_samplers import Churn, sample_heun
from common.diffusion.edm_sampling import Sampling
from common.formats.checkpoints import load_strictly
from common.networks.adm_config import AdmConfig
from common.networks.adm_discrete import DiscretePrecond
from common.networks.adm_weights import load_adm
from tests.golden.registry import check


@check("imagenet_activations/guided")
def guided(case):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.pt")
        torch.save(case.state_dict(), path)
        network = load_adm(path, model_flags=case.spec["model_flags"])
    kept = torch.from_numpy(case.arrays["alphas_cumprod"])
    sigma = ((1 - kept) / kept).sqrt().float()  # (B,)
    labels = torch.eye(network.config.label_dim)[case.tensor("y")] if network.config.label_dim else None
    x = case.tensor("x") / kept.sqrt().float()[:, None, None, None]  # of unit variance there, of unit signal here
    blocks = {"input_blocks.1": "encoder_block_1", "input_blocks.2": "encoder_block_2", "middle_block":
              "decoder_block_1", "output_blocks.0": "decoder_block_2"}
    image, outputs = network.run(x, sigma, labels, layers=list(blocks.values()))
    return {"pred_xstart": image, **{f"act_{block}": outputs[layer][:1, :, ::4, 1] for block, layer in blocks.items()}}


@check("imagenet_activations/iddpm")
def iddpm(case):
    spec, sigma = case.spec, case.tensor("sigma")
    config = AdmConfig.from_kwargs({**spec["init_kwargs"], "precond": "iddpm"}, "case.json")
    network = DiscretePrecond(replace(config, out_channels=2 * config.img_channels))
    filters = {name: value for name, value in network.state_dict().items() if name.endswith(("resample_filter", "u"))}
    load_strictly(network, {**filters, **case.state_dict()}, "case")
    network.eval().requires_grad_(False)
    labels, noise = case.tensor("class_labels"), case.tensor("noise")
    draws = iter([noise[0], *noise[1:].double()]).__next__
    samples = sample_heun(Denoiser(network, labels[: noise.shape[1]]), draws,
                          Sampling("heun", spec["num_steps"]).levels(network),
                          Churn(spec["S_churn"], S_noise=spec["S_noise"]), round_sigma=network.round_sigma)
    return {"u": network.u, "denoised": network(case.tensor("x"), sigma, labels), "samples": samples,
            "rounded": torch.tensor([network.round_sigma(level) for level in sigma.tolist()])}
