"""Which images have which labels: BDD-OIA, tables, class folders, data sets; what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import InputError
from common.images.squash import SquashOrCrop
from common.networks.decision import open_decision_model, write_decision_model
from common.networks.decision_networks import DRIVING, REASONS, DecisionConfig, build_decision_model
from tests.common.datasets.odd_pictures import write_odd_pictures
from tests.tools.commands import call_tool, refusal_of, results_of
from tests.tools.train_decision_model.runs import TINY, picture, train, write_bddoia
from tools.train_decision_model.__main__ import DecisionOptions
from tools.train_decision_model.bddoia import open_bddoia
from tools.train_decision_model.classes import open_classes
from tools.train_decision_model.sources import LabelledFiles
from tools.train_decision_model.tables import open_table

BDDOIA = ("--bddoia", "oia", "--arch", "small", "--size", "16x24", "--steps", "4", "--batch_size", "4", "--device",
          "cpu", "--num_workers", "0")
ACTIONS, REASON_FILE = "oia/train_25k_images_actions.json", "oia/train_25k_images_reasons.json"
TOOL = "train_decision_model"


@pytest.fixture
def oia(own_folder):
    return write_bddoia(own_folder / "oia")


def changed(path, change):
    value = json.loads(Path(path).read_text())
    change(value)
    Path(path).write_text(json.dumps(value))


def test_T19_labels_are_those_at_the_position_that_an_id_gives(oia):
    source = open_bddoia(Path("oia"))
    assert source.names == DRIVING
    for split, part in (("train", source.train), ("val", source.val)):
        found = {name: row.tolist() for name, row in zip(part.names, part.targets)}
        assert found == oia[split]
        assert list(found) == sorted(found)


def test_T19_missing_and_confused_images_are_counted_and_named(oia):
    ended = call_tool(TOOL, *BDDOIA)
    assert ended.status == 0, ended.err
    assert "1 of 11 labelled images are not there and are left out: oia/data/train_04.jpg" in ended.err
    assert "left out 1 image of train_25k_images_actions.json, marked as confused" in ended.err
    results = results_of(TOOL, *BDDOIA)
    assert (results["images"], results["held_out"], results["missing"]) == (10, 6, 2)
    assert results["names"] == list(DRIVING)
    assert open_decision_model(results["checkpoint"]).names == DRIVING


@pytest.mark.parametrize(("place", "shown"), [(12, "id 12"), (-1, "id -1"), ("3", "id 3"), (None, "id None")])
def test_T19_an_id_out_of_range_is_refused(place, shown, oia):
    def change(value):
        value["images"][5]["id"] = place

    changed(ACTIONS, change)
    message = refusal_of(TOOL, *BDDOIA, "--quiet")
    assert f"{ACTIONS}: {shown} of train_" in message
    assert "not a position in its 12 annotations" in message
    assert not Path("out").exists()


def test_T39_held_out_images_that_are_trained_on_and_repeated_ones_are_counted(oia):
    changed(ACTIONS, lambda value: value["images"].append(dict(value["images"][0])))
    changed(ACTIONS.replace("train", "val"), lambda value: value["images"][0].update(file_name="train_00.jpg"))
    notes = call_tool(TOOL, *BDDOIA, "--output_dir", "out", "--dry_run").err
    assert "note: 1 held-out image also among the images to train on: " in notes
    assert "note: 1 image more than once in the labels: " in notes


def test_T39_one_table_for_both_parts_is_said(here):
    words = [word.replace("val/", "train/") for word in TINY]
    assert "note: 40 held-out images also among the images to train on" in call_tool(TOOL, *words, "--dry_run").err
    table = Path("train/truth.csv")
    table.write_text(table.read_text() + "./000.png,1,0\n")
    assert "stands in several rows" in refusal_of(TOOL, *TINY)


def test_T19_reasons_are_matched_by_position(oia):
    source = open_bddoia(Path("oia"), with_reasons=True)
    for name, row in zip(source.train.names, source.train.targets):
        number = int(Path(name).stem.removeprefix("train_"))
        assert row[4:].tolist() == [int(number == bit) for bit in range(21)]
    assert source.reasons == REASONS
    changed(REASON_FILE, lambda rows: rows[0].update(file_name="zzz.jpg"))
    renamed = open_bddoia(Path("oia"), with_reasons=True)
    assert any("bear another name" in note for note in renamed.notes)
    changed(REASON_FILE, lambda rows: rows.pop())
    with pytest.raises(InputError, match="a list of 12 reasons"):
        open_bddoia(Path("oia"), with_reasons=True)


@pytest.mark.parametrize(("category", "shown"), [([0, 1], "[0, 1]"), ([0, 1, 2, 0], "[0, 1, 2, 0]"), (None, "None"),
                                                 ([0, 1, 0, 0, 0, 0], "[0, 1, 0, 0, 0, 0]")])
def test_T19_labels_that_are_not_four_or_five_of_0_and_1_are_refused(category, shown, oia):
    changed(ACTIONS, lambda value: value["annotations"][2].update(category=category))
    assert f"is {shown}, expected 4 or 5 of 0 and 1" in refusal_of(TOOL, *BDDOIA, "--quiet")


def test_the_published_recipe_asks_for_imagenets_weights(oia):
    words = [word for word in BDDOIA if word not in ("--arch", "small")]
    message = refusal_of(TOOL, *words, "--preset", "bddoia")
    assert "download.pytorch.org/models/densenet121-a639ec97.pth" in message
    ended = call_tool(TOOL, "--bddoia", "oia", "--preset", "bddoia", "--imagenet_weights", "none", "--dry_run",
                      "--device", "cpu")
    assert ended.status == 0, ended.err
    assert "would train 7 steps at batch size 8 on 10 images" in ended.err  # five passes
    assert "densenet121 at 256x512" in ended.err


def test_an_attribute_with_one_value_only_is_named(here):
    text = Path("train/truth.csv").read_text().splitlines()
    Path("train/truth.csv").write_text("\n".join([text[0], *(f"{line[:-1]}1" for line in text[1:])]) + "\n")
    message = refusal_of(TOOL, *TINY, "--output_dir", "out")
    assert "attribute 'green' is 1 in all 40 images" in message
    assert train("--attributes", "red", "--steps", "3")["names"] == ["red"]


def test_tables(here):
    """Other columns are passed over, a column `split` divides, missing images are counted."""
    shutil.copytree("val", "both")
    for path in Path("train").glob("*.png"):
        shutil.copy(path, "both")
    lines = []
    for split in ("train", "val"):
        for row in Path(split, "truth.csv").read_text().split("\n")[1:-1]:
            file, red, green = row.split(",")
            lines.append(f"{file},{0.5 + int(red)},{'true' if red == '1' else 'False'},{green},{split}")
    Path("all.csv").write_text("\n".join(["image,weight,red,green,split", *lines, "gone.png,1,0,1,train"]) + "\n")
    words = ("--csv", "all.csv", "--images", "both", *TINY[4:], "--steps", "3")
    results = results_of(TOOL, *words, "--output_dir", "out")
    assert (results["images"], results["held_out"], results["missing"]) == (40, 21, 1)
    assert results["names"] == ["red", "green"]
    assert "no column 'gren'. Did you mean green?" in refusal_of(TOOL, *words, "--attributes", "gren")
    assert "'weight' of 000.png is '0.5', expected 0 or 1" in refusal_of(TOOL, *words, "--attributes", "weight")
    Path("all.csv").write_text(Path("all.csv").read_text().replace(",split", ",part"))
    shared = results_of(TOOL, *words, "--output_dir", "shared", "--val_share", "0.25")
    assert (shared["images"], shared["held_out"]) == (46, 15)


@pytest.mark.parametrize("divided", [True, False])
def test_class_folders(divided, own_folder):
    for number in range(30):
        split = ("val" if number % 5 == 0 else "train") if divided else "."
        folder = own_folder / "animals" / split / ("cat", "dog", "newt")[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(number % 3 == 0, number % 3 == 1, number)).save(folder / f"{number}.PNG")
    results = results_of(TOOL, "--data", "animals", *TINY[4:], "--output_dir", "out", "--pos_weight", "auto",
                         "--steps", "60", "--lr", "1e-2")
    assert results["names"] == ["cat", "dog", "newt"]
    assert results["held_out"] == (6 if divided else 3)
    assert results["top1_accuracy"] >= 0.6
    model = open_decision_model("out/checkpoint.tar")
    assert (model.kind, model.size) == ("classes", (16, 24))
    (own_folder / "animals" / "stray.png").write_bytes(b"")
    if not divided:
        assert "stray.png lies in no class folder" in refusal_of(TOOL, "--data", "animals", *TINY[4:])


def test_a_data_set_by_name(own_folder):
    results = results_of(TOOL, "--data", "digits", *TINY[4:], "--steps", "30", "--batch_size", "32", "--lr", "1e-2",
                         "--val_interval", "30", "--output_dir", "out")
    assert results["names"] == [str(digit) for digit in range(10)]
    assert (results["images"], results["held_out"]) == (1500, 297)
    assert results["top1_accuracy"] > 0.3


def test_flags_that_do_not_go_together(here):
    cases = {("--csv", "a.csv", "--data", "b"): "--csv and --data are given", (): "no images",
             ("--data", "digits", "--images", "a"): "--images: needs --csv",
             ("--csv", "train/truth.csv", "--reasons"): "--reasons: needs",
             ("--csv", "train/truth.csv", "--steps", "3", "--epochs", "2"): "--epochs: cannot be used with --steps",
             ("--csv", "train/truth.csv"): "at least 32 px a side, not 16 x 24",
             ("--csv", "train/truth.csv", "--size", "3x4x5"): "not a height and width",
             ("--csv", "train/truth.csv", "--arch", "small", "--batch_size", "4", "--accumulate", "3"): "at least 6",
             ("--csv", "absent.csv"): "absent.csv: no such file",
             ("--csv", "train/truth.csv", "--images", "absent"): "absent: no such folder",
             ("--csv", "train/truth.csv", "--images", "val"): "no image to train on",
             ("--csv", "train/truth.csv", "--arch", "resnet18", "--imagenet_weights", "a.pth"): "resnet18-f37072fd.pth"}
    for words, what in cases.items():
        assert what in refusal_of(TOOL, *words, "--device", "cpu", "--quiet"), words
        assert not Path("out").exists()


def test_T13_T14_any_picture_is_brought_to_rgb_and_size(own_folder):
    write_odd_pictures(own_folder / "odd" / "a")
    (own_folder / "odd" / "b").mkdir()
    for path in sorted((own_folder / "odd" / "a").iterdir())[::2]:
        path.rename(own_folder / "odd" / "b" / path.name)
    words = ("--data", "odd", *TINY[4:], "--size", "16x24", "--steps", "6")  # five batches are all images
    results = results_of(TOOL, *words, "--output_dir", "squash")
    assert results["images"] + 4 == 40
    assert results["damaged"] == 3
    ended = call_tool(TOOL, *words, "--fit", "cover", "--output_dir", "cover")
    assert "3 images cannot be read" in ended.err
    assert "1 not turned as Exif says" in ended.err
    for fit in ("squash", "cover"):
        assert open_decision_model(f"{fit}/checkpoint.tar").transform == SquashOrCrop(16, 24, fit, "bicubic")


def test_T14_the_pixels_are_pillows_own(own_folder):
    """Squashed: what resize makes of the stored pixels, unturned, to one grey level."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(1, 1, 0, (90, 160))).save("turned.jpg", exif=exif)
    part = LabelledFiles(own_folder, ["turned.jpg"], np.zeros((1, 2), np.uint8))
    pixels = part.open(SquashOrCrop(32, 64, "squash", "bicubic"), 1).read([0])[0][0]
    expected = np.asarray(Image.open("turned.jpg").convert("RGB").resize((64, 32), Image.Resampling.BICUBIC))
    assert abs(pixels.astype(int) - expected).max() <= 1


def test_A2_class_folders_that_are_numbers_are_in_the_order_of_the_numbers(own_folder):
    for number in (10, 9, 1):
        for place in range(3):
            path = own_folder / "numbers" / str(number) / f"{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(1, 0, place)).save(path)
    options = DecisionOptions(data="numbers", val_share=0.4)
    assert open_classes(options).names == ("1", "9", "10")
    with pytest.raises(InputError, match="would be read as images"):
        open_classes(replace(options, output_dir="numbers/out"))


@pytest.mark.parametrize(("rows", "words", "message"), [
    ("000.png,1,0\n001.png,0,1\n000.png,0,1\n", (), "'000.png' stands in several rows"),
    ("000.png,1,0\n001.png,0,1\n", ("red", "red"), "--attributes: names a column twice")])
def test_an_image_or_a_column_that_is_named_twice_is_refused(here, rows, words, message):
    Path("train/twice.csv").write_text("file,red,green\n" + rows)
    with pytest.raises(InputError, match=message):
        open_table(DecisionOptions(csv="train/twice.csv", attributes=[*words]))


def test_A1_attributes_of_one_name_are_told_apart(own_folder):
    model = build_decision_model(DecisionConfig("small", ("car", "sky", "car"), (16, 16), width=2))
    write_decision_model("twice.tar", model, 0, 1.0, {})
    assert open_decision_model("twice.tar").names == ("car_0", "sky", "car_2")
