"""The extractor against the plain way: one process, one OpenCV call after the other.

Both sides read the same 40 JPEG photos of 2 to 4 megapixels (made from scikit-learn's two bundled photographs) from a
memory disk and write to it, three passes over them. Ours has two workers that are already started.
"""

from tests.bench.registry import bench

PHOTOS, PASSES = 40, 3
CROP, STEP, THRESHOLD, FACTORS, QUALITY = [256, 512], [128, 256], 128, [1.0, 0.5], 95


class Bench:
    """The photos in a folder of their own, removed when the process ends; two workers."""

    def __init__(self):
        import atexit
        import os
        import shutil
        import tempfile
        from pathlib import Path

        import cv2

        from common import console
        from tools.extract_subimages.workers import Workers

        console.set_quiet(True)
        disk = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="bench_subimages_", dir=disk))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        self.photos = self.folder / "photos"
        self.photos.mkdir()
        cv2.setNumThreads(1)
        make_photos(self.photos)
        self.workers = Workers(2)

    def ours(self, layout):
        """Extract everything PASSES times with the two workers; returns the number of tiles of each pass."""
        import shutil

        from tools.extract_subimages.options import SubimageOptions
        from tools.extract_subimages.run import main

        counts = []
        for _ in range(PASSES):
            options = SubimageOptions(input_folder=[str(self.photos)], save_folder=str(self.folder / "ours"),
                                      layout=layout,
                              quiet=True)
            counts.append(main(options, self.workers).results["tiles"])
            shutil.rmtree(self.folder / "ours")
        return counts

    def plain(self):
        """The same with the plain loop."""
        import shutil

        counts = []
        for _ in range(PASSES):
            counts.append(plain_loop(self.photos, self.folder / "plain"))
            shutil.rmtree(self.folder / "plain")
        return counts


def make_photos(folder):
    """Write 40 JPEG photos of 2.4 to 4 megapixels: mosaics of mirrored and enlarged views of the two photographs."""
    import cv2
    import numpy as np
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    views = [image[..., ::-1] for image in load_sample_images().images]
    for index in range(PHOTOS):
        height, width = int(rng.integers(1280, 1620)), int(rng.integers(1900, 2460))
        height, width = (width, height) if index % 5 == 4 else (height, width)
        rows = [np.concatenate([cv2.flip(views[(index + row + column) % 2], column % 2) for column in range(4)],
                               axis=1) for row in range(6)]
        mosaic = np.concatenate(rows, axis=0)[:height, :width]
        cv2.imwrite(str(folder / f"photo_{index:02d}.jpg"), mosaic, [cv2.IMWRITE_JPEG_QUALITY, 92])


def plain_loop(photos, target):
    """Cut the photos of a folder into tiles with a reference and centres each, as anyone would write it; returns the
    count."""
    import cv2
    import torch

    count, number = 0, 0
    for path in sorted(photos.iterdir()):
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        height, width = image.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = image[top : top + side, left : left + side]
        folder = target / f"{path.stem}_left"
        folder.mkdir(parents=True)
        reference_side = int(CROP[0] * FACTORS[0])
        reference = cv2.resize(square, (reference_side, reference_side), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / "ref.jpg"), reference, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        centers, number = {}, 0
        for crop, step, factor in zip(CROP, STEP, FACTORS):
            starts = list(range(0, side - crop + 1, step))
            if side - (starts[-1] + crop) > THRESHOLD:
                starts.append(side - crop)
            for row in starts:
                for column in starts:
                    number += 1
                    size = int(crop * factor)
                    tile = cv2.resize(square[row : row + crop, column : column + crop], (size, size),
                                      interpolation=cv2.INTER_AREA)
                    cv2.imwrite(str(folder / f"{number:08d}.jpg"), tile, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
                    scale = side / reference_side
                    centers[number] = ((int((row + crop // 2) / scale), int((column + crop // 2) / scale)),
                                       int(crop / scale))
        torch.save(centers, folder / "centers.pt")
        count += number
    return count


def same_tiles(setup, layout):
    """True when one pass of ours holds the tiles of the plain loop: the same bytes in folders, the same number
    elsewhere.

    References may differ by what the codec makes of a value or two that are rounded otherwise.
    """
    import shutil

    import cv2

    from tools.extract_subimages.options import SubimageOptions
    from tools.extract_subimages.run import main

    options = SubimageOptions(input_folder=[str(setup.photos)], save_folder=str(setup.folder / "ours"), layout=layout,
                      quiet=True)
    counts = main(options, setup.workers).results["tiles"], plain_loop(setup.photos, setup.folder / "plain")
    same = counts[0] == counts[1]
    if layout == "folders":
        for theirs in (setup.folder / "plain").rglob("*.jpg"):
            ours = setup.folder / "ours" / theirs.relative_to(setup.folder / "plain")
            if theirs.name == "ref.jpg":
                apart = cv2.absdiff(cv2.imread(str(theirs)), cv2.imread(str(ours)))
                same = same and apart.max() <= 8 and apart.mean() < 0.02  # a step of one coefficient or two
            else:
                same = same and theirs.read_bytes() == ours.read_bytes()
    shutil.rmtree(setup.folder / "ours")
    shutil.rmtree(setup.folder / "plain")
    return same


_shared = []


def sides(layout):
    """Return (ours, peer, same) of one layout."""
    if not _shared:
        _shared.append(Bench())
    setup = _shared[0]
    return lambda: setup.ours(layout), setup.plain, lambda ours, peer: ours == peer and same_tiles(setup, layout)


@bench("subimages.extract", peer="one-process OpenCV loop", unit="photos/s", items=PHOTOS * PASSES, rounds=3,
       at_least=1.6)
def extract():
    """Folders of tiles."""
    return sides("folders")


@bench("subimages.extract_packed", peer="one-process OpenCV loop", unit="photos/s", items=PHOTOS * PASSES, rounds=3,
       at_least=1.8)
def extract_packed():
    """Tar shards."""
    return sides("packed")


@bench("subimages.extract_virtual", peer="one-process OpenCV loop", unit="photos/s", items=PHOTOS * PASSES, rounds=3,
       at_least=4)
def extract_virtual():
    """One square for each photo."""
    return sides("virtual")


@bench("subimages.overhead", peer="decoding the photos and encoding the tiles, nothing else", unit="photos/s",
       items=PHOTOS,
       rounds=3, at_least=0.8)
def overhead():
    """One process: all of the work beside its decoding and encoding alone; 0.8 is 1.25 times as many CPU seconds."""
    import shutil

    import cv2

    from tools.extract_subimages.options import SubimageOptions
    from tools.extract_subimages.run import main
    from tools.extract_subimages.workers import Workers

    sides("folders")
    setup, alone = _shared[0], Workers(0)
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    main(SubimageOptions(input_folder=[str(setup.photos)], save_folder=str(setup.folder / "kept"), quiet=True), alone)
    stored = [cv2.imread(str(path)) for path in (setup.folder / "kept").rglob("*.jpg")]
    shutil.rmtree(setup.folder / "kept")

    def ours():
        main(SubimageOptions(input_folder=[str(setup.photos)], save_folder=str(setup.folder / "alone"), quiet=True),
             alone)
        shutil.rmtree(setup.folder / "alone")

    def peer():
        for path in setup.photos.iterdir():
            cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        for pixels in stored:
            cv2.imencode(".jpg", pixels, options)

    return ours, peer, lambda ours, peer: True
