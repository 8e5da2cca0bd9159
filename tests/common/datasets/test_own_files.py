"""The user's own images: folders, .zip and .npz."""

import io
import multiprocessing
import os
import pickle
import zipfile

import numpy as np
import pytest
from PIL import Image

from common.datasets import open_dataset
from common.datasets.sets.imageset import CompressedImages
from common.datasets.sets.npz import MappedArray, open_npz
from common.errors import InputError
from tests.common.datasets.makers import pixels, png

IMAGES = pixels(30, side=8)


def write_folder(root, images=IMAGES, prefix=""):
    for number, image in enumerate(images):
        path = root / prefix / f"{number // 10}" / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(image))
    return root


def write_zip(path, images=IMAGES, prefix="", method=zipfile.ZIP_STORED, mode="w"):
    with zipfile.ZipFile(path, mode, method) as archive:
        for number, image in reversed(list(enumerate(images))):
            archive.writestr(f"{prefix}{number // 10}/{number:03d}.png", png(image))
    return path


def everything(name, split, **arguments):
    images = open_dataset(name, split, **arguments)
    return images.read(np.arange(len(images)))


def as_set(images):
    return {image.tobytes() for image in images}


@pytest.mark.parametrize("container", ["folder", "zip", "npz", "npz compressed", "npy"])
def test_a_tenth_is_test_disjoint_and_the_same_in_every_container(tmp_path, container):
    path = tmp_path / "mine"
    if container == "folder":
        write_folder(path)
    elif container == "zip":
        path = write_zip(tmp_path / "mine.zip")
    else:
        path = tmp_path / f"mine.{container[:3]}"
        save = {"npz": np.savez, "npz compressed": np.savez_compressed}.get(container)
        save(path, images=IMAGES, labels=np.arange(30)) if save else np.save(path, IMAGES)
    train, test = everything(path, "train"), everything(str(path), "test")
    assert (len(train), len(test)) == (27, 3)
    assert as_set(train) | as_set(test) == as_set(IMAGES)
    rows = np.flatnonzero([image.tobytes() in as_set(test) for image in IMAGES])
    np.testing.assert_array_equal(test, IMAGES[rows])  # in the order of the files
    np.testing.assert_array_equal(rows, np.sort(np.random.RandomState(0).permutation(30)[-3:]))
    labels = open_dataset(path, "test").labels
    assert labels is None if not container.startswith("npz") else labels.tolist() == rows.tolist()
    assert open_dataset(path, "test").name == "mine"


@pytest.mark.parametrize("top", ["", "set/"])
@pytest.mark.parametrize("test_name", ["test", "Validation"])
def test_folders_train_and_test_are_the_splits(tmp_path, top, test_name):
    folder = tmp_path / "folder"
    for prefix, part in (("train", IMAGES[:20]), (test_name, IMAGES[20:])):
        write_folder(folder, part, f"{top}{prefix}")
        write_zip(tmp_path / "a.zip", part, f"{top}{prefix}/", mode="a")
    for path in (folder, tmp_path / "a.zip"):
        np.testing.assert_array_equal(everything(path, "train"), IMAGES[:20])
        np.testing.assert_array_equal(everything(path, "test"), IMAGES[20:])


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "webp", "bmp", "png"])
def test_all_formats_are_found_and_hidden_files_are_not(tmp_path, suffix):
    smooth = np.tile(np.arange(0, 256, 32, dtype=np.uint8)[:, None, None], (1, 8, 3))
    for number in range(2):
        Image.fromarray(smooth).save(tmp_path / f"{number}.{suffix}", quality=95)
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    got = everything(tmp_path, "train")
    assert got.shape == (1, 8, 8, 3)
    assert abs(got[0].astype(int) - smooth).max() <= 12


def test_zip_passes_over_hidden_entries(tmp_path):
    path = write_zip(tmp_path / "a.zip", IMAGES[:4])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/0/._000.png", b"")
        archive.writestr("dataset.json", "{}")
    assert len(open_dataset(path, "train")) == 3


def test_links_to_folders_are_followed_and_loops_end(tmp_path):
    write_folder(tmp_path / "real", IMAGES[:4])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real")
    assert len(open_dataset(tmp_path / "mine", "train")) == 3


@pytest.mark.parametrize("kind", ["L", "LA", "RGBA", "P", "1", "CMYK", "I;16"])
def test_other_colour_types_become_rgb(tmp_path, kind):
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    if kind == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) << 8 | 77)
    elif kind in ("L", "LA", "1"):
        image = Image.fromarray(grey).convert(kind)
    else:
        image = Image.fromarray(np.stack([grey] * 3, -1)).convert(kind)
    suffix = "jpg" if kind == "CMYK" else "png"
    for number in range(2):
        image.save(tmp_path / f"{number}.{suffix}")
    (got,) = everything(tmp_path, "train")
    assert got.shape == (8, 8, 3)
    if kind not in ("1", "CMYK", "P"):
        np.testing.assert_array_equal(got, np.stack([grey] * 3, -1))


def test_mixed_sizes_name_the_first_odd_one_unless_a_size_is_given(tmp_path):
    write_folder(tmp_path, IMAGES[:10], "train")
    write_folder(tmp_path, IMAGES[:2], "test")
    for number in (4, 7):
        Image.fromarray(pixels(1, 16)[0][:12]).save(tmp_path / "train" / "0" / f"{number:03d}.png")
    with pytest.raises(InputError, match=r"004\.png: image is 16 x 12 .* expected 8 x 8 as .*000\.png.*Pass a size"):
        open_dataset(tmp_path, "train")
    got = everything(tmp_path, "train", size=8)
    np.testing.assert_array_equal(got[:4], IMAGES[:4])
    assert got.shape == (10, 8, 8, 3)


def test_odd_sizes_behind_the_headers_looked_at_are_found_when_read(tmp_path, monkeypatch):
    monkeypatch.setattr(CompressedImages, "HEADERS", 2)
    write_folder(tmp_path, IMAGES[:10])
    for path in tmp_path.glob("0/00[3-9].png"):
        path.write_bytes(png(pixels(1, 16)[0]))
    images = open_dataset(tmp_path, "train")
    with pytest.raises(InputError, match="16 x 16"):
        images.read(np.arange(len(images)))


def test_size_resizes_the_shorter_side_and_cuts_the_centre(tmp_path):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 200  # the middle third is exactly what remains of a square
    tall = wide.transpose(1, 0, 2).copy()
    for number, image in enumerate((wide, tall, wide, tall)):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    for split in ("train", "test"):
        got = everything(tmp_path, split, size=10)
        assert got.shape[1:] == (10, 10, 3)
        assert (got[:, 2:-2, 2:-2] == 200).all()
    pillow = Image.fromarray(wide).resize((30, 10), Image.Resampling.BICUBIC).crop((10, 0, 20, 10))
    assert pillow.tobytes() in as_set(everything(tmp_path, "train", size=10))
    assert everything(tmp_path, "train", size=(10, 30)).shape[1:] == (10, 30, 3)
    assert everything(tmp_path, "train", size=(40, 25)).shape[1:] == (40, 25, 3)


@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_an_unreadable_image_is_named(tmp_path, damage):
    write_folder(tmp_path, pixels(10, 32))
    for path in tmp_path.rglob("*.png"):
        data = path.read_bytes()
        path.write_bytes({"truncated": data[: len(data) // 2], "empty": b"", "text": b"hello"}[damage])
    write_zip(tmp_path / "a.zip", pixels(2, 32))
    with pytest.raises(InputError, match=r"\d\.png: not a readable image"):
        everything(tmp_path, "train")


def test_a_file_removed_meanwhile_is_named(tmp_path):
    images = open_dataset(write_folder(tmp_path, IMAGES[:4]), "train")
    for path in tmp_path.rglob("*.png"):
        path.unlink()
    with pytest.raises(InputError, match=r"\.png: no such file"):
        images.read([0])


def test_empty_places_are_input_errors(tmp_path):
    (tmp_path / "empty").mkdir()
    zipfile.ZipFile(tmp_path / "empty.zip", "w").close()
    for name in ("empty", "empty.zip"):
        with pytest.raises(InputError, match="no image found"):
            open_dataset(tmp_path / name, "train")
    with pytest.raises(InputError, match="one image found"):
        open_dataset(write_folder(tmp_path / "one", IMAGES[:1]), "train")
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(InputError, match="neither a folder nor"):
        open_dataset(tmp_path / "a.txt", "train")


def test_broken_zips_are_named(tmp_path):
    path = write_zip(tmp_path / "a.zip", pixels(10, 32), method=zipfile.ZIP_DEFLATED)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"a\.zip: cannot be read"):
        open_dataset(path, "train")
    damaged = bytearray(whole)
    damaged[200:20000] = bytes(19800)
    path.write_bytes(bytes(damaged))
    with pytest.raises(InputError, match=r"a\.zip: 0/00\d\.png"):
        everything(path, "train")


def read_in_child(images, queue):
    queue.put(images.read([1, 0]))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_zips_are_read_from_several_processes(tmp_path, start):
    images = open_dataset(write_zip(tmp_path / "a.zip", method=zipfile.ZIP_DEFLATED), "train")
    expected = images.read([1, 0])
    context = multiprocessing.get_context(start)
    queue = context.Queue()
    children = [context.Process(target=read_in_child, args=(images, queue)) for _ in range(2)]
    for child in children:
        child.start()
    for _ in children:
        np.testing.assert_array_equal(queue.get(timeout=30), expected)
    for child in children:
        child.join()
    np.testing.assert_array_equal(images.read([1, 0]), expected)


def test_fingerprints_follow_the_contents(tmp_path):
    folder, archive, npz = write_folder(tmp_path / "a"), write_zip(tmp_path / "a.zip"), tmp_path / "a.npz"
    np.savez(npz, images=IMAGES)
    before = [open_dataset(path, "train").fingerprint() for path in (folder, archive, npz)]
    assert before == [open_dataset(path, "train").fingerprint() for path in (folder, archive, npz)]
    assert str(tmp_path) not in str(before)
    changed = IMAGES.copy()
    changed[:, 0] = 0
    write_folder(folder, changed)
    write_zip(archive, changed)
    np.savez(npz, images=changed)
    after = [open_dataset(path, "train").fingerprint() for path in (folder, archive, npz)]
    assert all(old != new for old, new in zip(before, after))


@pytest.mark.parametrize("key", ["images", "samples", "data", "arr_0", "x"])
@pytest.mark.parametrize("label_key", ["labels", "label", "y", None])
@pytest.mark.parametrize("layout", ["NHWC", "NCHW", "grey NHWC", "grey NCHW", "fortran"])
def test_npz_keys_and_layouts(tmp_path, key, label_key, layout):
    stored = IMAGES[..., :1] if layout.startswith("grey") else IMAGES
    expected = stored
    stored = stored.transpose(0, 3, 1, 2) if layout.endswith("NCHW") else stored
    stored = np.asfortranarray(stored) if layout == "fortran" else stored
    labels = np.arange(30, dtype=np.int32)[:, None]
    np.savez(tmp_path / "a.npz", **{key: stored, **({label_key: labels} if label_key else {})})
    train = open_dataset(tmp_path / "a.npz", "train")
    rows = np.sort(np.random.RandomState(0).permutation(30)[:-3])
    np.testing.assert_array_equal(train.read(np.arange(27)), expected[rows])
    assert (train.labels is None) if label_key is None else train.labels.tolist() == rows.tolist()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(train)).read([2, 1]), expected[rows[[2, 1]]])


def test_uncompressed_npz_is_mapped_not_loaded(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES)
    images = open_npz(tmp_path / "a.npz", "train")
    assert isinstance(images._parts[0], MappedArray)
    images.read([0])
    assert len(pickle.dumps(images)) < 3000


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(("arrays", "text"), [
    ({"pictures": IMAGES}, "the file has pictures"),
    ({"images": IMAGES / 255}, "images are float64 (30, 8, 8, 3), expected uint8"),
    ({"images": IMAGES[0]}, "(8, 8, 3), expected uint8"),
    ({"images": IMAGES[..., :2]}, "expected 1 or 3 channels"),
    ({"images": IMAGES[:0]}, "(0, 8, 8, 3), expected"),
    ({"images": IMAGES[:1]}, "one image found"),
    ({"images": IMAGES, "labels": np.arange(29)}, "'labels' is int64 (29,), expected 30 integers"),
    ({"images": IMAGES, "y": np.zeros(30)}, "'y' is float64"),
    ({"images": IMAGES, "y": np.array(3)}, "'y' is int64 ()"),
    ({"images": np.array([None, {}])}, "object"),
])
def test_unexpected_npz_contents_are_input_errors(tmp_path, save, arrays, text):
    save(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError) as caught:
        open_dataset(tmp_path / "a.npz", "train")
    assert text in str(caught.value)
    assert "a.npz" in str(caught.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_truncated_npz_is_named(tmp_path, save):
    path = tmp_path / "a.npz"
    save(path, images=IMAGES)
    whole = path.read_bytes()
    for length in (0, 10, 100, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"a\.npz"):
            everything(path, "train")


def test_a_truncated_npy_is_named(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, IMAGES)
    os.truncate(path, 1000)
    with pytest.raises(InputError, match=r"a\.npy: not a complete .npy array .* has 872 of 5,760 bytes"):
        open_dataset(path, "train")


@pytest.mark.parametrize("count", [29, 31])
def test_an_array_whose_header_says_another_number_of_images_is_named(tmp_path, count):
    """In place, an image more would be read from what the file has next."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (count, 8, 8, 3)})
    data = header.getvalue() + IMAGES.tobytes()
    (tmp_path / "own.npy").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as archive:
        archive.writestr("images.npy", data)
        archive.writestr("more.npy", data)
    for path in (tmp_path / "own.npy", tmp_path / "own.npz"):
        with pytest.raises(InputError, match=rf"{path.name}.*not a complete .npy array .an array uint8 .{count}, 8, 8"):
            open_dataset(str(path), "train")
