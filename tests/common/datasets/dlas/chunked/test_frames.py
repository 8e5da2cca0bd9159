"""Windows of clips and pairs of stereoscopic halves: ours, and the original's where they differ."""

import pytest
import torch

from common.datasets.dlas.chunked.multi_frame import original_window
from common.datasets.dlas.chunked.paired_frame import match_halves
from common.datasets.dlas.options import create_dataset
from common.errors import InputError
from tests.common.datasets.dlas.chunked.makers import make_folders, options_for

CLIPS = (*(f"clipA_{number:06d}_left" for number in range(1, 6)),
         *(f"clipB_{number:06d}_left" for number in range(1, 3)))


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GENPROBE_CACHE", str(tmp_path / "cache"))


def frames(item):
    """Return [(folder number, tile number)] that the colours of an item's frames tell."""
    colours = (item["hq"][:, :, 0, 0] * 255).round().int()
    return [(int(blue) // 8, int(green) // 40) for _, green, blue in colours]


def multi(root, **more):
    return create_dataset({**options_for(root, num_frames=3, need_ref=True, needs_metadata=True),
                           "mode": "multi_frame_extensible", **more})


def test_window_ends_at_its_frame_and_stays_in_the_clip(tmp_path):
    dataset = multi(make_folders(tmp_path / "set", names=CLIPS))
    windows = [[folder for folder, _ in frames(dataset[2 * number])] for number in range(7)]
    assert windows == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [5, 5, 5], [5, 5, 6]]
    for index in range(len(dataset)):
        item = dataset[index]
        assert {tile for _, tile in frames(item)} == {index % 2}
        assert item["GT_path"] == dataset.get_paths()[index]
    shapes = {"hq": (3, 3, 16, 16), "lq": (3, 3, 8, 8), "gt_fullsize_ref": (3, 4, 16, 16),
              "lq_fullsize_ref": (3, 4, 8, 8)}
    assert set(item) == {*shapes, "gt_center", "lq_center", "GT_path"}
    for key, shape in shapes.items():
        assert (tuple(item[key].shape), item[key].dtype) == (shape, torch.float32)
    assert item["gt_center"].tolist() == [[4, 12]] * 3


def test_names_that_contain_each_other_are_two_clips(tmp_path):
    names = (*(f"v_{number:06d}_left" for number in range(2)), *(f"video_{number:06d}_left" for number in range(2)))
    root = make_folders(tmp_path / "set", names=names)
    assert [folder for folder, _ in frames(multi(root)[4])] == [2, 2, 2]
    assert original_window(names, 1, 3)[0] == 2  # "v" is in "video": the search goes round the start of the list
    assert frames(multi(root, frame_regex=r"^(\w+?)_")[6]) == [(2, 0), (2, 0), (3, 0)]
    assert [folder for folder, _ in frames(multi(root, frame_regex="^v")[6])] == [1, 2, 3]
    assert [folder for folder, _ in frames(multi(root, frame_suffix_len=5)[6])] == [3, 3, 3]


def test_original_window_on_request(tmp_path):
    dataset = multi(make_folders(tmp_path / "set", names=CLIPS), compat=True)
    assert [folder for folder, _ in frames(dataset[8])] == [1, 2, 3]  # the fifth frame is not in its own window
    with pytest.raises(InputError, match="runs out of the data set"):
        dataset[12]


def test_repeated_lists_do_not_join_clips(tmp_path):
    root = make_folders(tmp_path / "set", names=CLIPS[:2])
    dataset = multi("", paths=[root], weights=[2])
    assert [frames(dataset[index])[0][0] for index in (0, 2, 4, 6)] == [0, 0, 0, 0]


def test_frames_with_fewer_tiles(tmp_path):
    root = make_folders(tmp_path / "set", names=CLIPS[:3], tiles=(2, 1, 2))
    with pytest.raises(InputError, match="clipA_000002_left has 1 tile"):
        multi(root)[4]
    with pytest.warns(UserWarning, match="clipA_000002_left: no tile 1"):
        assert frames(multi(root, broken_images="next")[4]) == [(0, 1), (2, 1), (2, 1)]


def test_wrong_frame_options_are_named(tmp_path):
    root = make_folders(tmp_path / "set", names=CLIPS[:2])
    for change, match in (({"num_frames": None}, "num_frames"), ({"num_frames": 0}, "num_frames"),
                          ({"frame_regex": "("}, "frame_regex"),
                          ({"frame_regex": "^x"}, "does not match")):
        with pytest.raises(InputError, match=match):
            multi(root, **change)


def test_halves_are_paired_by_name(tmp_path):
    names = ("a_left_0", "a_lemon_left_2", "a_lemon_right_3", "a_right_1")
    root = make_folders(tmp_path / "set", names=names)
    dataset = create_dataset({**options_for(root), "mode": "paired_frame"})
    pairs = [[folder for folder, _ in frames(dataset[index])] for index in range(0, 8, 2)]
    assert pairs == [[0, 3], [1, 2], [1, 2], [0, 3]]
    assert dataset[0]["GT_path"] == f"{root}/a_right_1/00000031.png"
    assert dataset[0]["hq"].shape == (2, 3, 16, 16)
    original = create_dataset({**options_for(root), "mode": "paired_frame", "compat": True})
    assert [folder for folder, _ in frames(original[0])] == [0, 1]  # two different photos


def test_halves_that_stand_alone_are_left_out(tmp_path):
    root = make_folders(tmp_path / "set", names=("a_left_0", "a_right_1", "b_left_2"))
    with pytest.warns(UserWarning, match="b_left_2"):
        dataset = create_dataset({**options_for(root), "mode": "paired_frame"})
    assert len(dataset) == 4
    lone = make_folders(tmp_path / "lone", names=("x",))
    with pytest.warns(UserWarning, match="without the other half"), pytest.raises(InputError, match="vertical_split"):
        create_dataset({**options_for(lone), "mode": "paired_frame"})


def test_photos_of_one_name_are_paired_by_number():
    names = ["a_left_0", "a_left_10", "a_left_2", "a_right_1", "a_right_11", "a_right_3"]
    assert {names[left]: names[right] for left, right in match_halves(names).values()} == {
        "a_left_0": "a_right_1", "a_left_2": "a_right_3", "a_left_10": "a_right_11"}
    assert match_halves(["a_left_0", "a_left_2", "a_right_3"]) == {1: (1, 2), 2: (1, 2)}
    assert match_halves(["x_left_left", "x_left_right"]) == {0: (0, 1), 1: (0, 1)}


@pytest.mark.parametrize("words", [(), ("--layout", "packed"), ("--layout", "parquet"), ("--naming", "original"),
                                   ("--layout", "virtual")])
def test_S10_clips_go_by_the_names_of_photos_not_by_the_suffix_of_their_folders(words, tmp_path):
    """Counters of 12 digits: `_left`, or `_left_7`, would eat into them, so that clips fall apart or run together."""
    from tests.tools.extract_subimages.photos import extract, photo, write

    names = [f"{cam}_{number}" for cam in ("cam", "cam2") for number in range(163999999998, 164000000002)]
    for number, name in enumerate(names):
        write(tmp_path / "in" / f"{name}.jpg", photo(number))
    extract(tmp_path / "in", tmp_path / "set", *words)
    dataset = multi(tmp_path / "set", target_size=32)
    chunks = [chunk.name for chunk in dataset.chunks]
    windows = [[frame for frame, _ in dataset.frames_of(number, 0)] for number in range(len(chunks))]
    assert len(chunks) == 8
    for number, window in enumerate(windows):
        clip = [other for other in range(8) if chunks[other].split("_")[0] == chunks[number].split("_")[0]]
        rank = clip.index(number)
        assert window == [clip[max(rank - back, 0)] for back in (2, 1, 0)]
