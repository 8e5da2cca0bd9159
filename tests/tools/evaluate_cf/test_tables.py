"""What does not go together: tables of truth and labels, batches, names of images, flags that act on nothing."""

import pytest
import torch

from common.errors import InputError
from tests.tools.commands import refusal_of, results_of
from tests.tools.evaluate_cf.made import make
from tools.evaluate_cf.read import read_labels, read_truth

HEAD = "image,attribute,Forward,Stop\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("made"))


@pytest.mark.parametrize(("rows", "message"), [
    ("a.png,,1,0\na.png,,0,0\n", "row 2: a second row of a.png"),
    ("a.png,Stop,1,0\na.png,1,1,0\n", "row 2: a second row of a.png, attribute 1"),
    ("a.png,,1,7\n", "row 1: Stop is 7, neither 0 nor 1"), ("a.png,,nan,0\n", "row 1: Forward is nan"),
    ("a.png,,0.5,0\n", "row 1: Forward is 0.5")])
def test_truth_that_is_no_decision_or_stands_twice_is_refused(tmp_path, rows, message):
    (tmp_path / "truth.csv").write_text(HEAD + rows)
    with pytest.raises(InputError, match=message):
        read_truth(tmp_path / "truth.csv", ("Forward", "Stop"))


def test_labels_are_0_and_1(tmp_path):
    (tmp_path / "labels.csv").write_text("Forward,Stop\n1,0.0\n0,1\n")
    assert read_labels(tmp_path / "labels.csv", ("Forward", "Stop")).tolist() == [[True, False], [False, True]]
    (tmp_path / "labels.csv").write_text("Forward,Stop\n1,2\n")
    with pytest.raises(InputError, match="row 1: Stop is 2"):
        read_labels(tmp_path / "labels.csv", ("Forward", "Stop"))


@pytest.mark.parametrize("words", [("--mode", "fast"), ("--weights", "x"), ("--stats_dir", "x"), ("--any_stats",),
                                   ("--extractor", "small", "--mode", "fast")])
def test_a_flag_that_acts_on_nothing_is_refused(made, words):
    name = next(word for word in words if word.startswith("--") and word != "--extractor")
    assert f"{name}: acts on" in refusal_of("evaluate_cf", *made.words(*words))


def test_written_images_of_one_stem_do_not_replace_each_other(tmp_path):
    made = make(tmp_path)
    renamed = {"00.png": "x.png", "01.png": "x.bmp", "03.png": "v.1.png", "04.png": "v.2.png"}
    for old, new in renamed.items():
        (made.files["images"] / old).rename(made.files["images"] / new)
    for path in made.folder.glob("metadata_*.pt"):
        value = torch.load(path, weights_only=True)
        torch.save(value | {"image_names": [renamed.get(name, name) for name in value["image_names"]]}, path)
    results_of("evaluate_cf", *made.words("--save_images", "--page_pairs", "0"))
    saved = made.folder / "evaluation" / "images" / "att_0"
    assert {path.name for path in saved.iterdir()} == {"x.png.png", "x.bmp.png", "02.png", "v.1.png", "v.2.png"}


def spoiled(made, number, change):
    """Change the contents of a batch's file for a while; return how the evaluation is refused."""
    path = made.folder / f"metadata_{number}.pt"
    before, value = path.read_bytes(), torch.load(path, weights_only=True)
    change(value)
    torch.save(value, path)
    try:
        return refusal_of("evaluate_cf", *made.words())
    finally:
        path.write_bytes(before)


def test_T33_batches_of_unlike_attributes_or_with_one_image_twice_are_refused(made):
    lacking = spoiled(made, 1, lambda value: value.pop("att_1"))
    assert "metadata_1.pt: att_1 is missing, other batches have it" in lacking
    assert "att_7 is in it, the model decides 2" in spoiled(made, 0, lambda value: value.update(att_7=value["att_0"]))
    twice = spoiled(made, 1, lambda value: value["image_names"].__setitem__(0, "00.png"))
    assert "image '00.png' stands in it twice" in twice


def test_images_are_not_written_among_those_that_were_explained(made):
    words = made.words("--save_images", "--output_dir", made.files["images"] / "out")
    assert "would be read as images" in refusal_of("evaluate_cf", *words)
