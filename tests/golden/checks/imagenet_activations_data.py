"""Checks of area imagenet_activations about data: npz batches, extraction from them, JPEG trees."""

import os
import re
import tempfile
from unittest import mock

import numpy as np

from common.datasets.imagenet_classes import label_to_class
from common.datasets.imagenet_npz import open_npz_batches
from common.datasets.imagenet_select import draw_classes, quota_scan, sample_order, select
from tests.golden.compare import Judged, within
from tests.golden.registry import check


def same(got, expected):
    """Return 0 when two plain values are equal, else infinity."""
    return 0.0 if got == expected else float("inf")


@check("imagenet_activations/npz_mini")
def npz_mini(case):
    """Every folder that the case names must give the same; what is asked stands in the arrays' names."""
    ratios, got = {}, {}
    for name in sorted(case.spec["files"]):
        with tempfile.TemporaryDirectory() as cache, mock.patch.dict(os.environ, {"GENPROBE_CACHE": cache}):
            for turn in ("made", "kept"):  # the index, and the rows of compressed files
                with open_npz_batches(case.file(name)) as images:
                    got = npz_facts(case, images)
                    numbers = [int(re.search(r"_(\d+)$", batch.path.stem).group(1)) for batch in images.batches]
                ratios[f"{name} {turn} order"] = same(numbers, case.spec["file_order_numeric"])
                ratios |= {f"{name} {turn} {key}": within(value, case.arrays[key]) for key, value in got.items()}
    if "npz999_is_standard_class" in case.spec:
        ratios["npz999"] = same(int(label_to_class(1000)), case.spec["npz999_is_standard_class"])
    ratios["arrays"] = same(set(case.arrays) - set(got), set())
    return Judged(ratios)


def npz_facts(case, images):
    """Return {array's name: what our reader gives}."""
    got, classes = {}, label_to_class(images.labels)
    for key, expected in case.arrays.items():
        if key == "labels_1indexed":
            got[key] = images.labels
        elif found := re.fullmatch(r"order_seed(\d+)", key):
            got[key] = sample_order(int(found[1]), len(images))
        elif found := re.fullmatch(r"first(\d+)_seed(\d+)_(file|row|label0|class|images)", key):
            chosen = select(classes, int(found[1]), int(found[2])).indices
            files, rows = images.places(chosen)
            images.unpack(chosen)
            facts = {"file": files, "row": rows, "label0": images.labels[chosen] - 1, "class": classes[chosen],
                     "images": images.read(chosen)}  # fmt: skip
            got[key] = facts[found[3]]
        elif found := re.fullmatch(r"balanced_devkit_([\d_]+)_quota(\d+)", key):
            wanted = [int(number) for number in found[1].split("_")]
            got[key] = quota_scan(images.labels - 1, wanted, int(found[2]), int(found[2]) * len(wanted))
        elif found := re.fullmatch(r"random_(\d+)_classes_seed(\d+)", key):
            got[key] = np.array(draw_classes(int(found[2]), len(expected), 1000))
    return got
