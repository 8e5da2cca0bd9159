"""Checks of area rcps that run StyleGAN2: its operations, the generator, statistics of StyleSpace."""

import re

import numpy as np
import torch

from common.networks.stylegan2 import StyleGAN2Config, mix, truncate
from common.networks.stylegan2_weights import build_stylegan2
from common.nn.equalised import EqualLinear, PixelNorm, leaky_activation
from common.nn.fir import upfirdn2d
from common.nn.modulated import ModulatedConv
from common.style_space import style_dims, style_statistics
from tests.golden.compare import Judged, limits, within
from tests.golden.registry import check


def set_parameters(module, **values):
    """Give parameters (dotted names, dots as double underscores) the values of tensors."""
    for name, value in values.items():
        module.get_parameter(name.replace("__", ".")).data = value
    return module


@check("rcps/stylegan2_ops")
def stylegan2_ops(case):
    """upfirdn2d, activation, pixel norm, linear layers, and modulated convolutions with their gradients.

    Convolutions also with each sample by itself: that is the other way of computing them.
    """
    found = {row["output"]: upfirdn2d(case.tensor("x"), case.tensor(row["kernel"]), row["up"], row["down"], row["pad"])
             for row in case.spec["upfirdn2d"]}
    found["flrelu_4d"] = leaky_activation(case.tensor("x"), case.tensor("bias3"))
    found["flrelu_nobias"] = leaky_activation(case.tensor("x"))
    found["flrelu_2d"] = leaky_activation(case.tensor("x2"), case.tensor("bias7"))
    found["pixelnorm_out"] = PixelNorm()(case.tensor("pixelnorm_in"))
    for row in case.spec["equal_linear"]:
        prefix, (outputs, inputs) = row["prefix"], case.arrays[f"{row['prefix']}weight"].shape
        layer = EqualLinear(inputs, outputs, row["lr_mul"], activated=row.get("activation") is not None)
        set_parameters(layer, weight=case.tensor(f"{prefix}weight"), bias=case.tensor(f"{prefix}bias"))
        found[f"{prefix}y"] = layer(case.tensor(f"{prefix}x"))
    single = {}
    for row in case.spec["modulated_conv"]:
        arrays, alone = modulated_conv(case, row)
        found |= arrays
        single[f"{row['prefix']}y by itself"] = within(alone, case.arrays[f"{row['prefix']}y"],
                                                       **limits(case.spec["tolerance"], "y"))
    return Judged(single, found)


def modulated_conv(case, row):
    """Return ({array: got}, the results with each sample by itself) of one modulated convolution."""
    prefix = row["prefix"]
    resample = "up" if row.get("upsample") else "down" if row.get("downsample") else None
    layer = ModulatedConv(row["in_channel"], row["out_channel"], row["kernel_size"], row["style_dim"],
                          row.get("demodulate", True), resample)
    set_parameters(layer, weight=case.tensor(f"{prefix}weight"), modulation__weight=case.tensor(f"{prefix}mod_weight"),
                   modulation__bias=case.tensor(f"{prefix}mod_bias"))
    x, style_in = case.tensor(f"{prefix}x").requires_grad_(), case.tensor(f"{prefix}style_in").requires_grad_()
    style = layer.modulation(style_in)
    y = layer(x, style)
    grads = torch.autograd.grad((y * case.tensor(f"{prefix}grad_y")).sum(), [x, style_in, layer.weight])
    alone = torch.cat([layer(x[index : index + 1], style[index : index + 1]) for index in range(len(x))])
    arrays = {"style_vector": style, "y": y, **dict(zip(("grad_x", "grad_style_in", "grad_weight"), grads))}
    return {f"{prefix}{name}": value for name, value in arrays.items()}, alone


def build(case):
    """Return the case's generator, its weights filled and loaded as from a file, its sizes found from their shapes."""
    file = build_stylegan2(case.state_dict(), "case")
    config = case.spec["config"]
    channels = tuple(config["channels"][side] for side in sorted(config["channels"], key=int))
    assert file.network.config == StyleGAN2Config(channels, config["style_dim"], config["n_mlp"])
    return file.network


@check("rcps/stylegan2")
@torch.no_grad()
def stylegan2(case):
    """Mapping, W+, StyleSpace and pictures; pictures as a batch, and each by itself."""
    network = build(case)
    z, tolerance = case.tensor("z"), limits(case.spec["tolerance"], "image")
    w = network.mapping(z)
    wplus, second = network.wplus(w), network.wplus(network.mapping(case.tensor("z2")))
    vectors, mixed = network.style_vectors(wplus), network.style_vectors(mix(wplus, second, 3))
    cut = network.wplus(truncate(w, case.tensor("truncation_latent"), 0.7))
    noise = [case.tensor(f"noise_{index}") for index in range(len(network.noise_sides))]
    spliced = vectors[:1].clone()
    spliced[:, case.arrays["splice_dims"]] = case.tensor("splice_values")
    arrays = {
        "w": w, "wplus": wplus, "style_vectors": vectors, "style_dims": style_dims(network.widths),
        "image": network.synthesise(vectors), "wplus_trunc07": cut,
        "image_trunc07": network.synthesise(network.style_vectors(cut)),
        "style_vectors_mix3": mixed, "image_mix3": network.synthesise(mixed),
        "image_noise": network.synthesise(vectors, noise),
        "image_from_style_vectors": network.synthesise(case.tensor("style_vectors")),
        "image_spliced": network.synthesise(spliced),
        "last_feature": network.features(vectors, len(network.widths) - 1).x,
    }
    alone = [network.synthesise(vectors[index : index + 1], [part[index : index + 1] for part in noise])
             for index in range(len(z))]
    return Judged({"image_noise by itself": within(torch.cat(alone), case.arrays["image_noise"], **tolerance)}, arrays)


@check("rcps/stylegan2_large")
@torch.no_grad()
def stylegan2_large(case):
    """The published size: codes, and of the picture its blocks' means, a part, channel means and deviations."""
    network = build(case)
    w = network.mapping(case.tensor("z"))
    vectors = network.style_vectors(network.wplus(w))
    image = network.synthesise(vectors)
    flat, size = image.flatten(2), case.arrays["image_avgpool16"].shape[-1]
    return {"w": w, "style_vectors": vectors, "style_dims": style_dims(network.widths),
            "image_avgpool16": torch.nn.functional.avg_pool2d(image, image.shape[-1] // size),
            "image_crop": image[_crop(case)], "image_mean": flat.mean(-1),
            "image_std": flat.std(-1)}


def _crop(case):
    """Return the part of the picture that the case describes: "image[:, :, 480:544, 500:564]"."""
    described = re.search(r"(\d+):(\d+), *(\d+):(\d+)\]", str(case.spec.get("arrays", {}).get("image_crop", "")))
    top, bottom, left, right = map(int, described.groups()) if described else (480, 544, 500, 564)
    return ..., slice(top, bottom), slice(left, right)


@check("rcps/style_space_stats")
def style_space_stats(case):
    """Statistics over given codes, whole and in parts that do not divide them."""
    network, z = build(case), case.tensor("z")
    parts = [style_statistics(network, z, batch_size) for batch_size in (len(z), 5)]
    names = ("mean", "min", "max", "std")
    ratios = {f"{name} in parts": within(getattr(parts[1], name), case.arrays[name],
                                         **limits(case.spec["tolerance"], name)) for name in names}
    return Judged(ratios, {name: np.asarray(getattr(parts[0], name)) for name in names})
