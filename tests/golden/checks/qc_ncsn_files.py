"""qc_ncsn's data files: ImageNet 32x32 as published."""

import numpy as np

from tests.golden.registry import check


@check("qc_ncsn/imagenet32_files")
def imagenet32_files(case):
    """Every file of the case, read by the project's reader: images in [0, 1], labels from 0, dequantised images."""
    from common.datasets.imagenet.image_set import read_file
    from tools.qc_ncsn.data import dequantise

    got = {}
    for name in case.spec["files"]:
        pixels, labels = read_file(case.file(name))
        images = pixels.transpose(0, 2, 3, 1).astype(np.float32) / np.float32(255)
        got[f"{name}_image"], got[f"{name}_label"] = images, labels
        if f"{name}_dequantised" in case.arrays:
            got[f"{name}_dequantised"] = dequantise(images, case.arrays["dequant_u"])
    return got
