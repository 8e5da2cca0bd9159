"""Nothing of a source vanishes: what is missing, there twice or unreadable is refused, what is not read is counted."""

import os
import shutil

import numpy as np
import pytest

from tests.common.datasets.imagenet_files import jpeg, write_batches, write_tree
from tests.tools.commands import call_tool, refusal_of
from tests.tools.extract_real_imagenet.runs import NETWORK, classes_of, extract, info, said
from tests.tools.train_edm.runs import NETWORK as TRAINED


@pytest.fixture
def batches(workplace):
    """A folder of three batches; returns it."""
    write_batches(workplace / "npz", form="stored")
    return workplace / "npz"


def refused(what, *more):
    """Both readers of npz batches refuse the folder with these words and write nothing."""
    assert what in refusal_of("extract_real_imagenet", *NETWORK, "--npz_dir", "npz", *more)
    assert what in refusal_of("train_edm", "--npz_dir", "npz", "--class_map", "none", *TRAINED, *more)
    assert not os.path.exists("data")
    assert not os.path.exists("out")


@pytest.mark.parametrize(("present", "missing"), [((1, 3), 2), ((2, 3), 1), ((1, 2, 4), 3), ((0, 2), 1), ((7,), 1),
                                                  ((1, 999_999_999), 2)])
@pytest.mark.parametrize("form", ["stored", "pickle"])
def test_A9_a_gap_in_the_batches_is_refused(workplace, present, missing, form):
    pixels, _ = write_batches(workplace / "npz", [2] * len(present), present, form=form, classes=2)
    refused(f"batch {missing} is missing (there are {', '.join(map(str, present))})")
    text = said("--npz_dir", "npz", "--npz_partial")
    assert f"batches are missing ({missing}" in text
    assert len(classes_of()) == len(pixels)


def test_A9_two_batches_of_one_number_are_refused(batches):
    shutil.copy(batches / "train_data_batch_2.npz", batches / "train_data_batch_02.npz")
    refused("train_data_batch_02.npz: has the same number as train_data_batch_2.npz")


def test_A9_a_batch_that_is_a_copy_of_another_is_noted(batches):
    shutil.copy(batches / "train_data_batch_1.npz", batches / "Train_Data_Batch_4.npz")
    text = said("--npz_dir", "npz")
    assert "note: npz/Train_Data_Batch_4.npz has the same images as train_data_batch_1.npz: they are read twice" in text
    assert text.count("has the same images") == 1
    (batches / "Train_Data_Batch_4.npz").unlink()
    assert "has the same images" not in said("--npz_dir", "npz", out="again")


@pytest.mark.parametrize("name", ["train_data_batch_2.npz", "train_data_batch_2"])
def test_A9_a_dangling_batch_is_refused(batches, name):
    (batches / "train_data_batch_2.npz").unlink()
    (batches / name).symlink_to("nowhere")
    refused(f"{name}: a link to a file that is not there")


@pytest.mark.parametrize("form", ["npz", "pickle"])
def test_A9_an_unreadable_batch_is_refused(workplace, form):
    write_batches(workplace / "npz", form="pickle" if form == "pickle" else "stored")
    path = workplace / "npz" / f"train_data_batch_3{'.npz' if form == 'npz' else ''}"
    path.write_bytes(b"")
    refused("train_data_batch_3")
    path.unlink()
    path.mkdir()  # a folder of that name is not a batch, and no other has its number: the set ends with 2
    extract("--npz_dir", "npz")
    assert len(classes_of()) == 12


def test_A9_pickles_beside_npz_are_read_once(workplace):
    pixels, _ = write_batches(workplace / "npz", form="stored")
    write_batches(workplace / "pickles", form="pickle")
    (workplace / "npz" / "train_data_batch_3.npz").unlink()
    for number in (2, 3):
        shutil.copy(workplace / "pickles" / f"train_data_batch_{number}", workplace / "npz")
    text = said("--npz_dir", "npz")
    assert len(classes_of()) == len(pixels)
    assert "skipped 1 file not named as a batch (train_data_batch_2)" in text


def test_A9_files_that_are_not_read_are_counted(batches):
    np.savez(batches / "val_data.npz", data=np.zeros((2, 192), np.uint8), labels=[1, 2])
    (batches / "notes.txt").write_text("no batch")
    (batches / "train_data_batch_4.npz.part").write_bytes(b"half")
    (batches / "train_data_batch_3.npz").rename(batches / "train_data_batch_3.NPZ")
    text = said("--npz_dir", "npz")
    assert "skipped 2 files not named as a batch (notes.txt, train_data_batch_4.npz.part)" in text
    assert "skipped 1 batch of another subset (val_data.npz)" in text
    assert len(classes_of()) == 18


def test_A9_fewer_batches_than_published_are_noted(batches, monkeypatch):
    monkeypatch.setattr("common.datasets.imagenet.npz_batches.PUBLISHED_ROWS", 3)
    shutil.rmtree(batches)
    write_batches(batches, (3, 3), (1, 2))
    assert "note: 2 of the 10 published batches are there" in said("--npz_dir", "npz")


def test_A9_where_no_batches_are_the_line_says_what_is(workplace):
    os.makedirs("npz/Imagenet64_train_npz")
    write_batches(workplace / "npz" / "Imagenet64_train_npz")
    assert "They are in npz/Imagenet64_train_npz: pass that folder" in refusal_of(
        "extract_real_imagenet", *NETWORK, "--npz_dir", "npz")
    os.makedirs("zipped")
    (workplace / "zipped" / "Imagenet64_train_part1_npz.zip").write_bytes(b"PK")
    assert "it holds Imagenet64_train_part1_npz.zip. Unzip Imagenet64_train_part1_npz.zip first" in refusal_of(
        "extract_real_imagenet", *NETWORK, "--npz_dir", "zipped")


def test_A10_a_dangling_link_in_a_tree_is_skipped_and_named(workplace):
    write_tree(workplace / "tree")
    (workplace / "tree" / "val" / "n03255030" / "gone.JPEG").symlink_to("nowhere.JPEG")
    text = said("--imagenet_dir", "tree")
    assert "skipped: val/n03255030/gone.JPEG: no such file or folder" in text
    assert sorted(entry[0] for entry in info()["left_out"]) == ["val/n03255030/broken.JPEG", "val/n03255030/gone.JPEG"]
    assert len(classes_of()) == 5
    ended = call_tool("train_edm", *TRAINED, "--imagenet_dir", "tree", "--split", "val", "--class_map", "none",
                      "--steps", "4", "--batch_size", "4", "--samples_per_class", "0", "--device", "cpu")
    assert ended.status == 0, ended.err


def test_A10_a_tree_of_dangling_links_alone_says_so(workplace):
    os.makedirs("tree/val/n01440764")
    os.symlink("nowhere", "tree/val/n01440764/a.JPEG")
    assert "no readable image (no such file or folder)" in refusal_of_last(
        "extract_real_imagenet", *NETWORK, "--imagenet_dir", "tree")
    assert not os.path.exists("data")
    (workplace / "tree/val/n01440764/b.JPEG").write_bytes(jpeg())
    extract("--imagenet_dir", "tree")


def refusal_of_last(name, *words):
    """Return the last line of a tool that must end with status 2."""
    ended = call_tool(name, *words)
    assert ended.status == 2, ended
    return ended.err.splitlines()[-1]
