"""Images at a network's size: splits, odd pictures, replaced ones, full batches."""

import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from common.datasets.prepared import Rows, open_prepared, to_network
from common.errors import InputError
from common.images.squash import SquashOrCrop, check_same, for_network, from_description
from tests.common.datasets.odd_pictures import DAMAGED, scene, write_odd_pictures

SQUARE, WIDE = for_network(32), for_network(32, 2)


def expected(image, size, fit):
    """Return what PIL makes of an image: written down apart from the code that is tested."""
    height, width = size
    if fit == "squash":
        return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))
    scale = max(height / image.height, width / image.width)
    big = image.resize((max(width, int(image.width * scale + 1e-9)), max(height, int(image.height * scale + 1e-9))),
                       Image.Resampling.LANCZOS)
    left, top = round((big.width - width) / 2), round((big.height - height) / 2)
    return np.asarray(big.crop((left, top, left + width, top + height)))


def small(seed):
    return scene(np.random.default_rng(seed), 12, 9)


def test_a_pipe_is_an_image_that_cannot_be_read(tmp_path):
    for number in range(2):
        small(number).save(tmp_path / f"{number}.png")
    os.mkfifo(tmp_path / "pipe.png")
    images = open_prepared(tmp_path, "train", SQUARE)
    assert images.read([0, 1, 2])[1].tolist() == [True, True, False]
    assert images.fingerprint()["count"] == 3


def test_outputs_are_refused_where_they_would_be_read_as_images(tmp_path):
    for place in ("flat/a.png", "split/train/a.png", "split/val/b.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        small(0).save(tmp_path / place)
    flat, split = (open_prepared(tmp_path / name, "train", SQUARE) for name in ("flat", "split"))
    for images, place in ((flat, "flat"), (flat, "flat/out/run"), (split, "split/train/out"), (split, "split/val")):
        with pytest.raises(InputError, match="would be read as images"):
            images.check_apart(tmp_path / place)
    for images, place in ((flat, "out"), (flat, "flat/../flat2"), (flat, "flat/.hidden/out"), (split, "split/out")):
        images.check_apart(tmp_path / place)
    (tmp_path / "link").symlink_to(tmp_path / "flat")
    with pytest.raises(InputError, match="Choose another folder"):
        flat.check_apart(tmp_path / "link" / "out")


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd") / "pictures"
    return folder, write_odd_pictures(folder)


@pytest.mark.parametrize(("transform", "fit"),
                         [(SQUARE, "cover"), (WIDE, "squash"), (for_network(32, 2, "cover"), "cover")])
def test_T13_every_odd_picture_is_brought_to_rgb_and_size_as_pil_does(odd, transform, fit):
    folder, readable = odd
    images = open_prepared(folder, "train", transform)
    images.check()
    pixels, good = images.read(np.arange(len(images)))
    assert len(images) == 40
    assert pixels.shape == (40, *transform.size, 3)
    assert sorted(images.title(number) for number in images.damaged) == sorted(DAMAGED)
    for number in np.flatnonzero(good):
        wanted = expected(readable[images.title(number)], transform.size, fit).astype(int)
        assert np.abs(pixels[number] - wanted).max() <= 1, images.title(number)


def test_T14_exif_orientation_is_left_as_stored_and_counted(odd, capsys):
    images = open_prepared(odd[0], "train", WIDE)
    images.note_changes()
    note = capsys.readouterr().err
    assert "1 not turned as Exif says" in note
    assert "first frame taken" in note
    assert "16 bits cut to 8" in note


def test_unreadable_images_are_replaced_and_named_once(odd, capsys):
    images = open_prepared(odd[0], "train", SQUARE)
    rows = Rows(images, 0, 8, flip=True)
    drawn = {int(number) for step in range(1, 16) for number in rows.pixels(step, 0, 8)[1]}
    assert len(images.damaged) == 3
    assert not drawn & images.damaged
    assert capsys.readouterr().err.count("another image is drawn") == 3


def test_the_same_pictures_in_a_zip_give_the_same_pixels(odd, tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted(odd[0].iterdir()):
            archive.write(path, path.name)
    both = [open_prepared(place, "train", SQUARE) for place in (odd[0], tmp_path / "set.zip")]
    assert np.array_equal(*(images.read(np.arange(40))[0] for images in both))


def test_T10_a_set_of_33_makes_full_batches_of_16(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "set.npz", images=rng.integers(0, 256, (33, 32, 64, 3), dtype=np.uint8))
    images = open_prepared(tmp_path / "set.npz", "train", WIDE)
    rows = Rows(images, 0, 16)
    numbers = np.concatenate([rows.numbers(step, 0, 16) for step in range(1, 34)])
    assert len(images) == 33
    assert len(numbers) == 33 * 16
    assert all(sorted(numbers[start : start + 33]) == list(range(33)) for start in range(0, len(numbers), 33))
    batch = rows(3, 0, 16)
    assert batch.shape == (16, 3, 32, 64)
    assert batch.min() >= -1
    assert batch.max() <= 1
    assert np.array_equal(np.concatenate([rows(3, 0, 5), rows(3, 5, 16)]), batch)


def test_rows_are_flipped_by_seed_step_and_row_alone(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "set.npy", rng.integers(0, 256, (50, 32, 32, 3), dtype=np.uint8))
    images = open_prepared(tmp_path / "set.npy", "train", SQUARE)
    plain, flipped = Rows(images, 3, 64), Rows(images, 3, 64, flip=True)
    ours, (theirs, _) = plain.pixels(1, 0, 64)[0], flipped.pixels(1, 0, 64)
    turned = [np.array_equal(one[:, ::-1], other) for one, other in zip(ours, theirs)]
    same = [np.array_equal(one, other) for one, other in zip(ours, theirs)]
    assert all(a != b for a, b in zip(turned, same))
    assert 16 < sum(turned) < 48
    assert np.array_equal(flipped.pixels(1, 20, 40)[0], theirs[20:40])
    assert np.array_equal(images.read(np.arange(50))[0], np.load(tmp_path / "set.npy"))  # flips are of copies


@pytest.mark.parametrize(("folders", "split", "names"), [
    (("train", "val", "test"), "val", ["val"]), (("train", "validate", "test"), "val", ["validate"]),
    (("train", "validation"), "test", ["validation"]), (("train", "test"), "val", ["test"]),
    (("train", "val", "test"), "train", ["train"]), (("train",), "train", ["train"]),
    (("cats", "dogs"), "train", ["cats", "dogs"])])
def test_splits_of_folders(tmp_path, folders, split, names):
    for folder in folders:
        (tmp_path / folder).mkdir()
        for number in range(3):
            scene(np.random.default_rng(number), 32, 32).save(tmp_path / folder / f"{number}.png")
    images = open_prepared(tmp_path, split, SQUARE)
    assert sorted({images.title(number).split("/")[0] for number in range(len(images))}) == names
    assert len(images) == 3 * len(names)


def test_a_tenth_is_held_out_of_a_set_without_splits_only_when_asked_for(tmp_path):
    (tmp_path / "train").mkdir()
    for number in range(20):
        scene(np.random.default_rng(number), 32, 32).save(tmp_path / "train" / f"{number}.png")
    for place in (tmp_path, tmp_path / "train"):
        parts = [open_prepared(place, split, SQUARE, hold_out=True) for split in ("train", "val")]
        names = [{part.title(number) for number in range(len(part))} for part in parts]
        assert [len(part) for part in parts] == [18, 2]
        assert not names[0] & names[1]
        assert len(open_prepared(place, "train", SQUARE)) == 20
        with pytest.raises(InputError, match="no folder val"):
            open_prepared(place, "val", SQUARE)


def test_sets_without_an_image_and_with_none_that_can_be_read_are_refused(tmp_path):
    with pytest.raises(InputError, match="no image found"):
        open_prepared(tmp_path, "train", SQUARE)
    for number in range(3):
        (tmp_path / f"{number}.png").write_text("no picture")
    with pytest.raises(InputError, match="can be read"):
        open_prepared(tmp_path, "train", SQUARE).check()


def test_grey_sets_by_name_are_enlarged_and_made_rgb():
    images = open_prepared("digits", "train", for_network(16))
    pixels, good = images.read([0, 5])
    assert pixels.shape == (2, 16, 16, 3)
    assert good.all()
    assert (pixels[..., 0] == pixels[..., 2]).all()
    assert to_network(pixels).dtype.is_floating_point


@pytest.mark.parametrize("size", [(1, 4000), (4000, 1), (1, 1), (3, 5000)])
def test_extreme_proportions_take_no_more_memory_than_the_result(size, monkeypatch):
    asked, resize = [], Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda image, wanted, *rest: asked.append(wanted)
                        or resize(image, wanted, *rest))
    assert SQUARE(Image.new("RGB", size)).size == (32, 32)
    assert max(width * height for width, height in asked) <= 16 * 32 * 32


def test_T38_the_transform_is_stored_and_compared():
    assert from_description(WIDE.describe(), "file") == WIDE
    assert SquashOrCrop(32, 32, "cover").describe() == SquashOrCrop(32, 32, "squash").describe()
    with pytest.raises(InputError, match="width 64, those of the generator with 32"):
        check_same(WIDE.describe(), SQUARE.describe(), "encoder.pt", "the generator")
    with pytest.raises(InputError, match="not one of ours"):
        from_description({**WIDE.describe(), "fit": "stretch"}, "file")
