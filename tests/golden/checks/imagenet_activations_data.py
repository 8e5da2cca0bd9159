"""Checks of area imagenet_activations about data: npz batches, extraction from them, JPEG trees."""

import contextlib
import io
import os
import re
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

from common.datasets.imagenet.classes import class_index, label_to_class
from common.datasets.imagenet.npz_batches import open_npz_batches
from common.datasets.imagenet.tree import ImageTree
from common.errors import InputError
from common.files import read_json, read_npz
from tests.golden.compare import Judged, limits, within
from tests.golden.registry import check
from tools.extract_real_imagenet.__main__ import cli
from tools.extract_real_imagenet.select import draw_classes, sample_order, select, within_quotas


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
                with open_npz_batches(case.file(name), partial=True) as images:
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
                     "images": images.read(chosen)}
            got[key] = facts[found[3]]
        elif found := re.fullmatch(r"balanced_devkit_([\d_]+)_quota(\d+)", key):
            wanted = [int(number) for number in found[1].split("_")]
            order, quota = np.arange(len(images)), dict.fromkeys(wanted, int(found[2]))
            got[key] = within_quotas(order, images.labels - 1, quota)[0]
        elif found := re.fullmatch(r"random_(\d+)_classes_seed(\d+)", key):
            got[key] = np.array(draw_classes(int(found[2]), len(expected), range(1000)))
    return got


def run_extraction(case, folder, *words):
    """Run extract_real_imagenet on the case's network in a folder and return the output folder."""
    import torch

    args = case.spec["args"]
    state = {"state_dict": case.state_dict()}
    config = {"config": {name: value for name, value in case.spec["config"].items() if name != "use_fp16"}}
    torch.save({**state, **config}, folder / "network.pth")
    out, screen = folder / "data", io.StringIO()
    args = {"split": case.spec["dataset_info"]["split"], **args}  # the original's default, whatever it reads
    given = [word for name, value in args.items() for word in as_words(name, value)]
    command = ["--checkpoint_path", str(folder / "network.pth"), "--output_dir", str(out), "--device", "cpu", "--quiet",
               *given]
    with contextlib.redirect_stderr(screen):
        status = cli([*command, *map(str, words)])
    if status:
        raise InputError(f"the extraction ended with {status}: {screen.getvalue().strip()}", where=case.folder)
    return out


def as_words(name, value):
    """Return the words of an argument: none for null and false, the flag alone for true, several for a list."""
    if value is None or value is False:
        return []
    values = [] if value is True else value if isinstance(value, list) else [value]
    return [f"--{name}", *map(str, values)]


def judge_tree(case, out):
    """Return Judged for the files, metadata and arrays of an extraction."""
    spec, info = case.spec, read_json(out / "metadata" / "imagenet_real" / "dataset_info.json")
    expected = spec["dataset_info"]
    ratios = {f"info {name}": same(info[name], value) for name, value in expected.items() if name != "class_labels"}
    ratios["class_labels"] = same(info["class_labels"], class_index())
    written = sorted(path.relative_to(out).as_posix()
                     for path in out.rglob("*") if path.is_file() and path.name != "run.json")
    ratios["files"] = same(written, sorted(spec["files_written"]))
    folder = out / "activations" / "imagenet_real"
    for name, value in spec["batch_json"].items():
        ratios[name] = same(read_json(folder / name), value)
    arrays = {}
    for name in case.arrays:
        batch, _, layer = name.partition("/")
        if layer:
            arrays[name] = read_npz(folder / f"{batch}.npz")[layer]
    pictures = {"images": "imagenet_real", "reconstructed": "imagenet_real_reconstructed"}
    for name, place in pictures.items():
        if name in case.arrays:
            arrays[name] = np.stack([np.asarray(Image.open(path))
                                     for path in sorted((out / "images" / place).iterdir())])
    return Judged(ratios, arrays)


@contextlib.contextmanager
def own_folder():
    """Yield a temporary folder that holds the cache too."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"GENPROBE_CACHE": f"{folder}/cache"}):
        yield Path(folder)


@check("imagenet_activations/extract_npz")
def extract_npz(case):
    """The whole command on npz batches."""
    with own_folder() as folder:
        return judge_tree(case, run_extraction(case, folder, "--npz_dir", case.path("input_npz_dir"),
                                              "--npz_partial"))


@check("imagenet_activations/jpeg_tree")
def jpeg_tree(case):
    """Each picture prepared in three ways, in the order of the sorted paths, and the whole command on the tree.

    The case's tolerance is for pixels; activations are held to that of the other extraction cases.
    """
    tree = ImageTree(case.path("input_tree"), case.spec["args"]["split"])
    side, limit = case.spec["config"]["img_resolution"], limits(case.spec["tolerance"], "", "uint8")
    ways = {"squash_lanczos": "squash", "centercrop_lanczos": "center-crop", "squash_box": "box"}
    ratios = {f"{name}_{number}": within(tree.prepared(number, side, how)[0], case.arrays[f"{name}_{number}"], **limit)
              for name, how in ways.items() for number in range(len(tree)) if f"{name}_{number}" in case.arrays}
    with own_folder() as folder:
        judged = judge_tree(case, run_extraction(case, folder, "--imagenet_dir", case.path("input_tree")))
    for name, array in judged.arrays.items():
        exact = {"rtol": 1e-3, "atol": 5e-4} if array.dtype == np.float32 else limit
        judged.ratios[name] = within(array, case.arrays[name], **exact)
    return Judged(judged.ratios | ratios)
