"""The user's own images: what reading changes is said, and what cannot be read does not end a training."""

import gzip
import shutil
import struct

import numpy as np
import pytest
from PIL import Image

from common.datasets import open_dataset
from common.files import read_json
from tests.tools.qc_ncsn.runs import call, contents, good

SMALL = ("--config", "u_digits", "--config.model.nf=4", "--config.model.ch_mult=1",
         "--config.model.attn_resolutions=()", "--bs", "4", "--device", "cpu", "--config.training.snapshot_freq=2")
TRAIN = ("train", *SMALL, "--n_iters", "2")


def images(folder, count=20, size=(8, 8), mode="L", suffix=".png", seed=0):
    """Write a folder of images; sizes are (width, height)."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    for number in range(count):
        shape = (size[1], size[0], *([len(mode)] if len(mode) > 1 else []))
        pixels = generator.integers(0, 65536 if mode == "I" else 256, shape)
        image = Image.fromarray(pixels.astype(np.uint16 if mode == "I" else np.uint8))
        image.save(folder / f"{number:02d}{suffix}")
    return folder


CHANGES = {  # name: (size, mode, suffix, what is said)
    "grey": ((8, 8), "L", ".png", None), "tif": ((8, 8), "L", ".tif", None), "gif": ((8, 8), "L", ".gif", None),
    "large": ((16, 16), "L", ".png", "18 resized"), "wide": ((8, 16), "L", ".png", "18 cut at the edges"),
    "colour": ((8, 8), "RGB", ".png", "18 colour made grey"), "deep": ((8, 8), "I", ".png", "18 16 bits cut to 8"),
    "alpha": ((8, 8), "RGBA", ".png", "18 colour made grey, 18 alpha dropped"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_own_images_train_and_what_reading_changes_is_said(name, tmp_path):
    size, mode, suffix, said = CHANGES[name]
    folder = images(tmp_path / name, size=size, mode=mode, suffix=suffix)
    ended = call(*TRAIN, "--dataset", folder, "--workdir", tmp_path / "w")
    assert ended.status == 0, ended.err
    assert ("differ from their files" in ended.err) == (said is not None)
    assert said is None or f"of 18 {said}" in ended.err
    assert ended.err.count("differ from") <= 1


def test_grey_images_for_an_rgb_network_are_repeated_and_counted(tmp_path):
    folder = images(tmp_path / "grey")
    ended = call(*TRAIN, "--config.data.num_channels=3", "--dataset", folder, "--workdir", tmp_path / "w")
    assert "18 grey made RGB" in ended.err
    pixels = open_dataset(folder, "train")
    pixels.set_channels(1)
    assert np.array_equal(pixels.read([0])[0, ..., 0], np.asarray(Image.open(folder / "00.png")))


def write_idx(folder, zipped=False):
    """Write 12 training and 4 test images of MNIST's kind; returns the pixels."""
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(1).integers(0, 256, (16, 28, 28), np.uint8)
    for stem, part in (("train", pixels[:12]), ("t10k", pixels[12:])):
        for kind, values in (("images-idx3", part), ("labels-idx1", np.arange(len(part), dtype=np.uint8) % 10)):
            head = struct.pack(">HBB", 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
            path = folder / f"{stem}-{kind}-ubyte{'.gz' * zipped}"
            path.write_bytes(gzip.compress(head + values.tobytes()) if zipped else head + values.tobytes())
    return pixels


def test_mnist_is_read_from_idx_files_by_name_folder_and_file(tmp_path):
    pixels = write_idx(tmp_path / "data" / "MNIST" / "raw", zipped=True)
    raw = tmp_path / "data" / "MNIST" / "raw"
    for name, data_dir in (("MNIST", tmp_path / "data"), (raw, None), (tmp_path / "data", None),
                           (raw / "train-images-idx3-ubyte.gz", None)):
        found = [open_dataset(name, split, data_dir=data_dir) for split in ("train", "validation")]
        assert np.array_equal(found[0].read(range(12))[..., 0], pixels[:12]), name
        assert np.array_equal(found[1].read(range(4))[..., 0], pixels[12:]), name
    assert found[0].labels.tolist()[:3] == [0, 1, 2]
    words = ("--config.data.image_size=28", "--dataset", "mnist", "--data_dir", tmp_path / "data")
    assert good(*TRAIN, *words, "--workdir", tmp_path / "w")["step"] == 2


@pytest.mark.parametrize("compressed", [False, True])
def test_mnist_is_read_from_keras_s_file_and_grey_arrays_without_a_channel(compressed, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (20, 8, 8), np.uint8)
    save = np.savez_compressed if compressed else np.savez
    save(tmp_path / "mnist.npz", x_train=pixels[:12], y_train=np.arange(12), x_test=pixels[12:], y_test=np.arange(8))
    for split, part in (("train", pixels[:12]), ("test", pixels[12:])):
        assert np.array_equal(open_dataset(tmp_path / "mnist.npz", split).read(range(len(part)))[..., 0], part)
    save(tmp_path / "grey.npz", images=pixels)
    assert good(*TRAIN, "--dataset", tmp_path / "grey.npz", "--workdir", tmp_path / "w")["step"] == 2


def test_names_and_splits_are_known_in_their_usual_spellings(tmp_path, rough_figures):
    from common.datasets import canonical_name, canonical_split

    assert [canonical_name(name) for name in ("SVHN_cropped", "CIFAR10", "cifar-100", "Digits", "MNIST")] == [
        "svhn", "cifar10", "cifar100", "digits", "mnist"]
    assert canonical_name("./Digits") == "./Digits"
    assert canonical_split("validation") == "test"
    good("train", *SMALL, "--n_iters", "2", "--dataset", "DIGITS", "--workdir", tmp_path / "w")
    words = ("eval", "nll", "--workdir", tmp_path / "w", "--num_images", "1", "--rtol", "0.5", "--atol", "0.5")
    assert good(*words, "--split", "validation") == good(*words, "--split", "test", "--dataset", "Digits")


def test_a_model_of_a_resized_folder_is_encoded_against_it(tmp_path):
    folder = images(tmp_path / "large", size=(20, 16), mode="RGB")
    good(*TRAIN, "--dataset", folder, "--workdir", tmp_path / "w")
    good("sample", "--workdir", tmp_path / "w", "--method", "multistep", "--num_steps", "3", "--num_samples", "5")
    ended = call("eval", "encode", "--workdir", tmp_path / "w", "--encode_dataset", "--features", "small", "--json")
    assert ended.status == 0, ended.err
    assert ended.results["num_dataset"] == 18
    assert good("eval", "fidis", "--workdir", tmp_path / "w")["frechet_distance"] > 0


def damaged_folder(tmp_path, name="data"):
    """Return a folder of grey images of which one, of the training split, is cut off behind its header."""
    folder = images(tmp_path / name, size=(64, 64))
    path = folder / open_dataset(folder, "train").names([5])[0]
    path.write_bytes(path.read_bytes()[:60])
    return folder, path


def replace(folder, path):
    Image.new("L", (64, 64), 90).save(path)


def remove(folder, path):
    path.unlink()


def other_set(folder, path):
    images(folder, size=(64, 64), seed=3)


@pytest.mark.parametrize("repair", [replace, remove])
def test_Q7_an_unreadable_image_is_replaced_and_a_repaired_set_goes_on(repair, tmp_path):
    folder, path = damaged_folder(tmp_path)
    words = ("train", *SMALL, "--dataset", folder, "--workdir", tmp_path / "w")
    ended = call(*words, "--n_iters", "5", "--json")
    assert ended.status == 0, ended.err
    assert f"{path.name}: not a readable image" in ended.err
    assert "1 unreadable images were replaced" in ended.err
    assert ended.results["damaged"] == 1
    assert read_json(tmp_path / "w" / "unreadable.json")["names"] == [path.name]
    repair(folder, path)
    ended = call(*words, "--n_iters", "7", "--json")
    assert ended.status == 0, ended.err
    assert "1 unreadable image repaired or removed since" in ended.err
    assert ended.results["step"] == 7
    assert call(*words, "--n_iters", "7").status == 0  # and answers then


def test_Q7_a_removed_image_changes_nothing_of_what_follows(tmp_path):
    folder, path = damaged_folder(tmp_path)
    for work, last in (("whole", "10"), ("parts", "5"), ("parts", "10")):  # 4.5 steps read every image once
        if (work, last) == ("parts", "10"):
            path.unlink()
        good("train", *SMALL, "--dataset", folder, "--workdir", tmp_path / work, "--n_iters", last)
    last = [contents(tmp_path / work)["checkpoints/checkpoint_5.pth"] for work in ("whole", "parts")]
    assert last[0] == last[1]


def test_Q7_another_set_of_the_same_names_is_refused(tmp_path):
    folder, path = damaged_folder(tmp_path)
    words = ("train", *SMALL, "--dataset", folder, "--workdir", tmp_path / "w", "--n_iters")
    assert call(*words, "5").status == 0
    before = contents(tmp_path / "w")
    other_set(folder, path)
    ended = call(*words, "6")
    assert ended.status == 2
    assert "the run in this folder has data" in ended.err
    assert contents(tmp_path / "w") == before


def test_Q7_a_set_that_cannot_be_read_at_all_leaves_nothing_that_blocks(tmp_path):
    folder = images(tmp_path / "data", size=(64, 64))
    whole = shutil.copytree(folder, tmp_path / "whole")
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:60])
    words = ("train", *SMALL, "--dataset", folder, "--workdir", tmp_path / "w", "--n_iters", "2")
    ended = call(*words)
    assert ended.status == 2
    assert "images in a row cannot be read" in ended.err
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    assert call(*words).status == 0


def test_Q7_an_image_of_equal_size_and_older_time_is_noticed(tmp_path):
    import os

    folder = images(tmp_path / "data", mode="RGB", suffix=".bmp")
    words = ("train", *SMALL, "--dataset", folder, "--workdir", tmp_path / "w", "--n_iters")
    assert call(*words, "2").status == 0
    path = folder / open_dataset(folder, "train").names([3])[0]
    status = path.stat()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(path)
    assert path.stat().st_size == status.st_size
    os.utime(path, (1, 1))
    assert call(*words, "4").status == 2
