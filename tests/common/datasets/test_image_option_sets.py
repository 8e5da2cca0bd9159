"""Data sets of options dictionaries: keys, shapes, types and ranges of their items, workers, wrong options."""

import gzip
import importlib
import json
import os
import pickle
import random

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from common.datasets.dlas.full_image import FullImageDataset
from common.datasets.dlas.image_folder import ImageFolderDataset, next_frame
from common.datasets.dlas.items import IMAGENET_MEAN, IMAGENET_STD, random_square
from common.datasets.dlas.modes import MODES
from common.datasets.dlas.multiscale import MultiScaleDataset, patch_tree
from common.datasets.dlas.stylegan2 import Stylegan2Dataset
from common.datasets.dlas.torch_sets import TorchDataset
from common.errors import InputError
from common.images.imresize import imresize
from tests.common.datasets.makers import planes
from tests.common.limits import within_bounds

SIZES = {"a.png": (60, 40), "b/b.JPG": (48, 48), "b/c.webp": (40, 70), "d.png": (44, 52)}  # height, width


def photo(height, width, seed=0):
    noise = np.random.default_rng(seed).random((6, 8, 3), dtype=np.float32)
    return (np.clip(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1) * 255).astype(np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    for number, (name, size) in enumerate(SIZES.items()):
        save(tmp_path / "photos" / name, photo(*size, seed=number))
    save(tmp_path / "photos" / "b" / "ref.jpg", photo(16, 16))
    (tmp_path / "photos" / ".hidden.png").write_bytes(b"no image")
    (tmp_path / "photos" / "cache.pth").write_bytes(b"never read")
    return tmp_path / "photos"


CORRUPTED = {"fixed_corruptions": ["jpeg-broad", "gaussian_blur"],
             "random_corruptions": ["lq_resampling", "none", "color_jitter"],
             "num_corrupts_per_image": 2}


def options_of(mode, folder):
    """Return a full dictionary of each mode, random in all it can be."""
    return {
        "stylegan2": {"path": str(folder), "target_size": 24, "aug_prob": 0.6},
        "imagefolder": {"paths": [str(folder)], "weights": [1], "target_size": 32, "scale": 2,
                        "all_image_color_jitter": 0.1, **CORRUPTED},
        "fullimage": {"dataroot_GT": str(folder), "scale": 2, "phase": "train", "target_size": 16, "min_tile_size": 24,
                      "use_flip": True,
                      "use_rot": True, "use_blurring": True, "lq_noise": 5},
        "multiscale": {"paths": [str(folder)], "hq_tile_size": 8, "num_scales": 3, "scale": 2, **CORRUPTED},
        "torch_dataset": {"dataset": "imagefolder", "image_size": 20, "random_crop": True,
                          "kwargs": {"root": str(folder)}},
    }[mode] | {"mode": mode, "name": "amalgam", "n_workers": 2, "batch_size": 4}


def create(mode, folder, **changes):
    module, name = MODES[mode].split(":")
    return getattr(importlib.import_module(module), name)({**options_of(mode, folder), **changes})


def as_list(batch):
    return batch


def flat(item):
    """Return an item with its tensors as bytes, for comparison."""
    return {key: value.numpy().tobytes() if torch.is_tensor(value) else value for key, value in item.items()}


# Items


@pytest.mark.parametrize("mode", MODES)
def test_items_are_the_same_whatever_the_workers_and_the_order(mode, folder):
    data = create(mode, folder)
    expected = [flat(data[index]) for index in range(len(data))]
    assert [flat(data[index]) for index in reversed(range(len(data)))][::-1] == expected
    for workers in (0, 1, 2):
        loader = torch.utils.data.DataLoader(data, batch_size=1, num_workers=workers, collate_fn=as_list)
        assert [flat(item) for batch in loader for item in batch] == expected


@pytest.mark.parametrize("mode", MODES)
def test_epochs_and_seeds_differ_and_repeat(mode, folder):
    data = create(mode, folder)
    first = flat(data[0])
    data.set_epoch(1)
    second = flat(data[0])
    data.set_epoch(0)
    assert flat(data[0]) == first != second
    assert flat(create(mode, folder, random_seed=1)[0]) != first


def test_workers_that_persist_see_the_epoch(folder):
    data = create("imagefolder", folder)
    loader = torch.utils.data.DataLoader(data, batch_size=1, num_workers=1, persistent_workers=True, collate_fn=as_list)
    passes = []
    for epoch in (0, 1, 0):
        data.set_epoch(epoch)
        passes.append([flat(item) for batch in loader for item in batch])
    assert passes[0] == passes[2] != passes[1]


@pytest.mark.parametrize("mode", MODES)
def test_global_generators_are_left_alone(mode, folder):
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    create(mode, folder)[0]
    assert random.getstate() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])
    assert torch.equal(torch.get_rng_state(), before[2])


@pytest.mark.parametrize("mode", MODES)
def test_compat_draws_from_the_global_generators(mode, folder):
    data = create(mode, folder, compat=True)
    items = []
    for _ in range(2):
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        fresh = create(mode, folder, compat=True, random_seed=4)
        items.append(flat(fresh[0]))
    assert items[0] == items[1]
    assert len(data) >= 2


@pytest.mark.parametrize("mode", MODES)
def test_items_collate_are_float32_and_in_range(mode, folder):
    data = create(mode, folder)
    batch = next(iter(torch.utils.data.DataLoader(data, batch_size=2)))
    for key, value in batch.items():
        if torch.is_tensor(value) and value.ndim > 2:
            assert value.dtype == torch.float32, key
            assert value.is_contiguous()
            if mode != "torch_dataset":
                assert 0 <= value.min() <= value.max() <= 1, key
    assert pickle.loads(pickle.dumps(data))[0].keys() == data[0].keys()


@pytest.mark.parametrize("mode", ["stylegan2", "imagefolder", "fullimage", "multiscale"])
def test_files_are_sorted_without_references_hidden_files_and_caches(mode, folder):
    names = [os.path.relpath(path, folder) for path in create(mode, folder).get_paths()]
    assert names == ["a.png", "b/b.JPG", "b/c.webp", "d.png"]
    assert (folder / "cache.pth").read_bytes() == b"never read"


@pytest.mark.parametrize("mode", MODES)
def test_indices_run_from_the_end_too_and_stop(mode, folder):
    data = create(mode, folder)
    assert flat(data[-1]) == flat(data[len(data) - 1])
    assert len(list(data)) == len(data)


def test_a_broken_image_is_named_or_passed_over(folder):
    (folder / "a.png").write_bytes(b"broken")
    with pytest.raises(InputError, match="a.png: not a readable image"):
        create("imagefolder", folder)[0]
    data = create("imagefolder", folder, broken_images="next")
    with pytest.warns(UserWarning, match="a.png"):
        assert data[0]["HQ_path"].endswith("b.JPG")


# imagefolder


def test_image_folder_steps_by_hand(folder):
    item = create("imagefolder", folder, disable_flip=True, all_image_color_jitter=0, num_corrupts_per_image=0,
                  fixed_corruptions=[])[0]
    square = (photo(60, 40)[10:50] / 255).astype(np.float32)
    hq = cv2.resize(square, (32, 32), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(item["hq"].permute(1, 2, 0), hq, atol=1e-6)
    boxes = hq.reshape(16, 2, 16, 2, 3).mean((1, 3))
    np.testing.assert_allclose(item["lq"].permute(1, 2, 0), boxes, atol=1e-6)
    assert item["corruption_entropy"].shape == (0,)
    assert item["corruption_entropy"].dtype == torch.float32
    assert (item["has_alt"], item["HQ_path"]) == (False, item["LQ_path"])


def test_image_folder_flips_half_of_the_items(folder):
    data = ImageFolderDataset({"paths": str(folder), "scale": 1})
    fixed = ImageFolderDataset({"paths": str(folder), "scale": 1, "disable_flip": True})
    flips = []
    for epoch in range(30):
        data.set_epoch(epoch)
        flipped = data[1]["hq"]
        flips.append(not torch.equal(flipped, fixed[1]["hq"]))
        assert torch.equal(flipped.flip(2) if flips[-1] else flipped, fixed[1]["hq"])
    assert 5 < sum(flips) < 25


@pytest.mark.parametrize(("changes", "hq", "lq"), [
    ({}, (32, 32), (16, 16)),
    ({"target_size": None}, (40, 40), (20, 20)),
    ({"target_size": None, "force_square": False}, (60, 40), (30, 20)),
    ({"target_size": None, "force_multiple": 16}, (32, 32), (16, 16)),
    ({"target_size": 16, "center_crop_hq_sz": 24}, (16, 16), (8, 8)),
    ({"corrupt_before_downsize": True}, (32, 32), (16, 16)),
    ({"corrupt_before_downsize": True, "corrupt_before_downsize_factor": 2, "scale": 4}, (32, 32), (8, 8)),
    ({"skip_lq": True}, (32, 32), None),
])
def test_image_folder_sizes(changes, hq, lq, folder):
    item = create("imagefolder", folder, **changes)[0]
    assert item["hq"].shape == (3, *hq)
    assert ("lq" in item) == (lq is not None)
    if lq:
        assert item["lq"].shape == (3, *lq)
        assert item["corruption_entropy"].shape == (2,)


def test_image_folder_normalises(folder):
    plain = create("imagefolder", folder)[0]["hq"]
    mean, deviation = torch.tensor(IMAGENET_MEAN)[:, None, None], torch.tensor(IMAGENET_STD)[:, None, None]
    assert torch.equal(create("imagefolder", folder, rgb_n1_to_1=True)[0]["hq"], plain * 2 - 1)
    assert torch.allclose(create("imagefolder", folder, normalize="imagenet")[0]["hq"], (plain - mean) / deviation)
    assert torch.allclose(create("imagefolder", folder, normalize="stylegan2_norm")[0]["lq"].amin(),
                          create("imagefolder", folder)[0]["lq"].amin() * 2 - 1)


def test_image_folder_weights_repeat_folders(folder, tmp_path):
    save(tmp_path / "more" / "x.png", photo(40, 40))
    data = create("imagefolder", folder, paths=[str(folder), str(tmp_path / "more")], weights=[1, 3])
    assert [os.path.basename(path) for path in data.get_paths()] == ["a.png", "b.JPG", "c.webp", "d.png", "x.png",
                                                                     "x.png", "x.png"]
    assert len(create("imagefolder", folder, paths=[str(folder), str(tmp_path / "more")], weights=None)) == 5


def test_the_next_frame_is_found_by_its_number(tmp_path):
    for number in (998, 999, 1000):
        save(tmp_path / f"v.webm_{number:08d}.png", photo(40, 44, number))
    data = ImageFolderDataset({"paths": str(tmp_path), "scale": 2, "target_size": 16, "fetch_alt_image": True})
    assert [data[index]["has_alt"] for index in range(3)] == [True, True, False]
    for index in range(2):
        # Flipped as the image itself, so that both show the same side.
        alone = [ImageFolderDataset({"paths": str(tmp_path), "scale": 2, "target_size": 16,
                                     "disable_flip": True})[n]["hq"] for n in (index, index + 1)]
        item = data[index]
        flipped = not torch.allclose(item["hq"], alone[0], atol=1e-6)
        assert torch.allclose(item["alt_hq"], alone[1].flip(2) if flipped else alone[1], atol=1e-6)
        assert item["alt_lq"].shape == item["lq"].shape == (3, 8, 8)
    assert torch.equal(data[2]["alt_hq"], data[2]["hq"])
    assert next_frame(str(tmp_path / "v.webm_00000999.png"), compat=True) is None  # 00000999 -> 000001000


def test_another_tile_comes_from_the_same_folder(tmp_path):
    for number in range(4):
        save(tmp_path / "photo" / f"{number:08d}.png", np.full((16, 16, 3), 40 * number, np.uint8))
    save(tmp_path / "photo" / "ref.jpg", photo(16, 16))
    (tmp_path / "photo" / "centers.pt").write_bytes(b"")
    save(tmp_path / "alone" / "00000000.png", photo(16, 16))
    data = ImageFolderDataset({"paths": str(tmp_path), "scale": 2, "fetch_alt_tiled_image": True})
    assert not data[0]["has_alt"]
    found = set()
    for epoch in range(20):
        data.set_epoch(epoch)
        item = data[1]
        assert item["has_alt"]
        found.add(round(float(item["alt_hq"].mean()) * 255))
    assert found == {40, 80, 120}


def test_labelled_patches(tmp_path):
    save(tmp_path / "p" / "x" / "1.png", photo(40, 40))
    entry = {"path": "x\\1.png", "label": "eye", "patch_top": 8, "patch_left": 4, "patch_height": 12, "patch_width": 8}
    labels = {"e": {"index": 2, "label": "eye", "keyBinding": "e", "labeledImages": [entry]},
              "n": {"index": 0, "label": "none", "keyBinding": "n", "labeledImages": []}}
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    labeler = {"type": "patch_labels", "label_file": str(tmp_path / "labels.json")}
    data = ImageFolderDataset({"paths": str(tmp_path / "p"), "scale": 1, "target_size": 20, "labeler": labeler,
                               "rgb_n1_to_1": True})
    item = data[0]
    expected = torch.zeros(1, 20, 20, dtype=torch.int64)
    expected[:, 4:10, 2:6] = 2
    assert torch.equal(item["labels"], expected)
    assert torch.equal(item["labels_mask"], (expected > 0).float())
    assert item["label_strings"] == {2: "eye", 0: "none"}


def test_fixed_parameters_become_tensors(folder):
    item = create("imagefolder", folder, fixed_parameters={"weight": 3.5, "cls": [1, 2]})[0]
    assert torch.equal(item["cls"], torch.tensor([1, 2]))
    assert item["weight"].dtype == torch.float32


# stylegan2


def test_stylegan2_middle_by_hand(folder):
    item = create("stylegan2", folder, aug_prob=0)[0]
    assert item["hq"] is item["lq"]
    resized = Image.open(folder / "a.png").resize((24, 36), Image.Resampling.BILINEAR).crop((0, 6, 24, 30))
    np.testing.assert_array_equal((item["hq"] * 255).round().permute(1, 2, 0).numpy(), np.asarray(resized))
    assert create("stylegan2", folder, transparent=True)[0]["hq"].shape == (4, 24, 24)


def test_stylegan2_enlarges_small_images(folder):
    assert create("stylegan2", folder, target_size=100)[0]["hq"].shape == (3, 100, 100)


# multiscale


def test_multiscale_patches_tile_their_parents(folder):
    item = create("multiscale", folder, num_corrupts_per_image=0, fixed_corruptions=[])[0]
    assert item["hq"].shape == (21, 3, 8, 8)
    for leaf in patch_tree(3):
        while leaf.parent is not None:
            left, top = int(leaf.left * 8), int(leaf.top * 8)
            inside = item["hq"][leaf.parent.index][:, top : top + 4, left : left + 4]
            np.testing.assert_allclose(item["hq"][leaf.index].reshape(3, 4, 2, 4, 2).mean((2, 4)), inside, atol=1e-5)
            leaf = leaf.parent
        assert leaf.index == 0
    np.testing.assert_allclose(item["lq"], item["hq"].reshape(21, 3, 4, 2, 4, 2).mean((3, 5)), atol=1e-6)


@pytest.mark.parametrize("num_scales", [1, 2, 4])
def test_the_tree_numbers_every_patch_once(num_scales, folder):
    leaves = patch_tree(num_scales)
    assert len(leaves) == 4 ** (num_scales - 1)
    nodes = set()
    for leaf in leaves:
        while leaf is not None:
            nodes.add(leaf.index)
            leaf = leaf.parent
    assert nodes == set(range((4**num_scales - 1) // 3))
    assert len(create("multiscale", folder, num_scales=num_scales)[0]["hq"]) == len(nodes)


@pytest.mark.parametrize("size", [(10, 11), (12, 10), (10, 13), (30, 10)])
def test_random_squares_stay_inside(size):
    class Far:
        def __init__(self, value):
            self.value = value

        def normal(self, scale):
            return self.value

    for value in (-5, -1, 0, 0.4, 5):
        assert random_square(np.zeros((*size, 3)), Far(value)).shape == (10, 10, 3)


# fullimage


def test_full_image_validation_by_hand(folder):
    data = FullImageDataset({"dataroot_GT": [str(folder)], "dataroot_GT_weights": [1], "scale": 2, "phase": "val",
                             "force_multiple": 8})
    item = data[0]
    whole = (photo(60, 40) / 255).astype(np.float32)
    low = np.clip(imresize(whole, 0.5), 0, 1)[:24, :16]
    np.testing.assert_allclose(item["lq"].permute(1, 2, 0), low, atol=1e-6)
    np.testing.assert_allclose(item["hq"].permute(1, 2, 0), whole[:48, :32], atol=1e-6)
    assert item["gt_fullsize_ref"].shape == (4, 48, 32)
    assert torch.equal(item["gt_fullsize_ref"][3], torch.ones(48, 32))
    assert item["gt_center"].tolist() == [24, 16]
    assert item["lq_center"].dtype == torch.int64


def test_full_image_mask_shows_where_the_tile_is(folder):
    data = create("fullimage", folder, use_blurring=False, lq_noise=None, fixed_size=True)
    for index in range(len(data)):
        item = data[index]
        mask = item["gt_fullsize_ref"][3]
        rows, columns = torch.nonzero(mask > 0.5, as_tuple=True)
        row, column = item["gt_center"].tolist()
        assert abs(rows.float().mean() - row) <= 1
        assert abs(columns.float().mean() - column) <= 1
        assert item["hq"].shape == (3, 16, 16)
        assert item["lq_fullsize_ref"].shape == (4, 8, 8)


def test_full_image_takes_the_same_place_of_a_low_quality_folder(folder, tmp_path):
    for name, size in SIZES.items():
        whole = np.asarray(Image.open(folder / name).convert("RGB"))
        path = tmp_path / "low" / os.path.splitext(name)[0]
        save(path.with_suffix(".png"), cv2.resize(whole, (size[1] // 2, size[0] // 2), interpolation=cv2.INTER_AREA))
    given = {"dataroot_LQ": str(tmp_path / "low"), "use_blurring": False, "lq_noise": None}
    item = create("fullimage", folder, **given)[0]
    small = torch.nn.functional.interpolate(item["hq"][None], scale_factor=0.5, mode="area")[0]
    assert (small - item["lq"]).abs().mean() < 0.03
    assert item["LQ_path"].endswith("low/a.png")


def test_full_image_smaller_than_a_tile_is_taken_whole(folder):
    item = create("fullimage", folder, min_tile_size=90)[0]
    assert item["hq"].shape == (3, 16, 16)
    assert torch.equal(item["gt_fullsize_ref"][3], torch.ones(16, 16))


# torch_dataset


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    head = bytes([0, 0, 8, array.ndim]) + b"".join(length.to_bytes(4, "big") for length in array.shape)
    data = head + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def normalised(pixels, size=None):
    image = Image.fromarray(pixels).convert("RGB")
    image = image if size is None else image.resize((size, size), Image.Resampling.BILINEAR)
    array = np.asarray(image).transpose(2, 0, 1) / 255
    return (array - np.array(IMAGENET_MEAN)[:, None, None]) / np.array(IMAGENET_STD)[:, None, None]


def same_up_to_a_flip(tensor, expected):
    return any(np.allclose(version, expected, atol=1e-5) for version in (tensor.numpy(), tensor.flip(2).numpy()))


@pytest.mark.parametrize(("name", "folder_name", "ending"), [("mnist", "MNIST", ""), ("fmnist", "FashionMNIST", ".gz")])
@pytest.mark.parametrize("train", [True, False])
def test_mnist_files(name, folder_name, ending, train, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    stem = "train" if train else "t10k"
    raw = tmp_path / folder_name / "raw"
    write_idx(raw / f"{stem}-images-idx3-ubyte{ending}", images)
    write_idx(raw / f"{stem}-labels-idx1-ubyte{ending}", np.array([7, 0, 9], np.uint8))
    data = TorchDataset({"dataset": name, "image_size": 28,
                         "kwargs": {"root": str(tmp_path), "train": train, "download": True}})
    assert [data[index]["labels"] for index in range(len(data))] == [7, 0, 9]
    assert data[0]["coarse_labels"] == -1
    assert same_up_to_a_flip(data[2]["hq"], normalised(images[2]))
    assert data[2]["GT_path"] == f"{name}:2"


@pytest.mark.parametrize("form", ["python", "binary"])
def test_cifar100_has_coarse_labels(form, tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    fine, coarse = [99, 0, 5, 5], [19, 0, 3, 4]
    home = tmp_path / f"cifar-100-{form}"
    home.mkdir()
    if form == "python":
        entries = {"data": planes(images), "fine_labels": fine, "coarse_labels": coarse}
        (home / "train").write_bytes(pickle.dumps(entries))
    else:
        rows = np.hstack([np.array([coarse, fine], np.uint8).T, planes(images)])
        (home / "train.bin").write_bytes(rows.tobytes())
    data = TorchDataset({"dataset": "cifar100", "image_size": 16, "kwargs": {"root": str(tmp_path)}})
    assert [(data[index]["labels"], data[index]["coarse_labels"]) for index in range(4)] == list(zip(fine, coarse))
    item = data[1]
    assert same_up_to_a_flip(item["hq"], normalised(images[1], 16))
    assert item["hq"] is item["lq"]


def test_cifar10_and_imagenet(tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(pickle.dumps({"data": planes(images),
                                                                                "labels": [3, 9]}))
    data = TorchDataset({"dataset": "cifar10", "image_size": 32, "kwargs": {"root": str(tmp_path), "train": False}})
    assert [data[index]["labels"] for index in range(2)] == [3, 9]
    for name in ("n02/x.JPEG", "n01/b.JPEG", "n01/a.JPEG"):
        save(tmp_path / "val" / name, photo(40, 50))
    data = TorchDataset({"dataset": "imagenet", "image_size": 24, "kwargs": {"root": str(tmp_path), "split": "val"}})
    paths = [os.path.relpath(data[index]["GT_path"], tmp_path / "val") for index in range(3)]
    assert paths == ["n01/a.JPEG", "n01/b.JPEG", "n02/x.JPEG"]
    assert [data[index]["labels"] for index in range(3)] == [0, 0, 1]


def test_fixed_len_counts_before_the_offset(folder):
    options = {"dataset": "imagefolder", "image_size": 8, "kwargs": {"root": str(folder.parent)}}
    assert len(TorchDataset({**options, "fixed_len": 3, "offset": 1})) == 2
    assert TorchDataset({**options, "offset": 1})[0]["GT_path"] == TorchDataset(options)[1]["GT_path"]


# Wrong options


@pytest.mark.parametrize(("mode", "changes", "said"), [
    ("imagefolder", {"num_corrupts_per_image": 9999999999999, "random_corruptions": ["none"]}, "of at most 100"),
    ("imagefolder", {"weights": [10**15]}, "from 0 to 65,536"),
    ("imagefolder", {"target_size": 10**10}, "of at most 65,536"),
    ("multiscale", {"num_scales": 40}, "of at most 8"),
    ("torch_dataset", {"fixed_len": 1e300}, "of at most"),
    ("imagefolder", {"fixed_corruptions": ["motion_blur"], "corruption_blur_scale": 1e6}, "of at most 1,000"),
])
def test_R6_numbers_that_would_never_be_done_are_refused(mode, changes, said, folder):
    with within_bounds(), pytest.raises(InputError, match=said):
        create(mode, folder, **changes)


@pytest.mark.parametrize(("mode", "changes", "said"), [
    ("stylegan2", {"target_size": None, "targetsize": 3},
     "the key 'target_size' is missing. Is 'targetsize' a typo?"),
    ("stylegan2", {"path": None}, "stylegan2: the key 'path' is missing"),
    ("stylegan2", {"aug_prob": None}, "'aug_prob' is missing"),
    ("stylegan2", {"aug_prob": 2}, "a probability"),
    ("stylegan2", {"path": "nowhere"}, "nowhere: no such folder"),
    ("stylegan2", {"path": 3}, "the path of a folder"),
    ("imagefolder", {"paths": None}, "'paths' is missing"),
    ("imagefolder", {"scale": None}, "'scale' is missing"),
    ("imagefolder", {"paths": ""}, "'paths' is '', expected a path"),
    ("imagefolder", {"scale": 0}, "'scale' is 0, expected an integer of at least 1"),
    ("imagefolder", {"target_size": 30, "force_multiple": 4}, "target_size // scale to be a multiple of 4"),
    ("imagefolder", {"normalize": "imagnet"}, "Did you mean imagenet?"),
    ("imagefolder", {"normalize": ["imagenet"]}, "'normalize' is ['imagenet']"),
    ("imagefolder", {"weights": [1, 2]}, "1 integers, one for each of 'paths'"),
    ("imagefolder", {"weights": [0.5]}, "integers, one for each"),
    ("imagefolder", {"fetch_alt_image": True, "fetch_alt_tiled_image": True}, "both set"),
    ("imagefolder", {"fixed_corruptions": ["gaussian_blr"]}, "Did you mean gaussian_blur?"),
    ("imagefolder", {"corrupt_before_downsize_factor": 3}, "a divisor of scale"),
    ("imagefolder", {"fixed_parameters": {"a": "text"}}, "numbers or lists"),
    ("imagefolder", {"labeler": {"type": "other"}}, "patch_labels"),
    ("imagefolder", {"disable_flip": "no"}, "true or false"),
    ("imagefolder", {"broken_images": "ignore"}, "'broken_images' is 'ignore'"),
    ("fullimage", {"dataroot_GT": None}, "'dataroot_GT' is missing"),
    ("fullimage", {"scale": None}, "'scale' is missing"),
    ("fullimage", {"min_tile_size": None}, "'min_tile_size' is missing"),
    ("fullimage", {"min_tile_size": 8}, "at least target_size, 16"),
    ("multiscale", {"hq_tile_size": None}, "'hq_tile_size' is missing"),
    ("multiscale", {"num_scales": None}, "'num_scales' is missing"),
    ("multiscale", {"num_scales": 1.5}, "expected an integer"),
    ("multiscale", {"paths": []}, "a list of paths"),
    ("torch_dataset", {"dataset": "mnst"}, "Did you mean mnist?"),
    ("torch_dataset", {"dataset": None}, "'dataset' is missing"),
    ("torch_dataset", {"image_size": None}, "'image_size' is missing"),
    ("torch_dataset", {"kwargs": None}, "torch_dataset: kwargs: the key 'root' is missing"),
    ("torch_dataset", {"kwargs": {"root": ".", "trian": True}}, "no keyword 'trian' for imagefolder"),
    ("torch_dataset", {"kwargs": {"root": "nowhere"}}, "nowhere: no such folder"),
    ("torch_dataset", {"dataset": "mnist"}, "this program never downloads"),
    ("torch_dataset", {"dataset": "cifar100"}, "https://www.cs.toronto.edu/~kriz/cifar.html"),
    ("torch_dataset", {"dataset": "imagenet"}, "https://image-net.org"),
    ("torch_dataset", {"fixed_len": 1000}, "'fixed_len' is 1000, expected at most"),
    ("torch_dataset", {"offset": 1000}, "'offset' is 1000, expected less than"),
])
def test_wrong_options_are_told_in_one_line(mode, changes, said, folder):
    with pytest.raises(InputError) as caught:
        create(mode, folder, **changes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", MODES)
def test_each_required_key_is_asked_for_by_name(mode, folder):
    module, name = MODES[mode].split(":")
    for key in getattr(importlib.import_module(module), name).REQUIRED:
        expected = "'root' is missing" if key == "kwargs" else f"{mode}: the key '{key}' is missing"
        with pytest.raises(InputError, match=expected):
            create(mode, folder, **{key: None})


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "torch_dataset"])
def test_a_folder_without_images_is_named(mode, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    key = {"stylegan2": "path", "fullimage": "dataroot_GT"}.get(mode, "paths")
    with pytest.raises(InputError, match="empty: no images in this folder"):
        create(mode, folder, **{key: str(tmp_path / "empty"), "weights": None})


def test_an_image_that_is_too_small_is_named(folder):
    save(folder / "0.png", photo(3, 3))
    with pytest.raises(InputError, match="0.png: an image of 3x3"):
        create("imagefolder", folder, target_size=None, force_multiple=8)[0]
    with pytest.raises(InputError, match="0.png: an LQ image"):
        create("fullimage", folder, phase="val", force_multiple=8)[0]


@pytest.mark.parametrize("content",
                         ["{}", "[]", '{"e": {"label": "x"}}', "no json",
                          '{"e": {"label": "x", "index": 1, "labeledImages": [{}]}}'])
def test_broken_label_files_are_named(content, folder, tmp_path):
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(InputError, match="labels.json"):
        create("imagefolder", folder, labeler={"type": "patch_labels", "label_file": str(tmp_path / "labels.json")})


def test_the_classes_are_the_ones_named():
    assert {Stylegan2Dataset, ImageFolderDataset, FullImageDataset, MultiScaleDataset, TorchDataset} == {
        getattr(importlib.import_module(place.split(":")[0]), place.split(":")[1]) for place in MODES.values()
    }
