"""Trees and zips of pictures: order, classes, three preparations, damaged and odd files."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from common.datasets.imagenet.lmdb import LmdbImages
from common.datasets.imagenet.tree import ImageTree
from common.errors import InputError
from common.images.network_size import decode_image, prepare_image, resize_planes
from tests.common.datasets.imagenet_files import jpeg, write_tree, zip_tree


def test_folder_and_zip_hold_the_same(tmp_path):
    good = write_tree(tmp_path / "tree")
    zip_tree(tmp_path / "tree", tmp_path / "tree.zip")
    folder, packed = ImageTree(tmp_path / "tree", "val"), ImageTree(tmp_path / "tree.zip", "val")
    assert folder.names == packed.names == sorted([*good, "val/n03255030/broken.JPEG"])
    assert folder.classes.tolist() == [0, 0, 278, 278, 543, 543]
    assert folder.identity() == packed.identity()
    for number, name in enumerate(folder.names):
        if name in good:
            np.testing.assert_array_equal(folder.prepared(number, 8, "squash")[0],
                                          packed.prepared(number, 8, "squash")[0])
        else:
            with pytest.raises(InputError, match="broken.JPEG"):
                folder.load(number)


def test_folders_of_other_names(tmp_path):
    for name in ("zebra", "ant"):
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "train" / name / "a.png").write_bytes(jpeg(form="PNG"))
    tree = ImageTree(tmp_path, "train", "any")
    assert tree.classes.tolist() == [0, 1]
    assert tree.class_names == {0: "ant", 1: "zebra"}
    with pytest.raises(InputError, match="no class folder is a synset"):
        ImageTree(tmp_path, "train")
    with pytest.raises(InputError, match="split directory not found"):
        ImageTree(tmp_path, "val")
    (tmp_path / "train" / "n01440764").mkdir()
    (tmp_path / "train" / "n01440764" / "a.JPEG").write_bytes(jpeg())
    (note,) = ImageTree(tmp_path, "train").notes
    assert note == "warning: skipped 2 images in folders that are not synsets (ant, zebra)"


def test_trees_without_splits(tmp_path):
    write_tree(tmp_path / "tree", split="val")
    (tmp_path / "tree" / "val" / "loose.png").write_bytes(jpeg(form="PNG"))
    tree = ImageTree(tmp_path / "tree" / "val", None, "any")
    assert (tree.names[0], tree.names[-1], len(tree)) == ("loose.png", "n03255030/e.JPEG", 7)
    assert tree.class_names == {0: "", 1: "n01440764", 2: "n02119789", 3: "n03255030"}
    zip_tree(tmp_path / "tree", tmp_path / "tree.zip")
    assert [name.split("val/")[-1] for name in ImageTree(tmp_path / "tree.zip", None).names] == tree.names


def test_labels_of_the_dataset_tools_go_before_folders(tmp_path):
    for name in ("00000/a.png", "00000/b.png", "00001/c.png", "00001/d.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(jpeg(form="PNG"))
    told = tmp_path / "set" / "dataset.json"
    told.write_text('{"labels": [["00001/c.png", 0], ["00000/a.png", 5], ["00000/b.png", 0]]}')
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted((tmp_path / "set").rglob("*.*")):
            archive.write(path, path.relative_to(tmp_path / "set"))
    for place in ("set", "set.zip"):
        tree = ImageTree(tmp_path / place, None, "any")
        assert tree.classes.tolist() == [5, 0, 0, -1]
        assert tree.class_names == {0: "class_0", 5: "class_5"}
        assert tree.notes == ["warning: skipped 1 image without a label in dataset.json (00001/d.png)"]
    told.write_text('{"labels": null}')
    assert ImageTree(tmp_path / "set", None, "any").classes.tolist() == [0, 0, 1, 1]
    for text in ("[]", '{"labels": [["00000/a.png", [1]]]}', '{"labels": 3}', "{",
                 '{"labels": {"00000/a.png": 1, "00000/a.png": 2}}'):
        told.write_text(text)
        with pytest.raises(InputError, match="dataset.json"):
            ImageTree(tmp_path / "set", None, "any")


def test_damaged_zips_are_refused(tmp_path):
    write_tree(tmp_path / "tree")
    zip_tree(tmp_path / "tree", tmp_path / "tree.zip")
    (tmp_path / "cut.zip").write_bytes((tmp_path / "tree.zip").read_bytes()[:500])
    with pytest.raises(InputError, match="not a complete zip"):
        ImageTree(tmp_path / "cut.zip", "val")
    with pytest.raises(InputError, match="no images below train/"):
        ImageTree(tmp_path / "tree.zip", "train")


def test_preparations_are_those_of_pillow():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8))
    squash = np.asarray(image.resize((8, 8), Image.Resampling.LANCZOS)).transpose(2, 0, 1)
    np.testing.assert_array_equal(prepare_image(image, 8, "squash"), squash)
    middle = np.asarray(image.crop((10, 0, 40, 30)).resize((8, 8), Image.Resampling.LANCZOS)).transpose(2, 0, 1)
    np.testing.assert_array_equal(prepare_image(image, 8, "center-crop"), middle)
    with pytest.raises(InputError, match="16-bit.png"):
        decode_image(b"nothing", "16-bit.png")


def test_boxes_are_means():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 16, 16), np.uint8)
    means = pixels.reshape(3, 3, 8, 2, 8, 2).mean(axis=(3, 5))
    assert np.abs(resize_planes(pixels, 8) - means).max() <= 0.5
    assert resize_planes(pixels, 16) is pixels
    assert resize_planes(pixels, 12, "lanczos").shape == (3, 3, 12, 12)
    with pytest.raises(InputError, match="box resizing needs a multiple"):
        resize_planes(pixels, 12)


def test_lmdb(tmp_path):
    lmdb = pytest.importorskip("lmdb")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 4, 4), np.uint8)
    with lmdb.open(str(tmp_path / "set")) as base, base.begin(write=True) as writer:
        writer.put(b"images_shape", b"3 3 4 4")
        writer.put(b"labels_shape", b"3")
        for number, image in enumerate(pixels):
            writer.put(f"images_{number}_data".encode(), image.tobytes())
            writer.put(f"labels_{number}_data".encode(), np.int64(number).tobytes())
    images = LmdbImages(tmp_path / "set")
    assert images.classes.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(images.read([2, 0]), pixels[[2, 0]])
    data = (tmp_path / "set" / "data.mdb").read_bytes()
    (tmp_path / "cut").mkdir()
    for length in (5000, len(data) - 4096):
        (tmp_path / "cut" / "data.mdb").write_bytes(data[:length])
        with pytest.raises(InputError, match="truncated"):
            LmdbImages(tmp_path / "cut")


def test_R5_a_damaged_lmdb_is_named(monkeypatch, tmp_path):
    """Its library finds damage when a page is read, not when the file is opened."""
    import sys
    import types

    class CorruptedError(Exception):
        pass

    def get(key):
        raise CorruptedError("MDB_CORRUPTED: Located page was wrong type")

    base = types.SimpleNamespace(info=lambda: {"last_pgno": 0}, stat=lambda: {"psize": 0},
                                 begin=lambda buffers: types.SimpleNamespace(get=get))
    monkeypatch.setitem(sys.modules, "lmdb", types.SimpleNamespace(Error=CorruptedError, open=lambda *_, **__: base))
    (tmp_path / "data.mdb").write_bytes(b"")
    with pytest.raises(InputError, match="damaged at 'images_shape' .MDB_CORRUPTED"):
        LmdbImages(tmp_path)


def test_lmdb_is_optional(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(InputError, match="'lmdb' is not installed"):
        LmdbImages(tmp_path)
