"""Windows, centres and frames by formulas of their own."""

import numpy as np
import pytest

from tools.extract_subimages.tiling import (
    frames_of,
    halved_size,
    reference_of,
    tile_records,
    tile_starts,
    tile_windows,
)


@pytest.mark.parametrize("seed", range(40))
def test_starts_follow_the_rule(seed):
    rng = np.random.default_rng(seed)
    length, crop, step, threshold = (int(value) for value in rng.integers([10, 1, 1, 0], [400, 200, 150, 100]))
    starts = tile_starts(length, crop, step, threshold)
    if crop > length:
        assert starts == []
        return
    regular = list(np.arange(0, length - crop + 1, step))
    left_over = length - (regular[-1] + crop)
    assert starts == regular + ([length - crop] if left_over > threshold else [])
    assert all(0 <= start <= length - crop for start in starts)


def test_rows_are_outer_and_axes_may_differ():
    assert tile_windows((4, 6), 2, 2, 0) == [(0, 0), (0, 2), (0, 4), (2, 0), (2, 2), (2, 4)]
    assert tile_windows(3, 2, 2, 0) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_centres_are_floored_by_floor_division():
    record = next(r for r in tile_records(1255, [45], [24], 24, [200 / 45]) if (r.top, r.left) == (0, 480))
    assert (record.row, record.col, record.width) == (22 * 200 // 1255, 79, 45 * 200 // 1255)


def test_ids_run_on_over_scales_and_skipped_scales_take_none():
    both = tile_records(128, [32, 64], [32, 64], 0, [1, 0.5])
    assert [record.id for record in both] == list(range(1, 21))
    assert [record.scale for record in both] == [0] * 16 + [1] * 4
    assert [record.id for record in tile_records(128, [32, 64], [32, 64], 0, [1, 0.5], skip={0})] == [1, 2, 3, 4]


def test_only_resize_is_one_tile_of_each_scale():
    records = tile_records(300, [32, 64], [1, 1], 0, [1, 0.25], only_resize=True)
    assert [(r.crop, r.size, r.row, r.col, r.width) for r in records] == [(300, 32, 16, 16, 32), (300, 16, 16, 16, 32)]


def test_a_full_frame_is_letter_boxed():
    reference = reference_of(100, 200, 64)
    assert reference.factor == 3.125
    assert (reference.top, reference.left, reference.height, reference.width) == (16, 0, 32, 64)
    record = tile_records((100, 200), [50], [50], 0, [64 / 50])[-1]
    assert (record.top, record.left, record.row, record.col, record.width) == (50, 150, 16 + 24, 56, 16)


def test_halving_floors_and_happens_once():
    assert halved_size(5501, 301, 5500) == (2750, 150, True)
    assert halved_size(5500, 301, 5500) == (5500, 301, False)


def test_split_halves_are_square_and_show_the_same_rows():
    left, right = frames_of(600, 1060, vertical_split=True)
    assert (left.height, left.width, right.height, right.width) == (530,) * 4
    assert left.top == right.top == 35
    assert (left.left, right.left) == (0, 530)
    wide = frames_of(520, 1100, vertical_split=True)
    # the original is right where halves are wide
    assert wide == frames_of(520, 1100, vertical_split=True, original=True)


def test_split_full_frames_cover_every_column():
    left, right = frames_of(10, 21, vertical_split=True, square="none")
    assert (left.left, left.width, right.left, right.width) == (0, 10, 10, 11)
