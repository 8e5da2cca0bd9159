"""Compare the tiles and readers of extract_subimages with peers; prints the table of docs/extract_subimages.md.

    python -m tests.peers.subimages GOLDEN      # GOLDEN: the golden cases of extract_subimages (tests/golden/subimages)

Needs webdataset 1.0.2, datasets 5.2.0, basicsr 1.4.2, lmdb 3.0.0 and pyarrow beside the project's own packages, in an
environment of their own. The input is scikit-learn's two photos. Nothing is downloaded.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
from PIL import Image

TILES = ("--crop_sz", "128", "256", "--step", "64", "128", "--thres_sz", "32", "--resize_final_img", "1", ".5",
         "--min_size", "256")
PAIRS = ("--mode", "pair", "--make_lr", "2", "3", "4", "--crop_sz", "96", "--step", "48", "--naming", "basicsr",
         "--meta_info", "--lmdb")
EXTRACTORS = ("extract", "square", "subimages_single", "tiling")  # checks of golden cases; the others are of readers


def photos(folder):
    """Write scikit-learn's photos as PNG files into a new folder; returns it."""
    from sklearn.datasets import load_sample_images

    folder.mkdir()
    for number, pixels in enumerate(load_sample_images().images, 1):
        Image.fromarray(pixels).save(folder / f"{number:04d}.png")
    return folder


def extract(source, target, *words):
    """Run the tool; returns the folder."""
    subprocess.run([sys.executable, "-m", "tools.extract_subimages", "--input_folder", str(source), "--save_folder",
                    str(target), "--quiet", *words], check=True)
    return target


def tiles_in(folder):
    """Return {chunk/id: (bytes, what the geometry tells)} of the layout of folders."""
    found = {}
    for path in sorted(folder.glob("*/geometry.jsonl")):
        for line in path.read_text().splitlines()[1:]:
            told = json.loads(line)
            name = f"{path.parent.name}/{told['id']:08d}"
            found[name] = (folder / f"{name}.jpg").read_bytes(), told
    return found


def pillow(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def ours(data, where="tile"):
    from common.images.opencv import decode_rgb

    return decode_rgb(data, where).astype(int)


def webdataset_rows(root, tiles):
    """Yield the row of webdataset: every sample of the tar shards against the folders."""
    import webdataset

    samples = list(webdataset.WebDataset(sorted(map(str, (root / "packed").glob("shard-*.tar"))), shardshuffle=False,
                                         empty_check=False).to_tuple("__key__", "jpg", "json"))
    other = sum(tiles.get(key, (None,))[0] != data for key, data, _ in samples)
    told = sum(tiles.get(key, (None, None))[1] != json.loads(text) for key, _, text in samples)
    yield ("webdataset 1.0.2", "samples of the tar shards", f"{len(samples)} of {len(tiles)}",
           f"{other} images, {told} json")


def datasets_rows(root, tiles):
    """Yield the rows of datasets: load_dataset of the folders of shards, and of a folder of photos."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(root / "cache")}
    from datasets import load_dataset

    from common.datasets.dlas.options import create_dataset

    for layout, image, key in (("packed", "jpg", "__key__"), ("parquet", "image", "key")):
        rows = load_dataset(str(root / layout))["train"]
        levels = max(int(np.abs(np.asarray(row[image].convert("RGB")).astype(int) - ours(tiles[row[key]][0])).max())
                     for row in rows)
        yield ("datasets 5.2.0", f"load_dataset of the {layout} folder", f"{rows.num_rows} of {len(tiles)}",
               f"{levels} levels")
    rows = load_dataset("imagefolder", data_dir=str(root / "in"))["train"]
    items = create_dataset({"mode": "imagefolder", "paths": str(root / "in"), "scale": 1, "force_square": False,
                            "disable_flip": True, "skip_lq": True})
    pairs = ((np.asarray(row["image"].convert("RGB")), item["hq"].numpy().transpose(1, 2, 0) * 255)
             for row, item in zip(rows, items))
    levels = max(float(np.abs(theirs - mine).max()) for theirs, mine in pairs)
    yield "datasets 5.2.0", "imagefolder of the photos", f"{len(items)} of {rows.num_rows}", f"{levels:.0f} levels"


def basicsr_rows(root):
    """Yield the rows of BasicSR: its data set on our folders and LMDB, its resizing against ours."""
    import torchvision.transforms.functional as functional

    module = types.ModuleType("torchvision.transforms.functional_tensor")  # gone from torchvision, imported by BasicSR
    module.rgb_to_grayscale = functional.rgb_to_grayscale
    sys.modules["torchvision.transforms.functional_tensor"] = module
    with contextlib.redirect_stdout(io.StringIO()):
        from basicsr.data.paired_image_dataset import PairedImageDataset
        from basicsr.utils.matlab_functions import imresize
    out, worst, count = root / "pairs", 0.0, 0
    for kind, high, low in (("disk", "HR", "LR/X2"), ("lmdb", "HR.lmdb", "LR_X2.lmdb")):
        data = PairedImageDataset({"name": "x", "phase": "val", "scale": 2, "dataroot_gt": str(out / high),
                                   "dataroot_lq": str(out / low), "io_backend": {"type": kind}, "filename_tmpl": "{}"})
        for item in data:
            name = f"{Path(item['gt_path']).stem}.png"
            for key, folder in (("gt", "HR"), ("lq", "LR/X2")):
                pixels = item[key].numpy().transpose(1, 2, 0) * 255
                worst = max(worst, float(np.abs(pixels - ours((out / folder / name).read_bytes())).max()))
        count = len(data)
        yield "BasicSR 1.4.2", f"PairedImageDataset, {kind}", f"{count} of {len(list((out / 'HR').iterdir()))}", (
            f"{worst:.2g} levels")
    for scale in (2, 3, 4):
        levels, other = resized(root, scale, imresize)
        yield "BasicSR 1.4.2", f"imresize by 1/{scale}, whole photos", "2 of 2", (
            f"{levels:.0f} levels, {100 * other:.3f} % of values")


def resized(root, scale, peer):
    """Return (largest difference in levels, part of values that differ) of a photo shrunk here and by the peer."""
    from common.images.imresize import imresize
    from common.images.pixels import to_bytes

    worst, differ = 0.0, []
    for path in sorted((root / "in").iterdir()):
        pixels = np.asarray(Image.open(path))
        pixels = pixels[: pixels.shape[0] // 12 * 12, : pixels.shape[1] // 12 * 12]
        mine = to_bytes(imresize(pixels, 1 / scale)).astype(int)
        theirs = np.rint(np.clip(peer(pixels.astype(np.float32) / 255, 1 / scale), 0, 1) * 255).astype(int)
        worst, differ = max(worst, float(np.abs(mine - theirs).max())), [*differ, (mine != theirs).mean()]
    return worst, float(np.mean(differ))


def file_rows():
    """Yield the row of the image files that peers wrote (tests.peers.image_files)."""
    from common.images.photos import SkippedPhoto, decode_photo

    archive = np.load(Path(__file__).parents[1] / "common/images/peer_files.npz")
    table, worst, read, refused = json.loads(archive["table"].tobytes()), 0.0, 0, 0
    for name, shown in table.items():
        try:
            pixels = decode_photo(archive[name].tobytes()).pixels[..., ::-1]
        except SkippedPhoto:
            refused += 1
            continue
        read += 1
        worst = max(worst, float(np.abs(pixels - archive[shown]).max())) if shown else np.inf
    yield ("tifffile 2026.3.3, imagecodecs 2026.3.6, Pillow 13.0", "image files of all depths and colours",
           f"{read} of {len(table)}, {refused} skipped by name", f"{worst:.1f} levels")


def golden_rows(folder):
    """Yield a row each for the original's stored outputs of its extractors and of its readers."""
    done = subprocess.run([sys.executable, "-m", "tests.golden", "--json", folder], capture_output=True, text=True,
                          check=False)
    checks = {}
    for row in json.loads(done.stdout)["results"]:
        kind = "extractors" if row["check"].split("/")[1] in EXTRACTORS else "readers"
        checks.setdefault(kind, []).append(row)
    for name, rows in sorted(checks.items()):
        passed = sum(row["passed"] for row in rows)
        worst = max(np.inf if row["worst"] is None else row["worst"] for row in rows)  # None: the case raised
        yield "DL-Art-School", f"stored outputs of its {name}", f"{passed} of {len(rows)} cases", (
            f"{worst:.2g} of the tolerance")


def main():
    """Print the table."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        source = photos(root / "in")
        for layout in ("folders", "packed", "parquet"):
            extract(source, root / layout, "--layout", layout, *TILES)
        extract(source, root / "pairs", *PAIRS)
        tiles = tiles_in(root / "folders")
        rows = [*golden_rows(sys.argv[1]), *webdataset_rows(root, tiles), *datasets_rows(root, tiles),
                *basicsr_rows(root), *file_rows()]
    print("| peer | what | read | largest difference |\n|---|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
