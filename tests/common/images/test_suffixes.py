"""One list of image suffixes: every reader of folders and archives takes the same files and counts the others."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from common import console
from common.datasets import open_dataset
from common.datasets.dlas.chunked.index import open_index
from common.datasets.dlas.items import list_files
from common.datasets.dlas.stylegan2 import Stylegan2Dataset
from common.datasets.dlas.torch_sets import ClassFolders
from common.datasets.imagenet.tree import ImageTree
from common.features.sources import open_images
from tests.tools.commands import call_tool
from tools.extract_subimages.sources import find_sources

NAMES = ("a.jpg", "b.jpeg", "c.JPG", "d.PNG", "e.png", "f.webp", "g.JPEG")
OTHERS = ("x.heic", "y.txt", "z.HEIC", "labels.json", ".hidden.png")
NOTE = "skipped 6 files without the suffix of an image: .heic (4), .txt (2)"


@pytest.fixture(autouse=True)
def speaking(monkeypatch):
    """Other tests of the process may have asked for silence."""
    monkeypatch.setitem(console._settings, "quiet", False)


@pytest.fixture
def tree(tmp_path):
    """Two class folders of seven images each, every image of another colour, beside files that are not images."""
    for folder in ("n01440764", "n01443537"):
        (tmp_path / "set" / folder).mkdir(parents=True)
        for number, name in enumerate(NAMES):
            kind = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "webp": "WEBP"}[name.split(".")[1].lower()]
            picture = Image.fromarray(np.full((16, 16, 3), 30 * number, np.uint8))
            picture.save(tmp_path / "set" / folder / name, format=kind)
        for name in OTHERS:
            (tmp_path / "set" / folder / name).write_bytes(b"{}")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted((tmp_path / "set").rglob("*.*")):
            archive.write(path, path.relative_to(tmp_path).as_posix())
    return tmp_path / "set"


READERS = {
    "train_edm, extract_real_imagenet": lambda path: ImageTree(path, None),
    "compute_fid, setup_fid": lambda path: open_images(path),
    "qc_ncsn": lambda path: [*open_dataset(str(path), "train").read(range(12)),
                             *open_dataset(str(path), "test").read(range(1))],
    "class folders": lambda path: ClassFolders(path, "imagefolder"),
}
FOLDER_READERS = {
    "lists of files": lambda path: list_files(path, "options"),
    "stylegan2": lambda path: Stylegan2Dataset({"path": str(path), "target_size": 8, "aug_prob": 0}),
    "chunks": lambda path: [name for folder in open_index(path).folders for name in folder.tiles.split("/")],
}


@pytest.mark.parametrize("reader", [*READERS, *FOLDER_READERS])
def test_every_reader_takes_all_suffixes_in_any_case_and_counts_the_others(tree, capsys, reader):
    images = (READERS | FOLDER_READERS)[reader](tree)
    assert len(images) == (13 if reader == "qc_ncsn" else 14)
    assert f"{tree}: {NOTE}" in capsys.readouterr().err


@pytest.mark.parametrize("reader", [name for name in READERS if name != "class folders"])
def test_an_archive_gives_the_images_that_its_folder_gives(tree, capsys, reader):
    images = READERS[reader](tree.with_suffix(".zip"))
    assert len(images) == (13 if reader == "qc_ncsn" else 14)
    assert f"{tree}.zip: {NOTE}" in capsys.readouterr().err


def test_classes_of_a_tree_hold_the_images_of_every_suffix(tree):
    images = ImageTree(tree, None, "any")
    assert np.bincount(images.classes).tolist() == [7, 7]
    assert sorted(images.load(number).size for number in range(14)) == [(16, 16)] * 14


def test_train_edm_trains_on_all_of_them(tree, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = ("--resolution", 8, "--model_channels", 16, "--channel_mult", 1, "--channel_mult_emb", 2,
               "--num_blocks", 1, "--attn_resolutions", 0)
    ended = call_tool("train_edm", *network, "--data", tree, "--class_map", "none", "--dry_run", "--json")
    assert ended.status == 0, ended.err
    assert ended.results["images"] == 14
    assert NOTE in ended.err


@pytest.mark.parametrize("original", [False, True])
def test_extract_subimages_takes_them_and_counts_the_others(tree, original):
    sources, passed, others = find_sources([str(tree)], original)
    hidden = 2 if original else 0  # the original takes hidden files too
    assert len(sources) == 14 + hidden
    assert len(passed) + others == 10 - hidden


def test_a_chunk_with_its_companions_says_nothing(tmp_path, capsys):
    folder = tmp_path / "chunks" / "a_left_0"
    folder.mkdir(parents=True)
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, format="PNG")
    for name in ("00000001.png", "ref.jpg", "centers.pt", "geometry.jsonl"):
        (folder / name).write_bytes(stream.getvalue())
    assert [folder.tiles for folder in open_index(tmp_path / "chunks").folders] == ["00000001.png"]
    assert capsys.readouterr().err == ""
