"""Checks of area metrics about the Inception network: its features, the names in its files, resizing before it."""

import numpy as np
import torch
from PIL import Image

from common.features import resize
from common.features.spaces import InceptionSpace
from common.networks.inception import InceptionFeatures, InceptionV3
from common.networks.inception_weights import build_inception, script_names
from tests.golden.compare import Judged, within
from tests.golden.registry import check

# The cases say their tolerances in sentences; these are the same numbers.
FEATURES, LOGITS = 2e-4, 1e-3
RESIZED = {"clean": 2e-4, "legacy_pytorch": 2e-4, "legacy_tensorflow": 2e-4, "fast": 2e-3}
STATISTICS = 2e-4  # of means and deviations of whole resized images, as of their pixels
QUANTISED_SHARE = 1e-3  # of the pixels may be one grey level off
STRIDE = 7  # of the rows and columns that are stored of a resized image


def equal(got, expected):
    """Return 0 for equal values and infinity for others."""
    return 0.0 if got == expected else float("inf")


@check("metrics/inception_fid")
def inception_fid(case):
    network = build_inception(case.state_dict())
    features = InceptionFeatures(network)
    ratios = {"names": equal([row["name"] for row in case.manifest()], list(InceptionV3().state_dict()))}
    groups = [name.removesuffix("_u8") for name in case.arrays if name.endswith("_u8")]
    for group in groups:
        wanted = {name.removeprefix(f"{group}_"): array for name, array in case.arrays.items()
                  if name.startswith(f"{group}_") and not name.endswith("_u8")}
        for mode in (*resize.MODES, None):
            results = [name for name in wanted if (mode_of(name) == mode)]
            if results:
                x = network_input(case.arrays[f"{group}_u8"], mode)
                found = run(network, features, x, taps=mode is None)
                for name in results:
                    what = name.removeprefix(f"{mode}_")
                    limit = LOGITS if "logits" in what else FEATURES
                    ratios[f"{group}_{name}"] = within(found[what], wanted[name], atol=limit)
                    if f"plain {what}" in found:
                        ratios[f"plain {group}_{name}"] = within(found[f"plain {what}"], wanted[name], atol=limit)
        for mode in {mode_of(name) for name in wanted} - {None}:
            features, logits = encoded(case.arrays[f"{group}_u8"], network, mode)
            for name, got, limit in ((f"{mode}_2048", features, FEATURES), (f"{mode}_logits_unbiased", logits, LOGITS)):
                if name in wanted:
                    ratios[f"encoded {group}_{name}"] = within(got, wanted[name], atol=limit)
    return Judged(ratios)


def encoded(images, network, mode):
    """Return the features and logits of images as the commands take them."""
    features = InceptionFeatures(network)
    features.weights = {"file": "filled", "sha256": "filled"}
    space = InceptionSpace(features, mode)
    return space.encode([space.prepare(image) for image in images])


def mode_of(name):
    """Return the preprocessing mode with which a result's name begins, or None."""
    return next((mode for mode in resize.MODES if name.startswith(f"{mode}_")), None)


def network_input(images, mode):
    """Return the network's input for uint8 images (n, H, W, 3); without a mode they have its size already."""
    if mode is None:
        return resize.normalise(torch.from_numpy(images).permute(0, 3, 1, 2).float(), "clean")
    resized = np.stack([resize.resize_image(image, mode) for image in images])
    return resize.normalise(torch.from_numpy(resized).permute(0, 3, 1, 2), mode)


def run(network, features, x, taps):
    """Return {what: result} of the form for inference and, with `taps`, of the plain network too."""
    pooled = features.features(x)
    found = {"2048": pooled, "logits": features.logits(pooled), "logits_unbiased": features.logits(pooled, bias=False)}
    if taps:
        with torch.inference_mode():
            plain = network.layers(x, ("64", "192", "768", "2048"))
            found |= {name: plain[name] for name in ("64", "192", "768")}
            found["plain 2048"] = means = plain["2048"]
            found["plain logits"] = network.logits(means)
            found["plain logits_unbiased"] = network.logits(means, bias=False)
    return found


@check("metrics/inception_torchscript_keys")
def inception_torchscript_keys(case):
    names, entries = script_names(), InceptionV3().state_dict()
    shapes = {name: list(entries[own].shape) for name, own in names.items()}
    ratios = {"map": equal(names, case.spec["map"])}
    return Judged({**ratios, "shapes": equal(shapes, case.spec["shapes"])} if "shapes" in case.spec else ratios)


@check("metrics/resize")
def resized(case):
    images = {name: array for name, array in case.arrays.items() if "_" not in name}
    ratios = {}
    for name, expected in case.arrays.items():
        image, _, how = name.partition("_")
        if how.startswith("pil"):
            ratios[name] = _by_pillow(images[image], how, expected)
        elif how:
            mode = "fast" if how.startswith("fast") else how
            got = resize.resize_image(images[image], mode, antialias=not how.endswith("antialias0"))
            ratios[name] = within(got[::STRIDE, ::STRIDE], expected, atol=RESIZED[mode])
    for row in case.spec.get("stats", ()):
        got = resize.resize_image(images[row["image"]], row["mode"]).astype(np.float64)
        moments = [got.mean(), got.std()]
        ratios[f"stats {row['image']} {row['mode']}"] = within(moments, [row["mean"], row["std"]], atol=STATISTICS)
    return Judged(ratios)


def _by_pillow(image, how, expected):
    """Return the error over tolerance of pil_FILTER_WxH (floats) or pilq_FILTER_WxH (bytes).

    These are Pillow's own filters, which no tool of ours reimplements: the case says which Pillow the others rest on.
    """
    kind, filter_name, size = how.split("_")
    width, height = map(int, size.split("x"))
    resample = Image.Resampling[filter_name.upper()]
    if kind == "pil":
        channels = [Image.fromarray(image[..., index].astype(np.float32)) for index in range(3)]
        got = np.stack([channel.resize((width, height), resample) for channel in channels], axis=-1).clip(0, 255)
        return within(got, expected, atol=RESIZED["clean"])
    got = np.asarray(Image.fromarray(image).resize((width, height), resample))
    if got.shape != expected.shape or got.dtype != expected.dtype:
        return float("inf")
    difference = np.abs(got.astype(int) - expected.astype(int))
    return float("inf") if difference.max() > 1 else float(difference.mean() / QUANTISED_SHARE)


@check("metrics/setup_fid_transform")
def setup_fid_transform(case):
    resolution = case.spec["resolution"]
    shape = resolution if isinstance(resolution, int) else tuple(resolution)
    both = (shape, shape) if isinstance(shape, int) else shape
    ratios = {}
    for name, expected in case.arrays.items():
        what, _, antialias = name.partition("_antialias")
        if antialias:
            image = case.arrays["img"]
            done = resize.cover(image, both, antialias == "1") if what == "resized" else resize.cover_and_crop(
                image, shape, antialias == "1")
            ratios[name] = within(done, expected, atol=1)  # one grey level
    return Judged(ratios)
