"""Checks of area rcps on images: degradation, corruptions, conversion to bytes."""

import re

import numpy as np
import torch

from common.datasets import degradations
from common.images.pixels import rounded_bytes, to_uint8
from tests.golden.compare import Judged, within
from tests.golden.registry import check

LEVELS, SHARE, SMALL = 1, 0.005, 1e-5  # of the tolerance that is a sentence: levels, share of pixels, reduced image


@check("rcps/superres_transform")
def superres_transform(case):
    """The degradation at every factor of the case as bytes, the reduced image before rounding, the filter."""
    ratios = {}
    for name, expected in case.arrays.items():
        kind, image, factor = re.fullmatch(r"(source|lr|target|kernel|image)(\d*)(?:_f(\d+))?", name).groups()
        if kind == "kernel":
            ratios[name] = within(degradations.bicubic_kernel(int(factor)), expected, atol=SMALL)
            continue
        if kind == "image":
            continue
        pixels = case.arrays[f"image{image}"]
        if kind == "lr":
            unit = torch.from_numpy(degradations.resized(pixels).transpose(2, 0, 1).copy()).float() / 255
            ratios[name] = within(degradations.shrink(unit, int(factor)), expected, atol=SMALL)
            continue
        got = degradations.resized(pixels) if kind == "target" else degradations.degrade(pixels, int(factor))
        whole = torch.round((degradations.network_input(got) + 1) * 127.5).numpy().astype(np.int64)
        step = whole.shape[-1] // expected.shape[-1]
        ratios[name] = bytes_apart(whole[:, ::step, ::step], expected)
    return Judged(ratios)


def bytes_apart(got, expected):
    """Return the error over tolerance of bytes: at most one level apart, on fewer than .5 % of the pixels."""
    apart = np.abs(got - expected.astype(np.int64))
    return max(float(apart.max()) / LEVELS, float((apart > 0).mean()) / SHARE)


@check("rcps/corruptions")
def corruptions(case):
    """Each operation that the case names, with its own draws, and the levels mild and moderate.

    Names say the size and width of a blur (blur_k5_s1), a factor (down8), a ratio (masked_r05 for .5).
    """
    x, found = case.tensor("image"), {}
    for name in case.arrays:
        if named := re.fullmatch(r"blur_k(\d+)_s([\d.]+)", name):
            found[name] = degradations.blur(x, int(named[1]), float(named[2]))
        elif named := re.fullmatch(r"down(\d+)", name):
            found[name] = degradations.shrink_and_enlarge(x, int(named[1]))[:, ::2, ::2]
        elif named := re.fullmatch(r"mask(ed)?_r(\d)(\d+)", name):
            masked, left = degradations.mask(x[None], float(f"{named[2]}.{named[3]}"), case.tensor("mask_noise"))
            found[name] = (masked if named[1] else left)[0]
    found["mild"] = degradations.shrink_and_enlarge(degradations.blur(x, 5, 1.0), 2)
    if "mask_noise" in case.arrays:
        small = degradations.shrink_and_enlarge(x, 8)[None]
        found["moderate"] = degradations.mask(small, 0.5, case.tensor("mask_noise"))[0][0]
    if "adv_noise" in case.arrays:
        found["adversarial"] = degradations.perturb(x, case.tensor("adv_noise"))
    if "block_uniform" in case.arrays:
        blocks = case.tensor("block_uniform")
        found["block"] = degradations.drop_blocks(x, round(x.shape[-1] / len(blocks) ** 0.5), 0.3, blocks)
    return {name: value for name, value in found.items() if name in case.arrays}


@check("rcps/tensor2im")
def tensor2im(case):
    """Ours rounds, as the trainer does; the two that truncate, for pictures of the originals."""
    x = case.tensor("x")[None]
    got = {"runner_uint8": to_uint8(x, "dmd2"), "psp_uint8": to_uint8((x + 1) / 2, "unit"),
           "trainer_uint8": rounded_bytes(x)}
    return Judged({name: within(images[0], case.arrays[name], atol=1) for name, images in got.items()})
