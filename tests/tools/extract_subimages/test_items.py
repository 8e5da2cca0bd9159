"""`extract_subimages items`: pictures of what training sees."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests.tools.commands import refusal_of, results_of
from tools.extract_subimages.items import _tree


@pytest.fixture
def tiles(own_folder):
    """A chunked data set of one photo, and a configuration of two blocks."""
    rng = np.random.default_rng(0)
    (own_folder / "photos").mkdir()
    Image.fromarray(rng.integers(0, 256, (140, 130, 3), dtype=np.uint8)).save(own_folder / "photos" / "a.png")
    results_of("extract_subimages", "--input_folder", "photos", "--save_folder", "tiles", "--crop_sz", "64", "--step",
               "32",
               "--thres_sz", "16", "--resize_final_img", "1", "--min_size", "64", "--n_thread", "0")
    (own_folder / "data.yml").write_text(
        "scale: 2\ndatasets:\n"
        "  train: {mode: single_image_extensible, paths: tiles, target_size: 64, need_ref: true, needs_metadata: "
        "true}\n"
        "  tree: {mode: multiscale, paths: photos, hq_tile_size: 16, num_scales: 3, target_size: 16}\n"
    )
    return own_folder


def test_tiles_beside_their_corrupted_copies_and_places(tiles):
    results = results_of("extract_subimages", "items", "data.yml", "--num", "3")
    assert results["items"]["hq"] == [3, 64, 64]
    assert results["items"]["lq"] == [3, 32, 32]
    picture = np.asarray(Image.open(tiles / "items.png"))
    assert picture.std() > 20


def test_the_tree_of_patches(tiles):
    results = results_of("extract_subimages", "items", "data.yml", "--block", "tree", "--num", "1", "--output",
                         "tree.png")
    assert results["items"]["hq"] == [21, 3, 16, 16]
    assert (tiles / "tree.png").is_file()


def test_every_level_of_the_tree_shows_the_whole_image():
    """Patches cut from one image by quadrants come back as that image at each level."""
    image = torch.rand(3, 8, 8)
    patches = [image[:, ::4, ::4]]
    quadrants = [image[:, top : top + 4, left : left + 4] for top in (0, 4) for left in (0, 4)]
    patches += [quadrant[:, ::2, ::2] for quadrant in quadrants]
    patches += [quadrant[:, top : top + 2, left : left + 2]
                for quadrant in quadrants for top in (0, 2) for left in (0, 2)]
    levels = [mosaic for _, mosaic in _tree(torch.stack(patches))]
    torch.testing.assert_close(levels[2], image)
    torch.testing.assert_close(levels[1], image[:, ::2, ::2])


def test_bad_input_is_one_line(tiles):
    assert "no block 'tran'" in refusal_of("extract_subimages", "items", "data.yml", "--block", "tran")
    assert "--num 0" in refusal_of("extract_subimages", "items", "data.yml", "--num", "0")
    assert "none.yml" in refusal_of("extract_subimages", "items", "none.yml")
