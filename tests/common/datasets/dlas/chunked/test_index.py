"""The index follows the folders by itself: nothing has to be deleted by hand, and no file is trusted or run."""

import json
import os
import shutil
import time
import warnings

import pytest

from common.datasets.dlas.chunked import DatasetWarning, index
from common.datasets.dlas.chunked.index import FILE, open_index
from common.datasets.dlas.options import create_dataset
from common.errors import InputError
from tests.common.datasets.dlas.chunked.makers import (
    add_folder,
    colour,
    hostile_pickle,
    hostile_torch,
    make_folders,
    make_tar,
    make_virtual,
    options_for,
    png,
    told_by,
    write_cache,
)


@pytest.fixture(autouse=True)
def trusting_clock(monkeypatch, tmp_path):
    """Folders made just now are trusted, as if they were old; the answers of a read-only data set go to the test's
    folder."""
    monkeypatch.setattr(index, "RACY_NS", -10**12)
    monkeypatch.setenv("GENPROBE_CACHE", str(tmp_path / "cache"))


def names(root, **more):
    """Return the tiles of the data set as a start now sees them, relative to it."""
    return [path.removeprefix(f"{root}/") for path in create_dataset(options_for(root, **more)).get_paths()]


def later():
    """Let the clock of the file system move on."""
    time.sleep(0.02)


def test_second_start_lists_no_folder(tmp_path):
    root = make_folders(tmp_path / "set")
    assert open_index(root).fresh == 3
    assert open_index(root).fresh == 0
    assert names(root) == [f"{name}/{tile:08d}.png" for name,
                           first in (("a_left_0", 1), ("b_left_1", 11), ("c_left_2", 21))
                           for tile in (first, first + 1)]


def test_added_and_deleted_images_and_folders_are_seen(tmp_path):
    root = make_folders(tmp_path / "set")
    assert len(names(root)) == 6
    later()
    (tmp_path / "set/b_left_1/00000099.png").write_bytes(png(colour(1, 5)))
    assert open_index(root).fresh == 1
    assert "b_left_1/00000099.png" in names(root)
    later()
    os.unlink(tmp_path / "set/a_left_0/00000001.png")
    assert names(root)[0] == "a_left_0/00000002.png"
    add_folder(root, "aa_left_9", 9, 2, 91)
    assert names(root)[1:3] == ["aa_left_9/00000091.png", "aa_left_9/00000092.png"]
    shutil.rmtree(tmp_path / "set/b_left_1")
    assert len(names(root)) == 5
    assert names(root) == [path for path in names(root) if os.path.exists(f"{root}/{path}")]
    assert open_index(root).fresh == 0


def test_moved_and_copied_data_sets_read_from_their_new_place(tmp_path):
    root = make_folders(tmp_path / "set")
    before = names(root)
    (tmp_path / "elsewhere").mkdir()
    moved = str(shutil.move(root, tmp_path / "elsewhere" / "moved"))
    assert open_index(moved).fresh == 0  # relative names: the index moved along
    assert names(moved) == before
    dataset = create_dataset(options_for(moved, need_ref=True, needs_metadata=True))
    assert [told_by(dataset[item]) for item in range(6)] == [(folder, tile) for folder in range(3) for tile in range(2)]
    copy = shutil.copytree(moved, tmp_path / "copy", ignore=shutil.ignore_patterns("00000012.png"))
    assert len(names(copy)) == 5  # although copytree gave each folder the times of its source
    shutil.rmtree(moved)
    assert create_dataset(options_for(copy))[4]["hq"].shape == (3, 16, 16)


def test_changed_options_take_effect_at_once(tmp_path):
    root = make_folders(tmp_path / "set")
    first = create_dataset(options_for(root))
    assert float(first[0]["gt_fullsize_ref"].abs().max()) == 0
    assert len(names(root, ignore_first=1)) == 3
    with_reference = create_dataset(options_for(root, need_ref=True))
    assert float(with_reference[0]["gt_fullsize_ref"][0].min()) > 0.3
    assert create_dataset(options_for(root, need_ref=True, strict=True))[1]["gt_center"].tolist() == [4, 12]


def test_references_that_come_later_are_seen(tmp_path):
    root = make_folders(tmp_path / "set")
    reference = tmp_path / "set/a_left_0/ref.jpg"
    kept = reference.read_bytes()
    reference.unlink()
    assert float(create_dataset(options_for(root, need_ref=True))[0]["gt_fullsize_ref"].max()) == 0
    later()
    reference.write_bytes(kept)
    assert float(create_dataset(options_for(root, need_ref=True))[0]["gt_fullsize_ref"].max()) > 0


def test_young_folders_are_not_trusted(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "RACY_NS", 2 * 10**9)
    root = make_folders(tmp_path / "set")
    open_index(root)
    (tmp_path / "set/a_left_0/00000099.png").write_bytes(png(colour(0, 5)))  # perhaps within the same tick
    assert "a_left_0/00000099.png" in names(root)
    assert open_index(root).fresh == 3


def test_read_only_data_set_keeps_its_index_in_the_cache(tmp_path, monkeypatch):
    root = make_folders(tmp_path / "set")
    write = index._write

    def refusing(path, text):
        if path.startswith(root):
            raise PermissionError(13, "Permission denied", path)
        write(path, text)

    monkeypatch.setattr(index, "_write", refusing)
    assert open_index(root).fresh == 3
    assert not os.path.exists(f"{root}/{FILE}")
    assert open_index(root).fresh == 0
    add_folder(root, "d_left_3", 3, 2, 31)
    assert open_index(root).fresh == 1
    assert len(names(root)) == 8
    monkeypatch.setenv("GENPROBE_CACHE", f"{root}/a_left_0/ref.jpg")  # a file: nothing can be written there either
    assert len(names(root)) == 8


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_folder_without_write_permission(tmp_path):
    root = make_folders(tmp_path / "set")
    os.chmod(root, 0o555)
    try:
        assert len(names(root)) == 6
        assert open_index(root).fresh == 0
    finally:
        os.chmod(root, 0o755)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": "genprobe chunk index", "version": 1}',
                                    b'{"format": "genprobe chunk index", "version": 1, "notes": {}, "folders": [[1]]}'])
def test_damaged_index_is_made_anew(tmp_path, damage):
    root = make_folders(tmp_path / "set")
    whole = names(root)
    (tmp_path / "set" / FILE).write_bytes(damage)
    assert names(root) == whole
    assert open_index(root).fresh == 0


def test_index_of_another_version_is_made_anew(tmp_path):
    root = make_folders(tmp_path / "set")
    open_index(root)
    path = tmp_path / "set" / FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 0}))
    assert open_index(root).fresh == 3


def test_virtual_and_packed_sets_that_change_are_seen(tmp_path):
    virtual = make_virtual(tmp_path / "virtual")
    assert len(names(virtual)) == 6
    later()
    path = tmp_path / "virtual/a_left/geometry.jsonl"
    lines = path.read_text().splitlines()
    # in place: the folder's times stay
    path.write_text("\n".join([lines[0].replace('"tiles": 2', '"tiles": 1'), lines[1]]))
    assert len(names(virtual)) == 5
    tar = make_tar(tmp_path / "tar")
    assert len(names(tar)) == 6
    shutil.rmtree(tar)
    make_tar(tmp_path / "tar", names=("a_left",))
    assert len(names(tar)) == 2


def test_nested_folders_files_and_hidden_things(tmp_path):
    root = make_folders(tmp_path / "set")
    (tmp_path / "set/a_left_0/more").mkdir()
    (tmp_path / "set/a_left_0/more/00000003.PNG").write_bytes(png(colour(0, 2)))
    (tmp_path / "set/empty").mkdir()
    (tmp_path / "set/.hidden").mkdir()
    (tmp_path / "set/.hidden/00000001.png").write_bytes(b"")
    (tmp_path / "set/notes.txt").write_text("x")
    (tmp_path / "set/a_left_0/00000001.gif").write_bytes(b"")
    assert names(root)[:3] == ["a_left_0/00000001.png", "a_left_0/00000002.png", "a_left_0/more/00000003.PNG"]
    assert len(names(root)) == 7
    assert told_by(create_dataset(options_for(root))[2]) == (0, 2)
    later()
    (tmp_path / "set/a_left_0/more/00000004.png").write_bytes(png(colour(0, 3)))
    assert len(names(root)) == 8


def test_links_that_lead_round_in_a_circle(tmp_path):
    root = make_folders(tmp_path / "set")
    (tmp_path / "set/a_left_0/round").symlink_to(tmp_path / "set")
    (tmp_path / "far").mkdir()
    (tmp_path / "far/00000001.png").write_bytes(png(colour(7, 0)))
    (tmp_path / "set/linked").symlink_to(tmp_path / "far")
    assert len(names(root)) == 7
    later()
    (tmp_path / "far/00000002.png").write_bytes(png(colour(7, 1)))
    assert len(names(root)) == 8


def test_what_is_no_chunked_data_set(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        open_index(tmp_path / "nothing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="not a folder"):
        open_index(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="not a chunked data set"):
        create_dataset(options_for(tmp_path / "empty"))


def test_stale_cache_pth_is_told_and_not_used(tmp_path):
    root = make_folders(tmp_path / "set")
    fresh = {name: [f"{first:08d}.png", f"{first + 1:08d}.png"] for name,
             first in (("a_left_0", 1), ("b_left_1", 11), ("c_left_2", 21))}
    write_cache(root, fresh, path="/home/someone/set")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(names(root)) == 6  # it lists what is there, from wherever it was made
    add_folder(root, "d_left_3", 3, 2, 31)
    for _ in range(2):  # on the start that finds it, and on the next one from the notes
        with pytest.warns(DatasetWarning, match="stale: it lists 6 tiles in 3 folders, there are 8 tiles in 4 folders"):
            assert len(names(root)) == 8
    write_cache(root, {**fresh, "d_left_3": ["00000031.png", "00000032.png"]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(names(root)) == 8


def test_stale_cache_pth_is_written_anew_on_request(tmp_path, monkeypatch):
    import sys
    import types

    import torch

    root = make_folders(tmp_path / "set")
    write_cache(root, {"gone": ["00000001.png"]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(names(root, refresh_cache=True)) == 6
        assert len(names(root)) == 6
    original = types.ModuleType("data.images.chunk_with_reference")
    original.ChunkWithReference = type("ChunkWithReference", (), {})
    for name in ("data", "data.images"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "data.images.chunk_with_reference", original)
    chunks = torch.load(tmp_path / "set/cache.pth", weights_only=False)  # as the original reads it
    assert [type(chunk) for chunk in chunks] == [original.ChunkWithReference] * 3
    assert [tile for chunk in chunks for tile in chunk.tiles] == create_dataset(options_for(root)).get_paths()
    assert (chunks[0].path, chunks[0].need_ref, chunks[0].need_metadata) == (f"{root}/a_left_0", True, True)


def test_hostile_cache_pth_is_not_refreshed(tmp_path):
    root = make_folders(tmp_path / "set")
    hostile_torch(tmp_path / "set/cache.pth", tmp_path / "proof")
    before = (tmp_path / "set/cache.pth").read_bytes()
    with pytest.warns(DatasetWarning, match="system"):
        assert len(names(root, refresh_cache=True)) == 6
    assert (tmp_path / "set/cache.pth").read_bytes() == before


def test_cache_pth_of_an_image_folder_is_no_obstacle(tmp_path):
    import torch

    root = make_folders(tmp_path / "set")
    torch.save([f"{root}/a_left_0/00000001.png"], tmp_path / "set/cache.pth")
    with pytest.warns(DatasetWarning, match="lists 1 tile in 1 folder"):
        assert len(names(root)) == 6


@pytest.mark.parametrize("make", [hostile_torch, hostile_pickle])
def test_hostile_cache_pth_is_named_and_never_run(tmp_path, make):
    root = make_folders(tmp_path / "set")
    make(tmp_path / "set/cache.pth", tmp_path / "proof")
    with pytest.warns(DatasetWarning, match="cache.pth"):
        assert len(names(root)) == 6
    assert not (tmp_path / "proof").exists()
