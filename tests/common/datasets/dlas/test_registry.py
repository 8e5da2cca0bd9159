"""The modes by other names, and the user's own classes among them."""

import re
from pathlib import Path

import numpy as np
import pytest

from common.datasets.dlas import options as registry
from common.datasets.dlas.options import create_dataloader, create_dataset, known_modes, register_dataset
from common.errors import InputError
from tests.tools.extract_subimages.photos import make_photos

PAGE = Path(__file__).parents[4] / "docs/datasets.md"
CLASSES = {"SingleImageDataset": "single_image_extensible", "MultiFrameDataset": "multi_frame_extensible",
           "PairedFrameDataset": "paired_frame", "ImageFolderDataset": "imagefolder", "FullImageDataset": "fullimage",
           "MultiScaleDataset": "multiscale", "Stylegan2Dataset": "stylegan2", "TorchDataset": "torch_dataset"}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(registry, "_REGISTERED", {})


@pytest.mark.parametrize("name", CLASSES)
def test_the_names_of_the_classes_are_modes(name):
    assert known_modes()[name] == known_modes()[CLASSES[name]]


def test_a_block_may_name_the_class(tmp_path):
    folder = str(make_photos(tmp_path / "in"))
    block = {"paths": [folder], "target_size": 32, "scale": 2}
    first, second = (create_dataset({"mode": mode, **block}) for mode in ("ImageFolderDataset", "imagefolder"))
    assert type(first) is type(second)
    assert np.array_equal(first[1]["hq"], second[1]["hq"])
    with pytest.raises(InputError, match="Did you mean 'ImageFolderDataset'|ImageFolderDataset"):
        create_dataset({"mode": "ImageFolderDatset", **block})


def test_the_page_s_own_reader_works_as_it_stands(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    code = next(block for block in blocks if "register_dataset" in block)
    exec(code, {"__name__": "users_module"})
    folder = str(make_photos(tmp_path / "in"))
    options = {"mode": "halves", "path": folder, "scale": 2, "phase": "val"}
    dataset = create_dataset(options)
    assert [item["hq"].shape for item in dataset] == [(3, 75, 220), (3, 78, 215), (3, 82, 210)]
    batches = list(create_dataloader(dataset, options))
    assert [batch["GT_path"] for batch in batches] == [[path] for path in dataset.get_paths()]
    with pytest.raises(InputError, match="halves: the keys 'path', 'scale' are missing"):
        create_dataset({"mode": "halves"})


def test_a_taken_mode_and_a_name_that_is_none_are_refused():
    for mode, told in (("imagefolder", "is taken by"), ("SingleImageDataset", "is taken by"), ("", "not a valid name")):
        with pytest.raises(InputError, match=told):
            register_dataset(mode)(dict)
    register_dataset("mine")(dict)
    register_dataset("mine")(dict)
    with pytest.raises(InputError, match="'mine' is taken by dict"):
        register_dataset("mine")(list)


def test_a_configuration_cannot_name_code():
    with pytest.raises(InputError, match="unknown data set mode"):
        create_dataset({"mode": "os:system"})
