"""Images from every kind of place: which ones, in which order, as which pixels."""

import errno
import os
import random

import numpy as np
import pytest
from PIL import Image

from common.errors import InputError
from common.features import content
from common.features.content import content_hashes
from common.features.sources import open_images
from tests.common.metrics.pictures import picture, write_folder, write_odd_folder, write_zip


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENPROBE_CACHE", str(tmp_path / "cache"))


def all_pixels(images):
    return [images.load(index) for index in range(len(images))]


def test_a_folder_is_taken_in_the_string_order_of_its_paths(tmp_path):
    folder = write_folder(tmp_path / "real")
    images = open_images(folder)
    expected = sorted(str(path) for path in folder.rglob("*.png"))
    assert [images.title(index) for index in range(len(images))] == expected
    np.testing.assert_array_equal(images.load(0), picture(0))


def test_the_chosen_subset_is_that_of_pythons_shuffle(tmp_path):
    folder = write_folder(tmp_path / "real")
    names = sorted(str(path) for path in folder.rglob("*.png"))
    random.Random(0).shuffle(names)
    images = open_images(folder, 5, shuffle=True)
    assert [images.title(index) for index in range(len(images))] == names[:5]


def test_a_zip_holds_the_same_images_as_its_folder(tmp_path):
    folder = write_folder(tmp_path / "real")
    packed = open_images(write_zip(tmp_path / "real.zip", folder))
    for ours, theirs in zip(all_pixels(packed), all_pixels(open_images(folder)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_folder_called_like_a_zip_is_a_folder(tmp_path):
    assert len(open_images(write_folder(tmp_path / "data.zip_extracted"))) == 12
    assert len(open_images(write_folder(tmp_path / "data.zip"))) == 12


def test_every_kind_of_file_is_an_rgb_image_or_says_why_not(tmp_path):
    readable, broken = write_odd_folder(tmp_path / "odd")
    images = open_images(tmp_path / "odd")
    found, reasons = {}, {}
    for index in range(len(images)):
        name = images.title(index).rpartition("/")[2]
        try:
            found[name] = images.load(index)
        except InputError as error:
            reasons[name] = str(error)
    assert (len(found), len(reasons)) == (readable, broken)
    assert set(reasons) == {"broken.jpg", "short.png"}
    assert all(image.ndim == 3 and image.shape[2] == 3 for image in found.values())
    np.testing.assert_array_equal(found["rgb.PNG"], picture(1))
    np.testing.assert_array_equal(found["alpha.png"], picture(1))
    np.testing.assert_array_equal(found["float.npy"], picture(3).astype(np.float32))
    assert found["wide.webp"].shape == (7, 31, 3)
    sixteen = (np.arange(320, dtype=np.uint16) * 200).reshape(16, 20) >> 8
    np.testing.assert_array_equal(found["sixteen.png"][..., 1], sixteen)


def test_arrays_sample_files_and_data_sets(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=pixels)
    np.save(tmp_path / "images.npy", pixels.transpose(0, 3, 1, 2))
    for division in (0, 1, 10):
        (tmp_path / "run" / str(division)).mkdir(parents=True)
        np.savez(tmp_path / "run" / str(division) / "samples_0.npz", samples=pixels + division, nfe=3)
    for name in ("images.npz", "images.npy"):
        images = open_images(tmp_path / name)
        assert len(images) == 5
        np.testing.assert_array_equal(images.load(3), np.repeat(pixels[3], 3, axis=2))
    samples = open_images(tmp_path / "run")
    assert len(samples) == 15
    # divisions by number, not by letter
    np.testing.assert_array_equal(samples.load(14)[..., 0], (pixels + 10)[4, ..., 0])
    assert len(open_images("digits", split="test")) == 297
    assert open_images("digits", 7).load(6).shape == (8, 8, 3)


def test_the_identity_follows_contents_not_places(tmp_path):
    folder = write_folder(tmp_path / "real")
    first = open_images(folder).identity()
    folder.rename(tmp_path / "moved")
    assert open_images(tmp_path / "moved").identity() == first
    changed = tmp_path / "moved" / "000.png"
    Image.fromarray(picture(99)).save(changed)
    assert open_images(tmp_path / "moved").identity() != first
    assert open_images(tmp_path / "moved", 3).identity() != open_images(tmp_path / "moved").identity()


def test_a_file_is_hashed_once_until_it_changes(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "real")
    first = content_hashes(open_images(folder)._store)
    monkeypatch.setattr("common.features.content._hash", lambda path: pytest.fail(f"{path} was read again"))
    assert content_hashes(open_images(folder)._store) == first
    (tmp_path / "cache" / "hashes").joinpath(next((tmp_path / "cache" / "hashes").iterdir()).name).write_text("[broken")
    monkeypatch.undo()
    monkeypatch.setenv("GENPROBE_CACHE", str(tmp_path / "cache"))
    assert content_hashes(open_images(folder)._store) == first


def test_M2_a_rewrite_of_the_same_size_and_time_is_another_image(tmp_path):
    for name, seed in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        for number in range(3):
            np.save(tmp_path / name / f"{number}.npy", picture(seed + 10 * number))
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "a").iterdir()}
    first, other = (open_images(tmp_path / name).identity() for name in "ab")
    for path in (tmp_path / "b").iterdir():  # as tar, unzip and rsync leave files
        (tmp_path / "a" / path.name).write_bytes(path.read_bytes())
        os.utime(tmp_path / "a" / path.name, ns=(times[path.name],) * 2)
    assert open_images(tmp_path / "a").identity() == other != first


def test_M2_a_file_that_could_not_be_read_is_read_the_next_time(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "real")
    monkeypatch.setenv("GENPROBE_CACHE", str(tmp_path / "other"))
    whole = content_hashes(open_images(folder)._store)
    monkeypatch.setenv("GENPROBE_CACHE", str(tmp_path / "cache"))
    with monkeypatch.context() as patch:
        patch.setattr("common.features.content._hash", refuse_zero(content._hash))
        assert content_hashes(open_images(folder)._store) == ["unreadable", *whole[1:]]
    assert content_hashes(open_images(folder)._store) == whole


def refuse_zero(function):
    """Return a function of a path that is not allowed to read 000.png."""

    def refuse(path):
        if str(path).endswith("000.png"):
            raise PermissionError(errno.EACCES, "refused", str(path))
        return function(path)

    return refuse


@pytest.mark.parametrize(("make", "what"), [
    (lambda path: path.mkdir(), "no images here"),
    (lambda path: path.write_text("x"), "neither a folder"),
    (lambda path: None, "no such folder, file or data set"),
    (lambda path: np.save(path.with_name("given.npy"), np.zeros((2, 3))), "expected uint8"),
])
def test_places_that_hold_no_images(tmp_path, make, what):
    place = tmp_path / "given"
    make(place)
    place = tmp_path / "given.npy" if (tmp_path / "given.npy").exists() else place
    with pytest.raises(InputError, match=what):
        open_images(place)
