"""Checks of area blobex on files: Lightning's container with omegaconf nodes, names and shapes of published weights."""

import torch

from common.formats.lightning import load_lightning
from common.networks.blobgan.configuration import BlobGANConfig
from common.networks.blobgan.files import ORDER, PAIRS, read_blobgan
from common.nn.fir import fir_kernel
from common.nn.unfilled import unfilled
from tests.golden.checks.blobex_networks import configuration, noise_maps
from tests.golden.compare import Judged
from tests.golden.registry import check

PICTURES = {"img_ema": "ema", "img_raw": "raw", "img_live": "raw", "img": "ema"}  # array: weights


@check("blobex/lightning_container")
@torch.no_grad()
def lightning_container(case):
    """Hyper-parameters as plain values, sizes found in them, and a picture from the averaged (or live) weights."""
    (path,) = [case.file(name) for name in case.spec["files"]]
    pictures = {name: weights for name, weights in PICTURES.items() if name in case.arrays}
    files = {weights: read_blobgan(path, weights=weights) for weights in pictures.values()}
    values, expected = load_lightning(path)["hyper_parameters"], case.spec["resolved_hyper_parameters"]
    ratios = {name: 0.0 if values[name] == expected[name] else float("inf") for name in values if name in expected}
    ratios |= {weights: 0.0 if file.weights == weights else float("inf") for weights, file in files.items()}
    config, file = configuration(case), next(iter(files.values()))
    for name in case.spec["config"]:
        name = {"K": "n_features", "size": "resolution", "style_dim": "dim"}.get(name, name)
        ratios[f"config {name}"] = 0.0 if getattr(file.config, name) == getattr(config, name) else float("inf")
    noise = noise_maps(case, len(file.generator.noise_shapes()))
    return Judged(ratios, {name: files[weights].render(files[weights].layouts(case.tensor("z")), noise)
                           for name, weights in pictures.items()})


@check("blobex/manifest")
def manifest(case):
    """Names, shapes and order of a file's entries, and how many parameters each network has."""
    rows, config = case.manifest(), case.spec["config"]
    with unfilled():
        if "d_out" in config:
            found, counts = encoder(config).state_dict(), {}
        else:
            networks = all_networks(configuration(case))
            counts = {name: sum(part.numel() for part in network.parameters()) for name, network in networks.items()}
            found = {f"{name}.{key}": value for name in ORDER for key, value in networks[name].state_dict().items()}
    described = [(row["name"], tuple(row["shape"]), row["dtype"]) for row in rows]
    got = [(name, tuple(value.shape), str(value.dtype).removeprefix("torch.")) for name, value in found.items()]
    ratios = {"entries": 0.0 if got == described else float("inf")}
    for name, count in case.spec.get("parameters", {}).items():
        ratios[f"parameters of {name}"] = 0.0 if counts[name] == count else float("inf")
    kernels = {"kernel_gain1": 1.0, "kernel_gain4": 4.0}
    return Judged(ratios, {name: fir_kernel(gain=gain) for name, gain in kernels.items() if name in case.arrays})


def all_networks(config):
    """Return {name: network} of a training."""
    pairs = {name: (config.generator if "generator" in name else config.layout_net)()
             for names in PAIRS.values() for name in names}
    return {"discriminator": config.discriminator(), **pairs}


def encoder(config):
    """Return the encoder of a case's configuration."""
    sizes = BlobGANConfig(resolution=config["size"], aspect_ratio=config["aspect_ratio"],
                          discriminator_multiplier=config["channel_multiplier"])
    return sizes.encoder(config["d_out"])
