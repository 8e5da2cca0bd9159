"""Which files below a folder are a data set's images, and which folders are its classes."""

import os

import numpy as np
import pytest
from PIL import Image

from common.datasets.dlas.options import create_dataset
from common.datasets.sets.folders import list_images
from common.errors import InputError


def image(path, value=0):
    """Write a small PNG of one grey; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((24, 24, 3), value, np.uint8)).save(path)
    return path


def labels_of(root):
    """Return {path below the root: label} of torch_dataset's imagefolder."""
    data = create_dataset({"mode": "torch_dataset", "dataset": "imagefolder", "image_size": 16,
                           "kwargs": {"root": str(root)}})
    items = [data[index] for index in range(len(data))]
    assert len({item["GT_path"] for item in items}) == len(items)
    return {os.path.relpath(item["GT_path"], root): item["labels"] for item in items}


def test_S12_folders_that_are_no_classes_shift_no_label_and_no_file_counts_twice(tmp_path):
    root = tmp_path / "set"
    for name in ("cat/1.png", "cat/deep/2.png", "dog/3.png", ".thumbnails/4.png", "top.png"):
        image(root / name)
    (root / "aardvark").mkdir()
    (root / "bin").mkdir()
    (root / "bin" / "notes.txt").write_text("no image")
    (root / "cat" / "a_link").symlink_to(root / "dog")
    (root / "cat" / "round").symlink_to(root)
    image(tmp_path / "elsewhere" / "5.png")
    (root / "fox").symlink_to(tmp_path / "elsewhere")
    assert labels_of(root) == {"cat/1.png": 0, "cat/deep/2.png": 0, "dog/3.png": 1, "fox/5.png": 2}


def test_S11_pictures_drawn_of_a_data_set_are_none_of_its_images(tmp_path):
    from tests.tools.commands import results_of
    from tests.tools.extract_subimages.photos import TOOL, extract, make_photos

    extract(make_photos(tmp_path / "in", 2), tmp_path / "out", "--preview", "2", "--format", "png")
    results_of(TOOL, "inspect", tmp_path / "out")
    assert (tmp_path / "out" / "preview.png").exists()
    assert (tmp_path / "out" / "inspect.png").exists()
    tiles = {path.name for path in (tmp_path / "out").glob("*/0*.png")}
    data = create_dataset({"mode": "imagefolder", "paths": str(tmp_path / "out"), "scale": 1})
    assert {os.path.basename(path) for path in data.get_paths()} == tiles
    (tmp_path / "out" / "run.json").unlink()
    assert not {"preview.png", "inspect.png"} & {*list_images(tmp_path / "out")}
    image(tmp_path / "mine" / "preview.png")  # a picture of that name that nothing drew
    assert list(list_images(tmp_path / "mine")) == ["preview.png"]


def test_S5_a_folder_that_cannot_be_listed_is_refused_by_readers(tmp_path, monkeypatch):
    image(tmp_path / "set" / "a" / "1.png")
    image(tmp_path / "set" / "b" / "2.png")
    plain = os.scandir

    def scandir(path="."):
        if os.path.basename(path) == "b":
            raise PermissionError(13, "Permission denied", path)
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match="set/b"):
        list(list_images(tmp_path / "set"))
