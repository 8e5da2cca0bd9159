"""Data sets of options dictionaries, image corruptions and Matlab's bicubic, as the original draws and computes
them."""

import random
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tests.golden.compare import Judged, to_numpy, within
from tests.golden.registry import check

CORRUPTION, EXACT, JPEG_MEAN = 2e-3, 1e-6, 4e-3
STYLEGAN2_MAX, STYLEGAN2_MEAN = 2.0, 0.3  # of 255


@contextmanager
def seeded(seed):
    """Seed the global generators of Python, numpy and torch; their states are put back at the end."""
    import torch

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


@contextmanager
def inputs(case):
    """Write the case's files `in/...` to a folder and yield its path."""
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top) / "f"
        for name, data in case.arrays.items():
            if name.startswith("in/"):
                path = folder / name.removeprefix("in/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data.tobytes())
        yield str(folder)


def number_in(text, pattern, default):
    """Return the whole number that a sentence of case.json gives, e.g. `seeds 50+item`."""
    found = re.search(pattern, text or "")
    return int(found.group(1)) if found else default


def mean_within(got, expected, limit):
    """Return the mean absolute error over its limit; infinity for another shape."""
    got, expected = to_numpy(got), to_numpy(expected)
    if got.shape != expected.shape:
        return float("inf")
    return float(np.abs(got.astype(np.float64) - expected).mean()) / limit if got.size else 0.0


def same(value, expected):
    """Return 0 when two values are equal, else infinity."""
    return 0.0 if value == expected else float("inf")


def below(path, folder):
    """Return a path relative to the folder it lies in, however that is called."""
    return str(path).replace("\\", "/").split(f"{folder}/")[-1]


@check("subimages/corruptor")
def corruptor(case):
    """Each operation at its strengths, what is raised for unknown names, pipelines, the private generator."""
    from common.datasets.dlas.corruption_operations import resampling_factor
    from common.datasets.dlas.corruptions import Corruptor, enlarge

    image, ratios = case.arrays["img"], {}
    seed = number_in(case.spec.get("what"), r"seeds? set to (\d+)", 17)
    for label, result in case.spec["results"].items():
        parts = re.fullmatch(r"([^@]+)@([\d.]+)(?:@blur([\d.]+))?", label)
        if not parts or str(result).startswith("error"):
            if parts and "NotImplementedError" in str(result):
                ratios[label] = refused(parts[1])
            continue
        name, strength = parts[1], float(parts[2])
        made = Corruptor({"corruption_blur_scale": float(parts[3] or 1)}, compat=True)
        with seeded(seed):
            got = made.apply(image.copy(), name, strength, [name])
        if label in case.arrays or result == "unchanged":
            ratios[label] = corrupted_within(got, case.arrays.get(label, image), [name])
        if f"{label}/undone" in case.arrays:
            undone = enlarge(got, image.shape[:2], resampling_factor(name, strength), compat=True)
            ratios[f"{label}/undone"] = within(undone, case.arrays[f"{label}/undone"], atol=CORRUPTION)
    return Judged(ratios | pipelines(case, image, seed) | private_generator(case))


def refused(name):
    """Return 0 when a corruption's name is refused as an input error, else infinity."""
    from common.datasets.dlas.corruptions import Corruptor
    from common.errors import InputError

    try:
        Corruptor({"fixed_corruptions": [name]})
    except InputError:
        return 0.0
    return float("inf")


def corrupted_within(got, expected, names):
    """Return the error over tolerance: the mean where a JPEG codec took part."""
    if got.dtype != np.float32:
        return float("inf")
    if any("jpeg" in name for name in names):
        return mean_within(got, expected, JPEG_MEAN)
    exact = all(name in ("noise", "noise-5") for name in names)
    return within(got, expected, atol=EXACT if exact else CORRUPTION)


def pipelines(case, image, seed):
    """Whole pipelines: the drawn names, the order of the draws, the strengths returned."""
    from common.datasets.dlas.corruptions import Corruptor

    ratios = {}
    for name, options in case.spec.get("pipelines", {}).items():
        made = Corruptor(options, compat=True)
        with seeded(seed):
            images, strengths = made.corrupt([image.copy()], return_entropy=True)
        names = [*made.fixed, *made.random]
        ratios[f"pipe/{name}/out"] = corrupted_within(images[0], case.arrays[f"pipe/{name}/out"], names)
        ratios[f"pipe/{name}/entropy"] = within(np.array(strengths), case.arrays[f"pipe/{name}/entropy"], atol=EXACT)
    return ratios


def private_generator(case):
    """The strengths of a `none` corruption, with and without the cosine bias."""
    from common.datasets.dlas.corruptions import Corruptor

    ratios = {}
    seed = number_in(case.spec.get("arrays", {}).get("rand_cosine/rand_plain"), r"seeded (\d+)", 42)
    for name, bias in (("rand_cosine", True), ("rand_plain", False)):
        if name in case.arrays:
            made = Corruptor({"fixed_corruptions": ["none"], "random_seed": seed, "cosine_bias": bias}, compat=True)
            images = [np.zeros((1, 1, 3), np.float32)] * len(case.arrays[name])
            strengths = made.corrupt(images, return_entropy=True)[1]
            ratios[name] = within(np.array(strengths), case.arrays[name], atol=EXACT)
    return ratios


@check("subimages/imresize")
def imresize_cases(case):
    """Bicubic resizing of each numbered image."""
    from common.images.imresize import imresize

    numbers = [name.removesuffix("/in") for name in case.arrays if name.endswith("/in")]
    return {f"{number}/out": imresize(case.arrays[f"{number}/in"], float(case.arrays[f"{number}/scale"]))
            for number in numbers}


@check("subimages/stylegan2")
def stylegan2(case):
    """The files that are found, and each item's pixels."""
    from common.datasets.dlas.stylegan2 import Stylegan2Dataset

    ratios = {}
    with inputs(case) as folder:
        for name, config in case.spec["configs"].items():
            data = Stylegan2Dataset({**config["options"], "path": folder, "compat": True})
            files = [below(path, folder) for path in data.get_paths()]
            ratios[f"{name}/paths"] = same(sorted(files), sorted(str(path) for path in case.arrays[f"{name}/paths"]))
            for index, file in enumerate(files):
                expected = case.arrays.get(f"{name}/{file}/hq")
                if expected is not None:
                    item = data[index]
                    got = np.round(255 * to_numpy(item["hq"]))
                    ratios[f"{name}/{file}/same"] = same(item["hq"] is item["lq"] and str(item["hq"].dtype),
                                                         "torch.float32")
                    ratios[f"{name}/{file}/hq"] = within(got, expected, atol=STYLEGAN2_MAX)
                    ratios[f"{name}/{file}/mean"] = mean_within(got, expected, STYLEGAN2_MEAN)
    return Judged(ratios)


def items_within(case, config, dataset, folder, indices, seed, tolerance):
    """Compare items with `<config>/<item>/<key>`: keys, dtypes, paths, numbers; each after seeding with seed + item."""
    ratios = {}
    for index in indices:
        with seeded(seed + index):
            item = dataset[index]
        head = f"{config}/{index}/"
        known = {name.removeprefix(head): array for name, array in case.arrays.items() if name.startswith(head)}
        ratios[f"{head}keys"] = same(set(item), set(known))
        for key, expected in known.items():
            got = item.get(key)
            if expected.dtype.kind == "U":
                ratios[head + key] = same(below(got, folder), str(expected).split("/", 1)[-1])
                continue
            array = to_numpy(got)
            floats = expected.dtype.kind == "f"
            close = within(array, expected, atol=tolerance["images_abs"] if floats else 0)
            if floats and "mean_abs" in tolerance:
                close = max(close, mean_within(array, expected, tolerance["mean_abs"]))
            ratios[head + key] = close if array.dtype == expected.dtype else float("inf")
    return ratios


@check("subimages/image_folder")
def image_folder(case):
    """The order of the files and the items of each set of options."""
    from common.datasets.dlas.image_folder import ImageFolderDataset

    ratios, seed = {}, number_in(case.spec.get("what"), r"seeds? (\d+)\s*\+", 50)
    with inputs(case) as folder:
        for name, config in case.spec["configs"].items():
            if isinstance(config, dict):
                data = ImageFolderDataset({**config["options"], "paths": [folder], "weights": [1], "compat": True})
                order = [below(path, folder) for path in data.get_paths()]
                ratios[f"{name}/paths"] = same(order, [str(path) for path in case.arrays[f"{name}/paths"]])
                ratios |= items_within(case, name, data, folder, config["items"], seed, case.spec["tolerance"])
    return Judged(ratios)


@check("subimages/full_image")
def full_image(case):
    """Whole images and random tiles."""
    from common.datasets.dlas.full_image import FullImageDataset

    ratios, seed = {}, number_in(case.spec.get("what"), r"seeds? (\d+)\s*\+", 3)
    with inputs(case) as folder:
        for name, config in case.spec["configs"].items():
            data = FullImageDataset({**config["options"], "dataroot_GT": [folder], "dataroot_GT_weights": [1],
                                     "compat": True})
            indices = sorted({int(key.split("/")[1]) for key in case.arrays if key.startswith(f"{name}/")})
            ratios |= items_within(case, name, data, folder, indices, seed, case.spec["tolerance"])
    return Judged(ratios)


@check("subimages/multiscale")
def multiscale(case):
    """The patches of the first image with each seed, and the tree that numbers them."""
    from common.datasets.dlas.multiscale import MultiScaleDataset, patch_tree

    arrays = {}
    with inputs(case) as folder:
        data = MultiScaleDataset({**case.spec["options"], "paths": [folder], "compat": True})
        for seed in case.spec["seeds"]:
            with seeded(int(seed)):
                item = data[0]
            arrays |= {f"seed{seed}/{key}": item[key] for key in ("hq", "lq")}
    rows = []
    for leaf in patch_tree(case.spec["options"]["num_scales"]):
        row, node = [], leaf
        while node is not None:
            row.append((node.index, node.left, node.top))
            node = node.parent
        rows.append(row)
    return {**arrays, "tree": np.array(rows, np.float64)}


@check("subimages/torch_dataset")
def torch_dataset(case):
    """The number of items, their labels and pixels."""
    from common.datasets.dlas.torch_sets import TorchDataset

    results, seed = case.spec["results"], number_in(case.spec.get("what"), r"seeds? (\d+)\s*\+", 5)
    with inputs(case) as folder:
        kwargs = {**case.spec["options"].get("kwargs", {}), "root": folder}
        data = TorchDataset({**case.spec["options"], "kwargs": kwargs, "compat": True})
        ratios, arrays = {"len": same(len(data), results["len"])}, {}
        for index in (int(key) for key in results if key.isdecimal()):
            with seeded(seed + index):
                item = data[index]
            told = results[str(index)]
            ratios[f"{index}/labels"] = same(str(item["labels"]), str(told["labels"]))
            ratios[f"{index}/coarse_labels"] = same(str(item["coarse_labels"]), str(told["coarse_labels"]))
            ratios[f"{index}/keys"] = same(set(item), set(told))
            arrays[f"{index}/hq"] = item["hq"]
    return Judged(ratios, arrays)
