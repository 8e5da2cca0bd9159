"""Items of the chunked data sets: keys, shapes, dtypes, ranges, weights, metadata, layouts, broken files."""

import pickle

import cv2
import numpy as np
import pytest
import torch

from common.datasets.dlas.chunked.base import MissingCenter
from common.datasets.dlas.options import create_dataset
from common.errors import InputError
from tests.common.datasets.dlas.chunked.makers import (
    MODE,
    SIDE,
    add_folder,
    colour,
    jpg,
    make_folders,
    make_parquet,
    make_tar,
    make_virtual,
    options_for,
    place,
    png,
    save_centers,
    told_by,
)

META = {"need_ref": True, "needs_metadata": True}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GENPROBE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path):
    return make_folders(tmp_path / "set")


@pytest.mark.parametrize("more",
                         [{}, {"need_ref": True}, META, {**META, "eval": True},
                          {"target_size": 12, "scale": 3, **META}])
def test_documented_keys_shapes_and_dtypes(root, more):
    options = options_for(root, **more)
    high = options["target_size"]
    low = high if more.get("eval") else high // options["scale"]
    item = create_dataset(options)[-1]
    shapes = {"hq": (3, high, high), "lq": (3, low, low), "gt_fullsize_ref": (4, high, high),
              "lq_fullsize_ref": (4, low, low)}
    assert set(item) == {*shapes, "gt_center", "lq_center", "GT_path", "LQ_path"}
    for key, shape in shapes.items():
        assert tuple(item[key].shape) == shape
        assert item[key].dtype == torch.float32  # without reference, too, where the original gives float64
        assert item[key].is_contiguous()
        assert 0 <= float(item[key].min()) <= float(item[key].max()) <= 1
    for key in ("gt_center", "lq_center"):
        assert item[key].dtype == torch.int64
        assert tuple(item[key].shape) == (2,)
    assert item["GT_path"] == item["LQ_path"] == f"{root}/c_left_2/00000022.png"


def test_mask_and_centre_tell_where_the_tile_lies(root):
    dataset = create_dataset(options_for(root, **META))
    for tile in range(2):
        item = dataset[2 + tile]
        row, col = place(tile)
        assert item["gt_center"].tolist() == [row, col]
        assert item["lq_center"].tolist() == [row // 2, col // 2]
        mask = np.full((SIDE, SIDE), 0.1, np.float32)
        mask[row - 4 : row + 4, col - 4 : col + 4] = 1
        assert np.abs(item["gt_fullsize_ref"][3].numpy() - mask).max() < 1e-6
        low = cv2.resize(mask, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA)
        assert np.abs(item["lq_fullsize_ref"][3].numpy() - low).max() < 1e-6
        assert abs(float(item["gt_fullsize_ref"][:3].mean()) - 100 / 255) < 1e-3


def test_tiles_larger_than_the_reference_keep_their_place(tmp_path):
    """The original scales the reference's coordinates by the tile's size; compat does so, too."""
    root = tmp_path / "set"
    add_folder(root, "a_left_0", 0, 2, 1, side=2 * SIDE)
    assert create_dataset(options_for(root, **META))[1]["gt_center"].tolist() == [4, 12]
    assert create_dataset(options_for(root, **META, compat=True))[1]["gt_center"].tolist() == [2, 6]


def test_pixels_follow_the_plain_formula(tmp_path):
    """Floats of 1/255, resized by area twice, against integers until the last step."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (50, 50, 3), np.uint8)
    (tmp_path / "set/a").mkdir(parents=True)
    (tmp_path / "set/a/00000001.png").write_bytes(png(image[..., ::-1]))
    item = create_dataset(options_for(tmp_path / "set", target_size=32, scale=3))[0]
    high = cv2.resize(image.astype(np.float32) / 255, (32, 32), interpolation=cv2.INTER_AREA)
    low = cv2.resize(high, (10, 10), interpolation=cv2.INTER_AREA)
    for key, expected in (("hq", high), ("lq", low)):
        assert np.abs(item[key].numpy() - expected.transpose(2, 0, 1)).max() < 3e-5


def test_grey_alpha_and_16_bit_tiles(tmp_path):
    folder = tmp_path / "set/a"
    folder.mkdir(parents=True)
    (folder / "1.png").write_bytes(png(np.full((SIDE, SIDE), 51, np.uint8)))
    (folder / "2.png").write_bytes(png(np.full((SIDE, SIDE, 4), 51, np.uint8)))
    (folder / "3.png").write_bytes(png(np.full((SIDE, SIDE, 3), 51 * 257, np.uint16)))
    dataset = create_dataset(options_for(tmp_path / "set"))
    for index in range(3):
        assert torch.allclose(dataset[index]["hq"], torch.tensor(0.2))


def test_weights_repeat_whole_folders(tmp_path):
    roots = [make_folders(tmp_path / "one", names=("a",)), make_folders(tmp_path / "two", names=("b", "c"))]
    options = {**options_for(""), "paths": roots, "weights": [1, 2]}
    dataset = create_dataset(options)
    assert len(dataset) == 2 + 2 * 4
    assert [told_by(dataset[index]) for index in (0, 2, 6, 9)] == [(0, 0), (0, 0), (0, 0), (1, 1)]
    assert dataset[2]["GT_path"] == dataset[6]["GT_path"] == f"{roots[1]}/b/00000001.png"
    with pytest.raises(InputError, match="weights"):
        create_dataset({**options, "weights": [1]})
    with pytest.raises(InputError, match="weights"):
        create_dataset({**options, "weights": [1, 1.5]})


def test_ignore_first_drops_short_folders(tmp_path):
    root = make_folders(tmp_path / "set", tiles=(1, 3, 2))
    dataset = create_dataset(options_for(root, ignore_first=1))
    assert [told_by(item) for item in dataset] == [(1, 1), (1, 2), (2, 1)]
    with pytest.raises(InputError, match="ignore_first"):
        create_dataset(options_for(root, ignore_first=3))


@pytest.mark.parametrize("key", ["strict", "needs_metadata"])
def test_a_tile_without_centre_raises_as_the_original(root, tmp_path, key):
    save_centers(tmp_path / "set/b_left_1/centers.pt", {11: ((4, 4), 8)})
    dataset = create_dataset(options_for(root, need_ref=True, **{key: True}))
    assert dataset[2]["gt_center"].tolist() == [4, 4]
    for kind in (FileNotFoundError, InputError, MissingCenter):
        with pytest.raises(kind, match="00000012.png"):
            dataset[3]
    # only read with need_ref
    assert create_dataset(options_for(root, **{key: True}))[3]["gt_center"].tolist() == [0, 0]


def test_without_metadata_the_constants_stand_in(root):
    item = create_dataset(options_for(root, need_ref=True, target_size=8))[0]
    assert item["gt_center"].tolist() == [64, 64]  # 128 * 8 / 16
    assert float(item["gt_fullsize_ref"][3].min()) == 1


def test_broken_tiles_are_named_and_replaced_or_raised(root, tmp_path):
    whole = (tmp_path / "set/a_left_0/00000001.png").read_bytes()
    broken = tmp_path / "set/a_left_0/00000001.png"
    broken.write_bytes(whole[:30])
    with pytest.raises(InputError, match="a_left_0/00000001.png"):
        create_dataset(options_for(root))[0]
    dataset = create_dataset(options_for(root, broken_images="next"))
    with pytest.warns(UserWarning, match="a_left_0/00000001.png"):
        item = dataset[0]
    assert item["GT_path"].endswith("a_left_0/00000002.png")
    (tmp_path / "set/b_left_1/00000011.png").unlink()  # after the start
    with pytest.warns(UserWarning, match="b_left_1/00000011.png"):
        assert told_by(dataset[2]) == (1, 1)


def test_a_broken_reference_is_named_for_every_tile_of_its_folder(root, tmp_path):
    path = tmp_path / "set/a_left_0/ref.jpg"
    path.write_bytes(path.read_bytes()[:-40])  # OpenCV would fill the rest with grey
    with pytest.raises(InputError, match="a_left_0/ref.jpg: truncated"):
        create_dataset(options_for(root, need_ref=True))[1]
    dataset = create_dataset(options_for(root, need_ref=True, broken_images="next"))
    with pytest.warns(UserWarning, match="ref.jpg"):
        assert told_by(dataset[0]) == (1, 0)
    assert told_by(create_dataset(options_for(root))[0]) == (0, 0)  # not read unless needed


@pytest.mark.parametrize("make", [make_virtual, make_tar, make_parquet])
def test_every_layout_gives_the_same_items(tmp_path, make):
    folders = make_folders(tmp_path / "folders", names=("a_left", "b_left", "c_left"))
    other = make(tmp_path / "other")
    ours, theirs = (create_dataset(options_for(path, **META)) for path in (folders, other))
    assert len(ours) == len(theirs) == 6
    for index in range(6):
        expected, got = ours[index], theirs[index]
        for key in ("hq", "lq", "gt_fullsize_ref", "lq_fullsize_ref", "gt_center", "lq_center"):
            assert torch.equal(expected[key], got[key]), key
    assert theirs[1]["GT_path"].rpartition(".")[0] == f"{other}/a_left/00000002"
    copy = pickle.loads(pickle.dumps(theirs))  # as a worker gets it
    assert torch.equal(copy[5]["hq"], ours[5]["hq"])


def test_a_tar_without_index_is_looked_through(tmp_path):
    root = make_tar(tmp_path / "set", index=False)
    with pytest.warns(UserWarning, match="has no .jsonl beside it"):
        dataset = create_dataset(options_for(root, **META))
    assert [told_by(item) for item in dataset] == [(folder, tile) for folder in range(3) for tile in range(2)]
    assert dataset[1]["gt_center"].tolist() == [4, 12]


def test_references_stay_within_their_memory(tmp_path):
    root = make_folders(tmp_path / "set", names=[f"f{number:03d}" for number in range(20)])
    dataset = create_dataset(options_for(root, **META, cache_mb=0.02))
    expected = create_dataset(options_for(root, **META))
    for index in [*range(40), *range(39, -1, -3)]:
        assert torch.equal(dataset[index]["gt_fullsize_ref"], expected[index]["gt_fullsize_ref"])
    assert 1 <= len(dataset.references) <= 6
    assert len(expected.references) == 20


@pytest.mark.parametrize(("change", "match"), [
    ({"target_size": None}, "target_size"), ({"scale": None}, "scale"), ({"paths": None}, "paths"),
    ({"target_size": None, "scale": None}, "'target_size', 'scale' are missing"), ({"scale": 32}, "scale is 0"),
    ({"force_multiple": 3}, "not a multiple of 3"), ({"target_size": "big"}, "target_size"),
    ({"ignore_first": -1}, "ignore_first"),
    ({"fixed_corruptions": ["gausian_blur"]}, "gaussian_blur"), ({"broken_images": "skip"}, "broken_images"),
])
def test_wrong_options_are_named(root, change, match):
    with pytest.raises(InputError, match=match):
        create_dataset({**options_for(root), **change})


def test_corruption_depends_on_seed_epoch_and_index_alone(root):
    options = options_for(root, fixed_corruptions=["noise", "jpeg-broad"], random_corruptions=["gaussian_blur", "none"],
                          num_corrupts_per_image=1)
    one, two = create_dataset(options), create_dataset(options)
    first = [one[index]["lq"] for index in range(6)]
    assert all(torch.equal(two[index]["lq"], first[index]) for index in reversed(range(6)))
    one.set_epoch(1)
    assert not torch.equal(one[0]["lq"], first[0])
    assert not torch.equal(create_dataset({**options, "random_seed": 1})[0]["lq"], first[0])
    assert torch.equal(one[0]["hq"], two[0]["hq"])
    early = create_dataset({**options, "corrupt_before_downsize": True})[0]
    assert not torch.equal(early["lq"], first[0])
    assert torch.equal(early["hq"], two[0]["hq"])
    assert torch.equal(create_dataset({**options, "eval": True})[0]["lq"], two[0]["hq"])


def test_iterating_ends_and_indices_are_checked(root):
    dataset = create_dataset(options_for(root))
    assert len(list(dataset)) == len(dataset) == 6
    assert told_by(dataset[-6]) == (0, 0)
    for index in (6, -7):
        with pytest.raises(IndexError):
            dataset[index]


def test_the_mode_is_the_published_one(root):
    assert MODE == "single_image_extensible"
    assert type(create_dataset(options_for(root))).__name__ == "SingleImageDataset"
    assert jpg(colour(0, 0))[:2] == b"\xff\xd8"
