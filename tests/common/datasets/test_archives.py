"""CIFAR, SVHN and ImageNet-32 from tiny files in their makers' formats."""

import os
import pickle
import shutil

import numpy as np
import pytest
from scipy.io import savemat

from common.datasets import open_dataset
from common.datasets.imagenet.image_set import read_file
from common.errors import InputError
from tests.common.datasets.makers import pixels, planes, tar_gz
from tests.common.formats.test_pickles import Runs, python2_pickle

IMAGES = pixels(12)
LABELS = np.arange(12) % 10
FINE = np.arange(12) * 8


def write_cifar10(form, root):
    """Write five train batches of 2 images and a test batch of 2; return the folder."""
    folder = root / form
    folder.mkdir(parents=True)
    for number in range(6):
        part = slice(2 * number, 2 * number + 2)
        name = "test_batch" if number == 5 else f"data_batch_{number + 1}"
        if form.endswith("py"):
            (folder / name).write_bytes(python2_pickle(planes(IMAGES[part]), LABELS[part]))
        else:
            rows = np.column_stack([LABELS[part].astype(np.uint8), planes(IMAGES[part])])
            (folder / f"{name}.bin").write_bytes(rows.tobytes())
    return folder


def write_cifar100(form, root):
    folder = root / form
    folder.mkdir(parents=True)
    for name, part in (("train", slice(0, 10)), ("test", slice(10, 12))):
        if form.endswith("python"):
            entries = {"data": planes(IMAGES[part]), "coarse_labels": [1] * len(FINE[part]),
                       "fine_labels": FINE[part].tolist()}
            (folder / name).write_bytes(pickle.dumps(entries))
        else:
            coarse = np.ones(len(FINE[part]), np.uint8)
            rows = np.column_stack([coarse, FINE[part].astype(np.uint8), planes(IMAGES[part])])
            (folder / f"{name}.bin").write_bytes(rows.tobytes())
    return folder


def check(images, expected, labels):
    assert images.image_shape == (32, 32, 3)
    np.testing.assert_array_equal(images.read(np.arange(len(images))), expected)
    np.testing.assert_array_equal(images.read([1, 0]), expected[[1, 0]])
    np.testing.assert_array_equal(images.labels, labels)
    assert images.labels.dtype == np.int64


CIFAR = [
    ("cifar10", "cifar-10-batches-py", "cifar-10-python.tar.gz", write_cifar10, LABELS),
    ("cifar10", "cifar-10-batches-bin", "cifar-10-binary.tar.gz", write_cifar10, LABELS),
    ("cifar100", "cifar-100-python", "cifar-100-python.tar.gz", write_cifar100, FINE),
    ("cifar100", "cifar-100-binary", "cifar-100-binary.tar.gz", write_cifar100, FINE),
]


@pytest.mark.parametrize(("name", "form", "archive", "write", "labels"), CIFAR)
def test_cifar_from_folder_archive_and_places_above_is_the_same(tmp_path, name, form, archive, write, labels):
    folder = write(form, tmp_path / name)
    packed = tmp_path / "packed"
    packed.mkdir()
    tar_gz(packed / archive, folder)
    fingerprints = []
    for data_dir in (folder, tmp_path / name, tmp_path, packed, packed / archive):
        train = open_dataset(name.upper(), "train", data_dir=data_dir)
        check(train, IMAGES[:10], labels[:10])
        check(open_dataset(name, "test", data_dir=str(data_dir)), IMAGES[10:], labels[10:])
        fingerprints.append(train.fingerprint())
    assert all(fingerprint == fingerprints[0] for fingerprint in fingerprints)
    assert fingerprints[0]["name"] == name


def test_both_forms_of_cifar10_have_the_same_fingerprint(tmp_path):
    write_cifar10("cifar-10-batches-py", tmp_path / "a")
    write_cifar10("cifar-10-batches-bin", tmp_path / "b")
    a, b = (open_dataset("cifar10", "train", data_dir=tmp_path / place).fingerprint() for place in "ab")
    assert a == b


def test_without_data_dir_the_environment_and_the_current_folder_are_looked_in(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        open_dataset("cifar10", "train")
    text = str(caught.value)
    for part in ("cifar-10-python.tar.gz", "cifar-10-batches-bin", "tensorflow_datasets", "https://www.cs.toronto.edu",
                 "data_dir"):
        assert part in text
    write_cifar10("cifar-10-batches-py", tmp_path / "data")
    assert len(open_dataset("cifar10", "train")) == 10
    write_cifar100("cifar-100-binary", tmp_path / "elsewhere")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "elsewhere"))
    assert len(open_dataset("cifar100", "test")) == 2


def test_a_data_dir_that_is_not_there_is_named(tmp_path):
    for name in ("cifar10", "svhn", "imagenet"):
        with pytest.raises(InputError, match="no such file or folder"):
            open_dataset(name, "train", data_dir=tmp_path / "nothing")


def damage(kind, path):
    data = path.read_bytes()
    if kind == "missing":
        path.unlink()
    elif kind == "truncated":
        path.write_bytes(data[: 2 * len(data) // 3])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "garbage":
        path.write_bytes(b"\x07" * 100)


@pytest.mark.parametrize("form", ["cifar-10-batches-py", "cifar-10-batches-bin"])
@pytest.mark.parametrize("kind", ["missing", "truncated", "empty", "garbage"])
def test_broken_cifar_batches_are_named(tmp_path, form, kind):
    folder = write_cifar10(form, tmp_path)
    batch = next(folder.glob("data_batch_3*"))
    damage(kind, batch)
    with pytest.raises(InputError) as caught:
        open_dataset("cifar10", "train", data_dir=tmp_path)
    assert str(batch) in str(caught.value)
    assert len(open_dataset("cifar10", "test", data_dir=tmp_path)) == 2


@pytest.mark.parametrize("kind", ["truncated", "garbage"])
def test_broken_archives_are_named(tmp_path, kind):
    tar_gz(tmp_path / "cifar-10-python.tar.gz", write_cifar10("cifar-10-batches-py", tmp_path / "unpacked"))
    damage(kind, tmp_path / "cifar-10-python.tar.gz")
    with pytest.raises(InputError, match=r"cifar-10-python\.tar\.gz"):
        open_dataset("cifar10", "train", data_dir=tmp_path / "cifar-10-python.tar.gz")


def test_an_archive_without_a_batch_is_named(tmp_path):
    folder = write_cifar10("cifar-10-batches-bin", tmp_path)
    (folder / "data_batch_4.bin").unlink()
    tar_gz(tmp_path / "cifar-10-binary.tar.gz", folder)
    shutil.rmtree(folder)
    with pytest.raises(InputError, match=r"no cifar-10-batches-bin/data_batch_4\.bin"):
        open_dataset("cifar10", "train", data_dir=tmp_path)


ROWS = planes(IMAGES[:2])


@pytest.mark.parametrize(("entries", "text"), [
    ({"data": ROWS, "labels": [0, 10]}, "runs 0-10, expected 0-9"),
    ({"data": ROWS, "labels": [0, 1, 2]}, "2 images and 3 labels"),
    ({"data": ROWS, "label": [0, 1]}, "no entry 'labels', the file has data, label"),
    ({"data": ROWS.astype(np.float32), "labels": [0, 1]}, "float32 (2, 3072), expected uint8"),
    ({"data": ROWS[:, :3000], "labels": [0, 1]}, "uint8 (2, 3000), expected uint8 (N, 3072)"),
    ({"data": ROWS, "labels": [0.5, 1.0]}, "expected one row of integers"),
    ({"data": [1, 2], "labels": [0, 1]}, "'data' is list"),
    ([1, 2], "is of type list, expected a dict"),
])
def test_unexpected_contents_are_input_errors(tmp_path, entries, text):
    folder = write_cifar10("cifar-10-batches-py", tmp_path)
    (folder / "test_batch").write_bytes(pickle.dumps(entries))
    with pytest.raises(InputError) as caught:
        open_dataset("cifar10", "test", data_dir=tmp_path)
    assert text in str(caught.value)
    assert "test_batch" in str(caught.value)


def test_a_batch_that_wants_to_run_something_is_refused(tmp_path):
    folder = write_cifar10("cifar-10-batches-py", tmp_path)
    (folder / "test_batch").write_bytes(pickle.dumps({"data": Runs(os.system, f"touch {tmp_path}/ran")}))
    with pytest.raises(InputError, match="system"):
        open_dataset("cifar10", "test", data_dir=tmp_path)
    assert not (tmp_path / "ran").exists()


def write_svhn(path, images, labels, **changes):
    savemat(path, {"X": images.transpose(1, 2, 3, 0), "y": labels.reshape(-1, 1), **changes}, do_compression=True)


@pytest.mark.parametrize("place", ["", "svhn", "SVHN"])
def test_svhn_is_read_with_10_as_digit_0(tmp_path, place):
    (tmp_path / place).mkdir(exist_ok=True)
    labels = np.array([10, 1, 9, 10, 5, 2], np.uint8)
    write_svhn(tmp_path / place / "train_32x32.mat", IMAGES[:6], labels)
    write_svhn(tmp_path / place / "test_32x32.mat", IMAGES[6:], np.array([1, 2, 3, 4, 5, 10], np.uint8))
    check(open_dataset("SVHN", "train", data_dir=tmp_path), IMAGES[:6], [0, 1, 9, 0, 5, 2])
    check(open_dataset("svhn", "test", data_dir=tmp_path), IMAGES[6:], [1, 2, 3, 4, 5, 0])
    check(open_dataset("svhn", "test", data_dir=tmp_path / place / "test_32x32.mat"), IMAGES[6:], [1, 2, 3, 4, 5, 0])


@pytest.mark.parametrize("kind", ["truncated", "empty", "garbage", "labels from 0", "no y", "too few y", "floats"])
def test_broken_svhn_files_are_named(tmp_path, kind):
    path, labels = tmp_path / "test_32x32.mat", np.arange(1, 7, dtype=np.uint8)
    write_svhn(path, IMAGES[:6], labels)
    damage(kind, path)
    if kind == "labels from 0":
        write_svhn(path, IMAGES[:6], labels - 1)
    if kind == "no y":
        savemat(path, {"X": IMAGES[:6].transpose(1, 2, 3, 0)})
    if kind == "too few y":
        write_svhn(path, IMAGES[:6], labels[:4])
    if kind == "floats":
        write_svhn(path, IMAGES[:6] / 255, labels)
    with pytest.raises(InputError) as caught:
        open_dataset("svhn", "test", data_dir=tmp_path)
    assert str(path) in str(caught.value)


def test_svhn_without_the_file_of_the_split_names_it_and_its_source(tmp_path):
    write_svhn(tmp_path / "train_32x32.mat", IMAGES, LABELS + 1)
    with pytest.raises(InputError, match=r"test_32x32\.mat.*ufldl\.stanford\.edu"):
        open_dataset("svhn", "test", data_dir=tmp_path)


def write_imagenet(folder, form, batches=range(1, 11)):
    """Write batches of 2 images with labels (n, 1000 - n) and a mean; return all images and labels in numeric order."""
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = [], []
    for number in [*batches, 0]:
        name = f"train_data_batch_{number}" if number else "val_data"
        part, ids = pixels(2, seed=100 + number), [number + 1, 1000 - number]
        entries = {"data": planes(part), "labels": ids, "mean": np.zeros(3072)}
        if form == "npz":
            np.savez(folder / f"{name}.npz", **entries)
        elif form == "bytes keys":
            (folder / name).write_bytes(pickle.dumps({key.encode(): value for key, value in entries.items()}, 2))
        else:
            (folder / name).write_bytes(pickle.dumps(entries, 2))
        if number:
            images.append(part)
            labels += [label - 1 for label in ids]
    return np.concatenate(images), np.array(labels)


@pytest.mark.parametrize("form", ["str keys", "bytes keys", "npz"])
def test_imagenet32_is_read_in_numeric_order_with_labels_from_0(tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    images, labels = write_imagenet(tmp_path / "imagenet", form)
    for arguments in ({}, {"data_dir": tmp_path}, {"data_dir": tmp_path / "imagenet"}):
        check(open_dataset("ImageNet", "train", **arguments), images, labels)
        check(open_dataset("imagenet32", "validation", **arguments), pixels(2, seed=100), [0, 999])


def test_the_first_imagenet_batches_alone_are_read(tmp_path):
    images, labels = write_imagenet(tmp_path, "str keys", batches=[1, 2, 3])
    check(open_dataset("imagenet", "train", data_dir=tmp_path), images, labels)


@pytest.mark.parametrize(("batches", "gap"), [((1, 2, 10), 3), ((2, 3), 1), ((1, 10), 2)])
def test_a_missing_imagenet_batch_is_named(tmp_path, batches, gap):
    write_imagenet(tmp_path, "str keys", batches)
    with pytest.raises(InputError, match=f"train_data_batch_{gap}: no such file"):
        open_dataset("imagenet", "train", data_dir=tmp_path)


@pytest.mark.parametrize("labels", [[0, 999], [1, 1001]])
def test_imagenet_labels_of_another_base_are_refused(tmp_path, labels):
    path = tmp_path / "val_data"
    path.write_bytes(pickle.dumps({"data": ROWS, "labels": labels}))
    with pytest.raises(InputError, match=f"'labels' runs {labels[0]}-{labels[1]}, expected 1-1000"):
        read_file(path)


def test_one_imagenet_file_alone(tmp_path):
    write_imagenet(tmp_path, "str keys", batches=[1, 10])
    images, labels = read_file(tmp_path / "train_data_batch_10")
    np.testing.assert_array_equal(images.transpose(0, 2, 3, 1), pixels(2, seed=110))
    assert labels.tolist() == [10, 989]
    assert labels.dtype == np.int64


def test_missing_imagenet_names_files_source_and_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"val_data.*image-net\.org.*\./imagenet"):
        open_dataset("imagenet", "test")


def test_a_broken_imagenet_npz_is_named(tmp_path):
    write_imagenet(tmp_path, "npz")
    damage("truncated", tmp_path / "val_data.npz")
    with pytest.raises(InputError, match=r"val_data\.npz"):
        open_dataset("imagenet", "test", data_dir=tmp_path)
