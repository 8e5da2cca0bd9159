"""The chunked data sets against DL-Art-School's classes: items, order of the paths, which folders make up an item.

compat: the original's windows, pairs, mask scale and generators (ours differ where the original is wrong).
"""

import random
import tempfile
from pathlib import Path

import numpy as np

from tests.golden.compare import Judged, to_numpy, within
from tests.golden.registry import check

IMAGES = {"images_abs": 0.006, "mean_abs": 0.001, "masks_abs": 1e-5, "centers": 0}
FRAMES_OPTIONS = {"target_size": 16, "scale": 2, "need_ref": True, "needs_metadata": True}


def seed_all(seed):
    """Seed the three global generators."""
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class KeptGenerators:
    """Restores the global generators of Python, numpy and torch."""

    def __enter__(self):
        import torch

        self.states = random.getstate(), np.random.get_state(), torch.get_rng_state()

    def __exit__(self, *_):
        import torch

        random.setstate(self.states[0])
        np.random.set_state(self.states[1])
        torch.set_rng_state(self.states[2])


def compare(name, got, expected, tolerance):
    """Return {what: error over tolerance} of one key of an item."""
    limits = {**IMAGES, **{key: value for key, value in (tolerance or {}).items() if key in IMAGES}}
    if expected.dtype.kind in "US":
        return {name: 0.0 if str(got) == str(expected) else np.inf}
    if "center" in name:
        return {name: within(got, expected, atol=limits["centers"])}
    got, found = to_numpy(got).astype(np.float64), {}
    if got.shape != expected.shape:
        return {name: np.inf}
    colours = slice(None)
    if "fullsize_ref" in name:
        found[f"{name} mask"] = within(got[3], expected[3], atol=limits["masks_abs"])
        colours = slice(0, 3)
    found[name] = within(got[colours], expected[colours], atol=limits["images_abs"])
    found[f"{name} mean"] = float(np.abs(got[colours] - expected[colours]).mean() / limits["mean_abs"])
    return found


@check("subimages/single_image")
def single_image(case):
    """Every option set: length, order of the paths, and the items; the loader that users have builds the data set."""
    from common.datasets.dlas.options import create_dataset

    found = {}
    with tempfile.TemporaryDirectory() as folder, KeptGenerators():
        root = Path(folder) / "ch"
        for name, data in case.arrays.items():
            if name.startswith("in/"):
                path = root / name.removeprefix("in/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data.tobytes())
        for config, spec in case.spec["configs"].items():
            paths = [str(root)] * spec["n_paths"] if spec.get("n_paths", 1) > 1 else str(root)
            mode = spec["options"].get("mode", "single_image_extensible")
            dataset = create_dataset({**spec["options"], "mode": mode, "paths": paths, "compat": True})
            found[f"{config} len"] = within(len(dataset), spec["len"])
            if f"{config}/paths" in case.arrays:
                listed = np.array([path.removeprefix(f"{folder}/") for path in dataset.get_paths()])
                found[f"{config} paths"] = within(listed, case.arrays[f"{config}/paths"])
            for index in spec["items"]:
                seed_all(100 + index)
                item = dataset[index]
                for key in spec["keys"]:
                    got = item[key].removeprefix(f"{folder}/") if isinstance(item[key], str) else item[key]
                    found |= compare(f"{config}/{index}/{key}", got, case.arrays[f"{config}/{index}/{key}"],
                                     case.spec["tolerance"])
    return Judged(found)


def write_frames(root, folders):
    """Write chunk folders [(name, number of tiles)] as the cases say: colours tell folder and tile."""
    import torch
    from PIL import Image

    tile = 0
    for number, (name, count) in enumerate(folders):
        folder = Path(root) / name
        folder.mkdir(parents=True)
        Image.fromarray(np.full((16, 16, 3), 100, np.uint8)).save(folder / "ref.jpg")
        centers = {}
        for place in range(count):
            colour = np.full((16, 16, 3), (128, 40 * place, 8 * number), np.uint8)
            Image.fromarray(colour).save(folder / f"{tile:08d}.png")
            centers[tile] = ((8, 8), 16)
            tile += 1
        torch.save(centers, folder / "centers.pt")


def frames_of(item):
    """Return ([folder], [tile]) that the colours of an item's frames tell."""
    colours = np.rint(to_numpy(item["hq"])[:, :, 0, 0] * 255).astype(int)
    return (colours[:, 2] // 8).tolist(), (colours[:, 1] // 40).tolist()


def fails(dataset, index):
    """True when an item cannot be read, as in the original."""
    from common.errors import InputError

    try:
        dataset[index]
    except InputError:
        return True
    return False


def compare_items(case, mode, folders, options):
    """Return {what: 0 or infinity}: folders, tiles and path of every item, shapes, and the arrays that the case
    holds."""
    from common.datasets.dlas.options import create_dataset

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        write_frames(folder, folders)
        dataset = create_dataset({**options, "mode": mode, "paths": folder, "compat": True})
        if "len" in case.spec:
            found["len"] = within(len(dataset), case.spec["len"])
        for row in case.spec["items"]:
            if any("error" in key or "raise" in key for key in row):
                found[f"item{row['item']} fails"] = 0.0 if fails(dataset, row["item"]) else np.inf
                continue
            item = dataset[row["item"]]
            got = dict(zip(("frames", "tiles"), frames_of(item)))
            got["folders"], got["path"] = got["frames"], item["GT_path"].removeprefix(f"{folder}/")
            for key in {"frames", "folders", "tiles", "path"} & set(row):
                found[f"item{row['item']} {key}"] = within(np.array(got[key]), np.array(row[key]))
            for key, shape in (row.get("shapes") or {}).items():
                said = f"{tuple(item[key].shape)} {item[key].dtype}"
                found[f"item{row['item']} {key}"] = 0.0 if said == shape else np.inf
            for key in item:
                if f"item{row['item']}/{key}" in case.arrays:
                    name = f"item{row['item']}/{key}"
                    expected = case.arrays[name]
                    got_array = item[key].removeprefix(f"{folder}/") if isinstance(item[key], str) else item[key]
                    # tolerance 0, but for the last bit of a float32
                    found[name] = within(got_array, expected, atol=1e-6 if expected.dtype.kind == "f" else 0)
            for key in item:  # arrays of which only the shape is told
                told = case.spec.get("arrays", {}).get(f"item{row['item']}/{key}")
                if told:
                    same = list(item[key].shape) == told["shape"] and str(item[key].dtype) == f"torch.{told['dtype']}"
                    found[f"item{row['item']}/{key} shape"] = 0.0 if same else np.inf
    return Judged(found)


@check("subimages/multiframe")
def multiframe(case):
    """The original's window of each item."""
    folders = [tuple(folder) for folder in case.spec["folders"]]
    return compare_items(case, "multi_frame_extensible", folders, case.spec["options"])


@check("subimages/paired_frame")
def paired_frame(case):
    """The two halves of each item; two tiles a folder unless the case tells how many."""
    folders = [(folder, 2) if isinstance(folder, str) else tuple(folder) for folder in case.spec["folders"]]
    return compare_items(case, "paired_frame", folders, case.spec.get("options", FRAMES_OPTIONS))
