"""Reading chunked data sets, against the plain reader of DL-Art-School."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from tests.bench.registry import bench

FOLDERS, TILES, SIDE, TARGET, SCALE = 500, 20, 256, 128, 4
ITEMS = 200
ENDINGS = ("jpg", "jpeg", "png", "ppm", "bmp", "webp")  # the original's, in two cases of letters


def _memory_folder():
    """Return a temporary folder on a memory disk where there is one; it is removed when the process ends."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.mkdtemp(prefix="genprobe_read.", dir=place)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def make_chunks(root, folders=FOLDERS, tiles=TILES, side=SIDE):
    """Write a chunked data set: JPEG tiles (quality 95) cut from a bundled photograph, ref.jpg and centers.pt."""
    import cv2
    import torch
    from sklearn.datasets import load_sample_image

    photo = load_sample_image("china.jpg")[:, :, ::-1]
    windows = [(41 * step % (photo.shape[0] - side), 67 * step % (photo.shape[1] - side)) for step in range(40)]
    encoded = [cv2.imencode(".jpg", photo[top : top + side, left : left + side],
                            [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
               for top, left in windows]
    tile = 0
    for number in range(folders):
        folder = Path(root) / f"photo{number:05d}_left_{number}"
        folder.mkdir(parents=True)
        (folder / "ref.jpg").write_bytes(encoded[number % len(encoded)])
        centers = {}
        for _ in range(tiles):
            tile += 1
            (folder / f"{tile:08d}.jpg").write_bytes(encoded[tile % len(encoded)])
            centers[tile] = ((64 + tile % 100, 64 + tile % 90), 64)
        tile += 1
        torch.save(centers, folder / "centers.pt")


def plain_item(path):
    """Return the tensors of one item as the original computes them: ref.jpg and centers.pt are read for each tile."""
    import cv2
    import numpy as np
    import torch

    def read(name):
        image = cv2.imread(str(name), cv2.IMREAD_UNCHANGED).astype(np.float32) / 255.0
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def area(image, side):
        return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)

    def tensor(image):
        return torch.from_numpy(np.ascontiguousarray(np.transpose(image, (2, 0, 1)))).float()

    tile, reference = read(path), read(path.parent / "ref.jpg")
    (row, col), width = torch.load(path.parent / "centers.pt", weights_only=False)[int(path.stem)]
    mask = np.full((*tile.shape[:2], 1), 0.1, np.float32)
    mask[row - width // 2 : row + width // 2, col - width // 2 : col + width // 2] = 1
    center = torch.tensor([int(TARGET / SIDE * row), int(TARGET / SIDE * col)])
    low = TARGET // SCALE
    hq, hq_ref, hq_mask = (area(image, TARGET) for image in (tile, reference, mask))
    lq, lq_ref, lq_mask = (area(image, low) for image in (hq, hq_ref, hq_mask))
    return {
        "hq": tensor(hq), "lq": tensor(lq), "gt_center": center, "lq_center": (center * (low / TARGET)).long(),
        "gt_fullsize_ref": torch.cat([tensor(hq_ref), torch.from_numpy(hq_mask)[None]]),
        "lq_fullsize_ref": torch.cat([tensor(lq_ref), torch.from_numpy(lq_mask)[None]]),
    }


def plain_start(root):
    """Return [[tiles] of each folder], listed as the original does on a start without cache.pth."""
    endings = [letters for name in ENDINGS for letters in (f".{name}", f".{name.upper()}")]
    found = []
    for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
        if entry.is_dir():
            tiles = []
            for folder, _, names in sorted(os.walk(entry.path)):
                for name in sorted(names):
                    if any(name.endswith(ending) for ending in endings) and "ref.jpg" not in name:
                        tiles.append(os.path.join(folder, name))
            found.append(sorted(tiles))
    return found


@bench("subimages.start", peer="the original's listing of every folder", at_least=3)
def start():
    """A start with the index, checked against the folders: 500 folders x 20 tiles. Promised beside: under 50 ms."""
    import time

    from common.datasets.dlas.options import create_dataset

    root = _memory_folder()
    make_chunks(root, side=32)
    time.sleep(2.1)  # younger folders are not trusted
    options = {"mode": "single_image_extensible", "paths": root, "target_size": TARGET, "scale": SCALE}
    create_dataset(options)
    return (lambda: create_dataset(options), lambda: plain_start(root),
            lambda ours, theirs: ours.get_paths() == [tile for tiles in theirs for tile in tiles])


@bench("subimages.read", peer="decode ref.jpg and centers.pt for each tile", unit="items/s", items=ITEMS, at_least=2.2)
def read():
    """SingleImage items with reference and metadata in the order of the index, 500 folders x 20 tiles of 256 px."""
    import cv2

    from common.datasets.dlas.options import create_dataset

    cv2.setNumThreads(1)
    root = _memory_folder()
    make_chunks(root)
    dataset = create_dataset({"mode": "single_image_extensible", "paths": root, "target_size": TARGET, "scale": SCALE,
                              "need_ref": True, "needs_metadata": True})
    paths = [Path(path) for path in dataset.get_paths()]
    # Each call reads the next items, so that references come from the disk as often as in a pass through the data set.
    starts = {"ours": 0, "peer": 0}

    def items(side, get):
        start = starts[side]
        starts[side] = (start + ITEMS) % len(paths)
        last = [get(index) for index in range(start, start + ITEMS)][-1]
        return start, {key: value for key, value in last.items() if not isinstance(value, str)}

    def same(ours, theirs):
        return ours[0] == theirs[0] and all(
            float((ours[1][key].double() - value.double()).abs().max()) <= 1e-4 for key, value in theirs[1].items()
        )

    return (lambda: items("ours", dataset.__getitem__), lambda: items("peer", lambda index: plain_item(paths[index])),
            same)
