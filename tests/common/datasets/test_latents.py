"""Image <-> latents pairs: names rather than numbers, every documented form of the files, damage named."""

import random

import numpy as np
import pytest
import torch
from PIL import Image

from common.datasets.degradations import LEVELS, network_input, resized
from common.datasets.latents import FFHQCorruptedDataset, find_pairs, natural_key, orphans, read_latents
from common.errors import InputError

D = 10


def write_pair(folder, image="img_00001.png", latents=None, side=24, **more):
    """Write an image of one colour and its latents, whose first number is the image's number."""
    folder.mkdir(parents=True, exist_ok=True)
    number = int("".join(filter(str.isdigit, image)) or 0)
    Image.fromarray(np.full((side, side, 3), number % 256, np.uint8)).save(folder / image)
    if latents is None:
        latents = image.replace("img_", "latents_").replace("-project_", "-latents_").rsplit(".", 1)[0] + ".npz"
    code = np.arange(D, dtype=np.float32) + number
    arrays = {"style_vectors": code[None], "wplus": np.full((2, 3), number, np.float32), **more}
    np.savez(folder / latents, **arrays)
    return folder / latents


def test_names_not_numbers(tmp_path, monkeypatch):
    for name in ("img_1.png", "img_10.png", "img_2.png"):
        write_pair(tmp_path / "b2", name)
        write_pair(tmp_path / "b10", name)
        write_pair(tmp_path, name)
    shuffled = random.Random(0)
    monkeypatch.setattr("common.datasets.latents.list_images", lambda *words, real=find_pairs.__globals__[
        "list_images"]: shuffled.sample(names := list(real(*words)), len(names)))
    pairs = find_pairs(tmp_path)
    order = ["img_1.png", "img_2.png", "img_10.png"]
    assert [pair.name for pair in pairs] == [*(f"b2/{name}" for name in order), *(f"b10/{name}" for name in order),
                                             *order]
    for pair in pairs:
        assert read_latents(pair.latents).style_vectors[0] == int(pair.image.stem[4:])


def test_order_is_total():
    names = ["a/img_2", "a1/img_2", "img_02", "img_2", "img_١", "x"]
    assert sorted(sorted(names), key=natural_key) == sorted(names, key=natural_key)


def test_back_projected_photographs_are_paired(tmp_path):
    code = np.ones((1, 1, D), np.float16)
    path = tmp_path / "00012-latents_3.npz"
    write_pair(tmp_path, "00012-project_3.png", path.name)
    np.savez(path, optimized_sv=code, optimized_w=np.ones((1, 2, 3)), unknown=np.array("left alone"))
    (pair,) = find_pairs(tmp_path, need_latents=True)
    latents = read_latents(pair.latents, D)
    assert latents.style_vectors.shape == (D,)
    assert latents.style_vectors.dtype == np.float32
    assert latents.wplus.shape == (2, 3)


def test_optional_keys_are_read(tmp_path):
    path = write_pair(tmp_path, style_dims=np.array([0, 4, 6]), mean_style_space_vector=np.zeros((1, D)),
                      resize_factor=np.array(16), noise=np.array("stored"), truncation=np.array(0.7))
    latents = read_latents(path)
    assert latents.style_dims.tolist() == [0, 4, 6]
    assert list(latents.statistics) == ["mean"]
    assert latents.statistics["mean"].shape == (D,)
    assert latents.record == {"resize_factor": 16, "noise": "stored", "truncation": 0.7}


@pytest.mark.parametrize(("arrays", "words"), [
    ({"style_vectors": np.array([np.zeros(3), np.zeros(2)], object)}, "numpy.concatenate"),
    ({"style_vectors": np.full(D, np.nan, np.float32)}, "NaN"),
    ({"style_vectors": np.arange(D)}, "expected floats"),
    ({"style_vectors": np.zeros(D + 1, np.float32)}, "11 numbers, expected 10"),
    ({"wplus": np.zeros(6, np.float32)}, "expected (rows, style_dim)"),
    ({"style_dims": np.array([0, 4, 7])}, "whose sum is 10"),
    ({"mean_style_space_vector": np.zeros(3, np.float32)}, "expected 10 floats"),
    ({"resize_factor": np.array(0)}, "1 or more"),
    ({"resize_factor": np.array([1, 2])}, "one value"),
])
def test_what_cannot_be_right_is_named(arrays, words, tmp_path):
    path = write_pair(tmp_path, **arrays)
    with pytest.raises(InputError) as caught:
        read_latents(path, D)
    assert words in str(caught.value)
    assert path.name in str(caught.value)


def test_a_file_without_a_code_is_named(tmp_path):
    np.savez(tmp_path / "latents_1.npz", w=np.zeros(3))
    with pytest.raises(InputError, match="has no array 'style_vectors'"):
        read_latents(tmp_path / "latents_1.npz")


def test_missing_partners_are_named(tmp_path, capsys):
    write_pair(tmp_path, "img_1.png")
    write_pair(tmp_path, "img_2.png").unlink()
    write_pair(tmp_path, "img_3.png")
    (tmp_path / "img_3.png").unlink()
    pairs = find_pairs(tmp_path)
    assert [pair.latents is None for pair in pairs] == [False, True]
    assert [path.name for path in orphans(tmp_path, pairs)] == ["latents_3.npz"]
    with pytest.raises(InputError, match=r"img_2.png: has no latents: no latents_2.npz \(none for 1 of 2 images\)"):
        find_pairs(tmp_path, need_latents=True)
    with pytest.raises(InputError, match="no such file or folder"):
        find_pairs(tmp_path / "nowhere")
    assert "skipped" not in capsys.readouterr().err


def test_the_corrupted_data_set_has_the_originals_arguments_and_returns(tmp_path):
    def transform(image):
        return network_input(resized(image, 128))

    for name in ("img_00002.png", "img_00010.png"):
        write_pair(tmp_path / "00", name)
    write_pair(tmp_path / "00", "img_00003.png").unlink()
    data = FFHQCorruptedDataset(str(tmp_path), transform, transform, "moderate")
    assert [item[4].rsplit("/", 1)[1] for item in data] == ["img_00002.png", "img_00003.png", "img_00010.png"]
    corrupted, target, code, wplus, path = data[2]
    assert torch.equal(target, transform(Image.open(path)))
    assert torch.equal(corrupted, data[2][0])  # the same draws each time
    assert not torch.equal(corrupted, target)
    assert code.tolist() == list(range(10, 20))
    assert wplus.shape == (2, 3)
    assert data[1][2:4] == (None, None)
    (tmp_path / "list.txt").write_text("\ufeff00/img_00010.png\n\n", encoding="utf-8")  # as editors on Windows save it
    listed = FFHQCorruptedDataset(tmp_path, transform, transform, corruption_level="moderate",
                                  filelist=tmp_path / "list.txt")
    assert len(listed) == 1
    assert torch.equal(listed[0][0], corrupted)
    for level in LEVELS:
        assert FFHQCorruptedDataset(tmp_path, transform, transform, level)[0][0].shape == (3, 128, 128)
    with pytest.raises(InputError, match="unknown level"):
        FFHQCorruptedDataset(tmp_path, transform, transform, "worst")
