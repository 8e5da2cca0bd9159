"""compute_fid --per_class: the distance of each class, from class folders and labels."""

import csv

import numpy as np
import pytest
import torch

from common.features.sources import open_images
from common.metrics.kid import kid
from tests.common.metrics.distances import frechet_distance_of_rows
from tests.common.metrics.pictures import write_folder
from tests.tools.commands import call_tool, refusal_of
from tests.tools.compute_fid.runs import SMALL, features, score
from tests.tools.compute_fid.test_forms import OneHot

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
CLASSES = {"cat": (7, 5), "dog": (6, 6), "10": (4, 8)}  # images in fakes and reals


@pytest.fixture(autouse=True)
def sets(here):
    """Class folders fakes and reals, of which 10 comes before the words."""
    for side, folder in enumerate(("fakes", "reals")):
        for number, (name, counts) in enumerate(CLASSES.items()):
            write_folder(here / folder / name, counts[side], first=100 * number + 50 * side)


def test_each_class_is_scored_by_its_own_images(here):
    results = score("fakes", "--reference", "reals", "--metrics", "fid,kid", "--per_class", "--output_dir", "out")
    assert results["classes"] == ["10", "cat", "dog"]
    assert results["class_num_generated"] == [4, 7, 6]
    assert results["class_num_reference"] == [8, 5, 6]
    for name, distance, value in zip(results["classes"], results["class_frechet_distance"], results["class_kid"]):
        fake, real = features(f"fakes/{name}"), features(f"reals/{name}")
        assert distance == pytest.approx(frechet_distance_of_rows(fake, real), rel=1e-5)
        assert value == pytest.approx(kid(fake, real)[0], rel=1e-4)
    assert results["class_frechet_distance_mean"] == pytest.approx(np.mean(results["class_frechet_distance"]))
    assert results["frechet_distance"] == pytest.approx(
        frechet_distance_of_rows(features("fakes"), features("reals")), rel=1e-5)
    with open("out/classes.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["class"] for row in rows] == results["classes"]
    assert float(rows[1]["kid"]) == pytest.approx(results["class_kid"][1], rel=1e-4)
    assert "mean over classes" in (here / "out" / "table.csv").read_text()


def test_each_class_has_the_interval_of_its_own_images(here):
    results = score("fakes", "--reference", "reals", "--metrics", "fid,kid", "--per_class", "--output_dir", "out")
    for row, name in enumerate(results["classes"]):
        alone = score(f"fakes/{name}", "--reference", f"reals/{name}", "--metrics", "fid,kid")
        for metric in ("frechet_distance", "kid"):
            assert results[f"class_{metric}_se"][row] == pytest.approx(alone[f"{metric}_se"], rel=1e-4)
            assert results[f"class_{metric}_interval"][row] == pytest.approx(alone[f"{metric}_interval"], rel=1e-4)
    errors = np.array(results["class_kid_se"])
    assert results["class_kid_mean_se"] == pytest.approx(np.sqrt(np.sum(errors**2)) / 3)
    with open("out/classes.csv", newline="") as stream:
        row = next(iter(csv.DictReader(stream)))
    assert float(row["kid 95 % low"]) == pytest.approx(results["class_kid_interval"][0][0], rel=1e-4)
    assert "class_kid_se" not in score("fakes", "--reference", "reals", "--metrics", "kid", "--per_class",
                                       "--nointerval")


def test_samples_of_guided_diffusion_have_their_labels(here):
    order = {"10": 0, "cat": 1, "dog": 2}
    labelled(here / "fakes.npz", "fakes", order, ("arr_0", "arr_1"))
    labelled(here / "reals.npz", "reals", order)
    expected = score("fakes", "--reference", "reals", "--per_class")["class_frechet_distance"]
    results = score("fakes.npz", "--reference", "reals.npz", "--per_class")
    assert results["class_frechet_distance"] == pytest.approx(expected, rel=1e-5)
    rows = features("reals")  # a reference of statistics that holds images too
    arrays = dict(np.load(here / "reals.npz"))
    np.savez(here / "both.npz", mu=rows.mean(0), sigma=np.cov(rows.T), arr_0=arrays["images"], arr_1=arrays["labels"])
    results = score("fakes.npz", "--reference", "both.npz", "--per_class")
    assert results["class_frechet_distance"] == pytest.approx(expected, rel=1e-5)
    assert any("the classes: of the 19 images" in note for note in results["notes"])
    np.savez(here / "other.npz", arr_0=arrays["images"], arr_1=arrays["labels"] / 2)  # no labels
    assert "no classes are known" in refusal_of("compute_fid", "clean", "other.npz", "--reference", "reals",
                                                "--per_class", "--quiet", *SMALL)


def labelled(path, folder, numbers, keys=("images", "labels")):
    """Write the images of a folder and the numbers of their classes as .npz, in reverse order."""
    images = open_images(folder)
    names = images.classes()
    order = list(reversed(range(len(images))))
    arrays = np.stack([images.load(index) for index in order]), np.array([numbers[names[index]] for index in order])
    np.savez(path, **dict(zip(keys, arrays)))


def test_labels_in_arrays_are_classes(here):
    expected = score("fakes", "--reference", "reals", "--per_class")
    order = {"10": 0, "cat": 1, "dog": 2}  # as ImageFolder numbers them
    labelled(here / "fakes.npz", "fakes", order)
    labelled(here / "reals.npz", "reals", order)
    both = score("fakes.npz", "--reference", "reals.npz", "--per_class")
    assert both["classes"] == ["0", "1", "2"]
    mixed = score("fakes.npz", "--reference", "reals", "--per_class")
    assert mixed["classes"] == ["10", "cat", "dog"]
    assert any("0 is 10" in note for note in mixed["notes"])
    for results in (both, mixed):
        assert results["class_frechet_distance"] == pytest.approx(expected["class_frechet_distance"], rel=1e-5)
    labelled(here / "beyond.npz", "fakes", {"10": 0, "cat": 1, "dog": 3})
    line = refusal_of("compute_fid", "clean", "beyond.npz", "--reference", "reals", "--per_class", "--quiet", *SMALL)
    assert "label 3, but the other side has 3 classes" in line
    labelled(here / "none.npz", "fakes", {"10": -1, "cat": 1, "dog": 2})  # -1 for images without a class
    unlabelled = score("none.npz", "--reference", "reals.npz", "--per_class")
    assert unlabelled["classes"] == ["1", "2"]
    assert unlabelled["class_frechet_distance"] == both["class_frechet_distance"][1:]
    line = refusal_of("compute_fid", "clean", "none.npz", "--reference", "reals", "--per_class", "--quiet", *SMALL)
    assert "label -1, but the other side has 3 classes" in line


def test_an_image_left_out_moves_no_other_into_another_class(here):
    path = sorted((here / "fakes" / "cat").rglob("*.png"))[0]
    path.write_bytes(b"no picture")
    results = score("fakes", "--reference", "reals", "--per_class")
    assert results["class_num_generated"] == [4, 6, 6]
    path.unlink()
    expected = score("fakes", "--reference", "reals", "--per_class")
    assert results["class_frechet_distance"] == pytest.approx(expected["class_frechet_distance"], rel=1e-6)


def test_classes_of_numbers_are_numbers_and_what_a_side_lacks_is_noted(here):
    for folder, names in (("one", ("007", "10", "3")), ("two", ("7", "10", "12"))):
        for number, name in enumerate(names):
            write_folder(here / folder / name, 4, first=10 * number)
    results = score("one", "--reference", "two", "--per_class")
    assert results["classes"] == ["7", "10"]
    assert any("2 classes with fewer than two images on a side are left out: 3, 12" in note
               for note in results["notes"])


def test_the_classes_of_a_generator_are_those_it_drew(here):
    torch.jit.script(OneHot()).save("classes.pt")
    for number in range(3):
        write_folder(here / "numbers" / str(number), 5, first=10 * number)
    words = ("classes.pt", "--reference", "numbers", "--num_gen", "30", "--z_dim", "6", "--num_classes", "3")
    results = score(*words, "--per_class")
    assert sum(results["class_num_generated"]) == 30
    single = score(*words, "--class_label", "1", "--per_class")
    assert (single["classes"], single["class_num_generated"]) == (["1"], [30])
    assert single["class_frechet_distance"][0] != pytest.approx(results["class_frechet_distance"][0], rel=1e-3)


def test_the_classes_of_a_known_data_set_are_its_labels(here):
    from common.datasets import open_dataset

    results = score("digits", "--num_gen", "120", "--reference", "digits", "--reference_split", "test", "--per_class")
    labels = [open_dataset("digits", split).labels for split in ("train", "test")]
    assert results["classes"] == [str(number) for number in range(10)]
    assert results["class_num_generated"] == np.bincount(labels[0][:120]).tolist()
    assert results["class_num_reference"] == np.bincount(labels[1]).tolist()


@pytest.mark.parametrize(("words", "line"), [
    (("fake", "--reference", "reals"), "fake (10 images): no classes are known of it"),
    (("fakes", "--reference", "stored.npz"), "stored.npz: no classes are known of it"),
    (("fakes", "--reference", "reals", "--metrics", "prdc"), "--per_class: acts on the metrics fid and kid"),
    (("fakes", "--reference", "others"), "no class has two images on both sides"),
])
def test_where_no_classes_are_known_a_line_says_so(here, words, line):
    np.savez(here / "stored.npz", feats=features("reals"))
    write_folder(here / "others" / "bird", 3)
    assert line in refusal_of("compute_fid", "clean", *words, "--per_class", "--quiet", *SMALL)


@pytest.mark.parametrize(("metrics", "line"), [
    ("vendi", "--reference: vendi compares with nothing"),
    ("is,vendi", "--reference: is and vendi compare with nothing"),
])
def test_a_reference_that_nothing_is_compared_with_is_refused(here, metrics, line):
    words = ("compute_fid", "clean", "fakes", "--metrics", metrics, *SMALL)
    assert line in refusal_of(*words, "--reference", "reals")
    assert line.replace("reference", "dataset_name") in refusal_of(*words, "--dataset_name", "mine")


def test_the_screen_shows_the_classes(here):
    ended = call_tool("compute_fid", "clean", "fakes", "--reference", "reals", "--per_class", *SMALL)
    assert "3 classes" in ended.err + ended.out
    assert "dog" in ended.err + ended.out
