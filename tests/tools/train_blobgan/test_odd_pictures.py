"""Training on a folder of pictures as people have them, from the command line."""

import json

import numpy as np
import pytest
from PIL import Image

from common.datasets.prepared import Rows, open_prepared
from common.images.squash import for_network
from tests.common.datasets.odd_pictures import DAMAGED, write_odd_pictures
from tests.tools.train_blobgan.test_runs import TINY
from tools.train_blobgan.__main__ import cli


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd") / "pictures"
    return folder, write_odd_pictures(folder)


def train(data, folder, capsys, *words):
    assert cli([*TINY[1:], f"--data={data}", f"--output_dir={folder}", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)["results"]


@pytest.mark.parametrize("aspect_ratio", [1, 2])
def test_T13_odd_pictures_train_and_the_discriminator_sees_what_pil_makes_of_them(odd, tmp_path, capsys, aspect_ratio):
    results = train(odd[0], tmp_path / "out", capsys, "--max_steps=2", "--batch_size=32", "--resolution=32",
                    f"--aspect_ratio={aspect_ratio}", "--noxflip")
    assert (results["images"], results["damaged"]) == (40, len(DAMAGED))
    transform = for_network(32, aspect_ratio)
    images = open_prepared(odd[0], "train", transform)
    numbers = Rows(images, 0, 32).pixels(1, 0, 32)[1]
    height, width = transform.size
    with Image.open(tmp_path / "out" / "reals.png") as grid:
        pixels = np.asarray(grid.convert("RGB")).astype(int)
    for place, number in enumerate(numbers):
        top, left = (2 + index * (side + 2) for index, side in zip(divmod(place, 8), (height, width)))
        shown = pixels[top : top + height, left : left + width]
        wanted = np.asarray(transform(odd[1][images.title(number)])).astype(int)
        assert np.abs(shown - wanted).max() <= 1, images.title(number)


def test_T10_33_images_train_in_batches_of_16_with_a_pack(tmp_path, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (33, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", images=pixels)
    results = train(tmp_path / "set.npz", tmp_path / "out", capsys, "--max_steps=3", "--batch_size=16",
                    f"--pack={tmp_path / 'pack'}")
    assert results["images"] == 33
    assert np.array_equal(np.load(tmp_path / "pack"), pixels)
