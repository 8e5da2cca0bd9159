"""Which class an image is of, in every kind of source, and the words that choose classes."""

import json
import zipfile

import numpy as np
import pytest

from common.datasets.imagenet.classes import class_index, parse_class
from common.datasets.imagenet.tree import ImageTree
from common.errors import InputError
from tests.common.datasets.imagenet_files import jpeg, write_batches
from tests.tools.commands import refusal_of
from tests.tools.extract_real_imagenet.runs import NETWORK, classes_of, extract, info, said
from tools.train_edm.__main__ import EdmTrainOptions
from tools.train_edm.sources import open_images


def write_images(root, names):
    """Write a small picture under each name."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number, (9, 7), form="PNG"))


def zipped(folder):
    """Return a zip of a folder's files, beside it."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("folders", [["0", "1", "2", "10", "11"], ["007", "10", "3"], ["999", "0"]])
def test_A2_folders_that_are_whole_numbers_are_those_numbers(workplace, folders, packed):
    write_images(workplace / "set", [f"{folder}/a.png" for folder in folders])
    source = zipped(workplace / "set") if packed else "set"
    words = ("--imagenet_dir", source, "--split", "all", "--class_map", "none")
    extract(*words)
    assert classes_of() == {f"{folder}/a.png": (int(folder), folder, folder) for folder in folders}
    for out, folder in enumerate(folders):
        extract(*words, "--target_classes", folder, out=f"chosen{out}")
        assert list(classes_of(f"chosen{out}")) == [f"{folder}/a.png"]
    _, trained = open_images(EdmTrainOptions(imagenet_dir=str(source), class_map="none"))
    assert {trained.title(n): int(trained.classes[n]) for n in range(len(folders))} == {
        f"{folder}/a.png": int(folder) for folder in folders}


def test_A2_words_that_fit_two_classes_are_refused(workplace):
    write_images(workplace / "set", ["1/a.png", "10/a.png", "cat/a.png"])  # not all are numbers: 1 is class 0, 10 is 1
    words = ("--imagenet_dir", "set", "--split", "all", "--class_map", "none")
    assert "'1' is the number of one class and the name of another, 0 (1) and 1 (10)" in refusal_of(
        "extract_real_imagenet", *NETWORK, *words, "--target_classes", "1")
    for word, name in (("0", "1"), ("10", "10"), ("cat", "cat"), ("Cat", "cat"), ("2", "cat")):
        extract(*words, "--target_classes", word, out=f"out{word}")
        assert list(classes_of(f"out{word}")) == [f"{name}/a.png"]
    assert "'crane' is the name of two classes, 134 (n02012849) and 517" in refusal_of(
        "generate_dataset", "--model", "imagenet", *NETWORK, "--target_classes", "goldfish,crane")
    write_batches(workplace / "npz", classes=3)
    (workplace / "names.json").write_text('["crane", "crane", "9"]')
    words = ("--npz_dir", "npz", "--class_map", "names.json")
    assert "two classes, 0 (0) and 1 (1)" in refusal_of("extract_real_imagenet", *NETWORK, *words, "--target_classes",
                                                        "crane")
    extract(*words, "--target_classes", "9", out="nine")
    assert {entry[0] for entry in classes_of("nine").values()} == {2}


@pytest.mark.parametrize(("folders", "what"), [
    (["1", "01"], "the class folders 01 and 1 are the same number"),
    (["20240131", "20240201"], "20240131 is a number over 1,000,000"), (["7" * 40], "is a number over")])
def test_A2_folders_that_cannot_be_numbers_are_refused(workplace, folders, what):
    write_images(workplace / "set", [f"{folder}/a.png" for folder in folders])
    words = ("--imagenet_dir", "set", "--split", "all", "--class_map", "none")
    assert what in refusal_of("extract_real_imagenet", *NETWORK, *words)
    assert what in refusal_of("train_edm", "--data", "set", "--class_map", "none")
    assert open_images(EdmTrainOptions(data="set", conditional=False))[1].classes.tolist() == [0] * len(folders)


def test_A2_images_beside_numbered_folders_have_no_class(workplace):
    write_images(workplace / "set", ["val/2/a.png", "val/10/a.png", "val/loose.png"])
    text = said("--imagenet_dir", "set", "--class_map", "none")
    assert "warning: skipped 1 image in no class folder (val/loose.png)" in text
    assert {path: entry[0] for path, entry in classes_of().items()} == {"val/2/a.png": 2, "val/10/a.png": 10}


def test_A2_words_that_no_class_has_are_refused_whatever_their_length():
    for word in ("1000", "9" * 5000, "٣", "-1", "1.0"):
        with pytest.raises(InputError, match="unknown class"):
            parse_class(word)
    assert parse_class("007") == 7


def test_A2_drawn_classes_are_those_of_the_source(workplace):
    write_images(workplace / "set", ["3/a.png", "40/a.png", "500/a.png"])
    words = ("--imagenet_dir", "set", "--split", "all", "--class_map", "none", "--num_classes", "2")
    extract(*words)
    places = np.random.RandomState(10).choice(3, 2, replace=False)
    assert sorted(entry[0] for entry in classes_of().values()) == sorted(np.array([3, 40, 500])[places])


def edm_set(root, labels):
    """Write a set in the layout of EDM's dataset tool: 00000/img*.png and dataset.json."""
    names = [f"{number // 2:05d}/img{number:08d}.png" for number in range(len(labels))]
    write_images(root, names)
    (root / "dataset.json").write_text(json.dumps({"labels": list(zip(names, labels))}))
    return names


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("split", [(), ("--split", "all")])
def test_A8_sets_of_edms_dataset_tool_get_imagenets_names(workplace, packed, split):
    names = edm_set(workplace / "set", [0, 999, 278, 0])
    source = zipped(workplace / "set") if packed else "set"
    extract("--imagenet_dir", source, *split)
    index = class_index()
    assert classes_of() == {name: (label, *index[str(label)]) for name, label in zip(names, [0, 999, 278, 0])}
    extract("--imagenet_dir", source, *split, "--target_classes", "kit_fox,tench", out="some")
    assert {entry[2] for entry in classes_of("some").values()} == {"kit_fox", "tench"}
    _, trained = open_images(EdmTrainOptions(data=str(source)))
    assert trained.classes.tolist() == [0, 999, 278, 0]


def test_A8_labels_below_a_split_and_labels_of_ones_own(workplace):
    names = edm_set(workplace / "set" / "val", [5, 1000])
    assert "label 1000 is outside 0 .. 999" in refusal_of("extract_real_imagenet", *NETWORK, "--imagenet_dir", "set")
    edm_set(workplace / "set" / "val", [1, 0])
    (workplace / "names.json").write_text('{"cat": 0, "dog": 1}')
    extract("--imagenet_dir", "set", "--class_map", "names.json")
    assert classes_of() == {f"val/{names[0]}": (1, "1", "dog"), f"val/{names[1]}": (0, "0", "cat")}
    assert "needs labels" in refusal_of("extract_real_imagenet", *NETWORK, "--imagenet_dir", "set/val/00000",
                                        "--split", "all", "--class_map", "names.json")


@pytest.mark.parametrize("packed", [False, True])
def test_A8_labels_lie_in_a_folder_around_the_images(workplace, packed):
    names = edm_set(workplace / "outer" / "set", [1, 0, 1])
    source = zipped(workplace / "outer") if packed else "outer"
    text = said("--imagenet_dir", source, "--class_map", "none", *([] if packed else ["--split", "all"]))
    assert {path: entry[0] for path, entry in classes_of().items()} == dict(zip(
        [f"set/{name}" for name in names], [1, 0, 1]))  # and not those of the folders 00000 and 00001
    assert "warning" not in text
    assert open_images(EdmTrainOptions(data=str(source), class_map="none"))[1].classes.tolist() == [1, 0, 1]


def test_A8_labels_in_other_forms_that_the_originals_read(workplace):
    names = edm_set(workplace / "set", [0, 7])
    for labels in ({names[0]: 0, names[1]: 7}, [[names[0], 0.0], [names[1], 7.0]]):
        (workplace / "set" / "dataset.json").write_text(json.dumps({"labels": labels}))
        assert ImageTree("set", None).classes.tolist() == [0, 7]


def test_A8_images_without_a_label_and_labels_without_an_image_are_counted(workplace):
    names = edm_set(workplace / "set", [0, 1, 2])
    (workplace / "set" / names[0]).unlink()
    write_images(workplace / "set", ["00009/other.png"])
    text = said("--imagenet_dir", "set")
    assert f"warning: missing 1 image of dataset.json ({names[0]})" in text
    assert "warning: skipped 1 image without a label in dataset.json (00009/other.png)" in text
    assert open_images(EdmTrainOptions(data="set", conditional=False))[1].classes.tolist() == [0, 0, 0]
    (workplace / "set" / "dataset.json").write_text(json.dumps({"labels": [[names[1], 1], [names[1], 2]]}))
    with pytest.raises(InputError, match="has two labels"):
        ImageTree("set", None)


OWN_NAMES = {"list": ["ant", "bee", "cat", "dog"], "numbers": {"dog": 3, "ant": 0, "bee": 1, "cat": 2},
             "names": {"0": "ant", "1": "bee", "2": "cat", "3": "dog"},
             "index": {"0": ["a", "ant"], "1": ["b", "bee"], "2": ["c", "cat"], "3": ["d", "dog"]}}


@pytest.mark.parametrize("form", OWN_NAMES)
def test_A8_npz_sets_of_ones_own_can_name_their_classes(workplace, form):
    _, labels = write_batches(workplace / "npz")
    (workplace / "names.json").write_text(json.dumps(OWN_NAMES[form]))
    words = ("--npz_dir", "npz", "--class_map", "names.json")
    extract(*words)
    names = [None, "ant", "bee", "cat", "dog"]
    assert {path: (entry[0], entry[2]) for path, entry in classes_of().items()} == {
        f"npz_sample_{n}": (label - 1, names[label]) for n, label in enumerate(labels.tolist())}
    assert [pair[1] for pair in info()["class_labels"].values()] == names[1:]
    extract(*words, "--target_classes", "bee", out="bees")
    assert {entry[2] for entry in classes_of("bees").values()} == {"bee"}
    (workplace / "names.json").write_text('["ant", "bee", "cat", "fox"]')
    assert "map of classes" in refusal_of("extract_real_imagenet", *NETWORK, *words, "--images", "none",
                                          "--noreconstructions")


@pytest.mark.parametrize("text", ['["a", 1]', '{"1": "a", "2": "b"}', '{"a": 0, "b": 0}', "{}", "[]", '{"0": ["a"]}',
                                  '{"0": {"a": 1}}', "3", "null", '{"a": 0, "b": 2}', '{"0": ["n01440764", "tench"], '
                                  '"1": ["n99999999", "none"]}', "[true, false]", '{"0": [["n01440764"], "a"]}'])
def test_A8_other_maps_take_one_line(workplace, text):
    write_batches(workplace / "npz")
    (workplace / "names.json").write_text(text)
    assert "not a class" in refusal_of("extract_real_imagenet", *NETWORK, "--npz_dir", "npz", "--class_map",
                                       "names.json")
