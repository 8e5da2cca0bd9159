"""Checks of area imagenet_activations that run a network: forward passes, files, samplers; and the class maps."""

import json

import numpy as np
import torch

from common.datasets.imagenet import classes as imagenet_classes
from common.diffusion.denoiser import Denoiser
from common.diffusion.edm_samplers import Churn, sample_few, sample_heun
from common.diffusion.edm_sampling import Sampling
from common.diffusion.labels import class_sequence, class_vectors
from common.formats.checkpoints import load_strictly
from common.images.pixels import to_uint8
from common.networks.adm import EDMPrecond, positional_embedding
from common.networks.adm_config import AdmConfig, deduce_config, named_parts
from common.networks.adm_weights import build_adm, read_adm
from common.nn.unfilled import unfilled
from tests.golden.compare import Judged, limits, within
from tests.golden.registry import check


def build(case):
    """Return the case's network with its filled weights, made as the configuration says."""
    network = outline(AdmConfig.from_kwargs(case.spec["config"], "case.json"))
    load_strictly(network, case.state_dict(), "case", assign=True)
    return network.eval().requires_grad_(False)


def outline(config):
    """Return a network without memory for its weights."""
    with unfilled():
        return EDMPrecond(config)


def same(got, expected):
    """Return 0 when two plain values are equal, else infinity."""
    return 0.0 if got == expected else float("inf")


def described(case, network):
    """Return {what: 0 or infinity} of what case.json says of the network: entries in order, sizes, layers."""
    rows, parts, own = case.manifest(), named_parts(network.config), network.state_dict()
    shapes = {row["name"]: tuple(row["shape"]) for row in rows}
    deduced = outline(deduce_config(shapes, "manifest"))
    ratios = {
        "state_dict": same([(name, list(entry.shape)) for name, entry in own.items()],
                           [(row["name"], row["shape"]) for row in rows]),
        "deduced": same({name: tuple(entry.shape) for name, entry in deduced.state_dict().items()}, shapes),
    }
    count = sum(parameter.numel() for parameter in network.parameters())
    facts = {"parameters": count, "entries": len(own),
             "layer_to_module": {name: f"model.{part.module}" for name, part in parts.items()},
             "layer_shapes": {name: list(part.shape) for name, part in parts.items()}}
    return ratios | {name: same(value, case.spec[name]) for name, value in facts.items() if name in case.spec}


@check("imagenet_activations/unet")
def unet(case):
    network, spec = build(case), case.spec
    x, sigma = case.tensor("x"), case.tensor("sigma")
    labels = case.tensor("class_labels") if "class_labels" in case.arrays else None
    denoised, layers = network.run(x, sigma, labels, layers=list(named_parts(network.config)))
    got = {"denoised": denoised, "denoised_no_labels": network(x, sigma),
           "noise_embedding": positional_embedding(sigma.log() / 4, network.config.model_channels)}
    got |= {f"act_{name}": layer[: len(case.arrays.get(f"act_{name}", ()))] for name, layer in layers.items()}
    ratios, limit = described(case, network), limits(spec["tolerance"], "stats")
    for name, moments in spec.get("stats", {}).items():
        ratios[f"stats {name}"] = within([layers[name].mean(), layers[name].std()], moments, **limit)
    if "out_std" in spec:
        ratios["out_std"] = within(denoised.std(), spec["out_std"], **limit)
    if "all_outputs_nan_at_sigma_zero" in spec:
        image, outputs = network.run(x, 0.0, labels, layers=["encoder_block_1", "midblock"])
        nan = all(bool(value.isnan().all()) for value in [image, *outputs.values()])
        ratios["all_outputs_nan_at_sigma_zero"] = same(nan, spec["all_outputs_nan_at_sigma_zero"])
    return Judged(ratios, {name: value for name, value in got.items() if name in case.arrays})


@check("imagenet_activations/unet_large")
def unet_large(case):
    network, got = build(case), {}
    ratios, limit = described(case, network), limits(case.spec["tolerance"], "stats")
    labels = class_vectors(case.arrays["class_labels_argmax"], network.config.label_dim)
    noise, clean = case.tensor("noise"), case.tensor("clean")
    for key, x, sigma in (("sigma80", 80 * noise, 80.0), ("sigma05", clean + 0.5 * noise, 0.5)):
        denoised, layers = network.run(x, sigma, labels, layers=list(named_parts(network.config)))
        got[f"{key}_out"] = denoised
        got |= {f"{key}_{name}": layer for name, layer in layers.items() if f"{key}_{name}" in case.arrays}
        for name, values in case.spec.get(f"{key}_layer_stats_mean_std_first_last", {}).items():
            flat = layers[name].flatten()
            ratios[f"{key} {name}"] = within([flat.mean(), flat.std(), flat[0], flat[-1]], values, **limit)
    return Judged(ratios, got)


@check("imagenet_activations/edm_pickle")
def edm_pickle(case):
    file = read_adm(case.file("network"))
    network, expected = build_adm(file), AdmConfig.from_kwargs(case.spec["init_kwargs"], "case.json")
    filled = case.state_dict()
    read = {**file.state, **{name: filled[name] for name in file.dropped}}
    ratios = {"init_kwargs": same({**file.config.to_kwargs(), "augment_dim": 0},
                                  {**expected.to_kwargs(), "augment_dim": 0}),
              "names": same(set(read), set(filled)),
              "weights": max(within(read[name], filled[name]) for name in filled if name in read)}
    labels = case.tensor("class_labels") if "class_labels" in case.arrays else None
    return Judged(ratios, {"denoised": network(case.tensor("x"), case.tensor("sigma"), labels)})


SAMPLING = {"sigma_min": 0.002, "sigma_max": 80, "rho": 7, "S_churn": 0, "S_min": 0, "S_max": float("inf"),
            "S_noise": 1, "dmd_class": 0, "cfg_scale": 1}  # where a case's args do not say


@check("imagenet_activations/samplers")
def samplers(case):
    network, args = build(case), {**SAMPLING, **case.spec["args"]}
    config, latents, step_noise = network.config, case.tensor("latents"), case.tensor("step_noise")

    def given(dtype):
        return iter([latents, *step_noise.to(dtype)]).__next__

    limit = {name: args[name] for name in ("sigma_min", "sigma_max", "rho")}
    heun = Sampling("heun", args["edm_steps"], **limit).sigmas(config)
    few = Sampling("fewstep", args["dmd_steps"], **limit).sigmas(config)
    labels = case.tensor("class_labels") if "class_labels" in case.arrays else None
    one_class = class_vectors([args["dmd_class"]] * len(latents), config.label_dim)
    own, same_class = Denoiser(network, labels), Denoiser(network, one_class)
    guided = Denoiser(network, one_class, args["cfg_scale"])
    masks = {name.removeprefix("mask_"): case.tensor(name) for name in case.arrays if name.startswith("mask_")}
    churn = Churn(*(args[name] for name in ("S_churn", "S_min", "S_max", "S_noise")))
    trace, top = [], [args["sigma_max"], 0.0]
    got = {
        "edm_t_steps": np.array(heun[:-1]), "dmd_sigmas": np.array(few[:-1], np.float32),
        "edm_heun": sample_heun(own, given(torch.float64), heun),
        "edm_stochastic": sample_heun(own, given(torch.float64), heun, churn),
        "dmd_multistep_uint8": to_uint8(sample_few(same_class, given(torch.float32), few, trace=trace), "dmd2"),
        "dmd_multistep_intermediates": np.stack([to_uint8(prediction, "dmd2") for prediction in trace]),
        "dmd_multistep_cfg_uint8": to_uint8(sample_few(guided, given(torch.float32), few), "dmd2"),
        "dmd_multistep_deterministic_uint8": to_uint8(sample_few(same_class, given(torch.float32), few,
                                                                 stochastic=False), "dmd2"),
        "onestep": sample_few(own, given(torch.float32), top),
        "onestep_masked": sample_few(Denoiser(network, labels, replace=masks), given(torch.float32), top),
    }
    return {name: value for name, value in got.items() if name in case.arrays}


@check("imagenet_activations/generate")
def generate(case):
    """The network's part: labels, the original's noise, images and activations, batch by batch."""
    network, args = build(case), case.spec["args"]
    count, size, config = args["num_samples"], args["batch_size"], network.config
    labels = class_sequence(args["seed"], count, max(config.label_dim, 1), args.get("samples_per_class"))
    stream, layers = torch.Generator().manual_seed(args["seed"]), args["layers"].split(",")
    got, noises, images = {"labels": labels}, [], []
    for number, first in enumerate(range(0, count, size)):
        classes, given = labels[first : first + size], case.tensor("noise")[first : first + size]
        noises.append(torch.randn((len(classes), *network.image_shape), generator=stream))
        sigma = args["conditioning_sigma"]
        denoised, outputs = network.run(sigma * given, sigma, class_vectors(classes, config.label_dim), layers=layers)
        images.append(to_uint8(denoised, "dmd2"))
        got |= {f"batch_{number:06d}/{name}": output.flatten(1) for name, output in outputs.items()}
    return got | {"noise": torch.cat(noises), "images": np.concatenate(images)}


@check("imagenet_activations/class_maps")
def class_maps(case):
    index, order = imagenet_classes.class_index(), imagenet_classes.npz_to_network()
    ours = {"imagenet64_class_labels": {str(place): index[str(number)] for place, number in enumerate(order)},
            "imagenet_standard_class_index": index}
    ratios = {name: same(json.loads(case.file(name).read_text()), table) for name, table in ours.items()}
    ratios["same_index_in_both_orders"] = same(int((order == np.arange(len(order))).sum()),
                                               case.spec["same_index_in_both_orders"])
    for label, (number, text) in case.spec["checks"].items():
        got = int(imagenet_classes.label_to_class(int(label.split()[1])))
        ratios[label] = same([got, f"{index[str(got)][1]} {got}"], [number, text])
    return Judged(ratios, {"imagenet64_to_standard": order})
