"""Finding image files."""

from tests.bench.registry import bench

FILES, FOLDERS = 50_000, 50


def _make_tree():
    """Return a temporary folder (removed with the object) of 50,000 empty files in 50 folders."""
    import tempfile
    from pathlib import Path

    place = tempfile.TemporaryDirectory()
    for number in range(FOLDERS):
        folder = Path(place.name) / f"{number:02d}"
        folder.mkdir()
        for index in range(FILES // FOLDERS):
            (folder / f"{index:05d}.{('png', 'jpg', 'JPEG', 'webp')[index % 4]}").touch()
    return place


@bench("metrics.list_50000", peer="one recursive glob for each of clean-fid's extensions", rounds=5, at_least=5)
def list_50000():
    """The sorted paths of 50,000 images in 50 folders."""
    import glob

    from common.datasets.sets.folders import list_images
    from common.features.sources import SUFFIXES

    tree = _make_tree()
    extensions = ("bmp", "jpg", "jpeg", "pgm", "png", "ppm", "tif", "tiff", "webp", "npy", "JPEG", "JPG", "PNG")

    def ours():
        return sorted(f"{tree.name}/{name}" for name in list_images(tree.name, SUFFIXES))

    def peer():
        return sorted(path for suffix in extensions for path in glob.glob(f"{tree.name}/**/*.{suffix}", recursive=True))

    return ours, peer, lambda found, expected: found == expected
