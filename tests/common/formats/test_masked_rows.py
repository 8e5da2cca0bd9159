"""Rows written in place: in any order, kept after a kill, made again where a file was cut."""

import numpy as np

from common.formats.masked_rows import MaskedRows

WIDTHS = {"a": 3, "b": 1}


def values(rows):
    return {name: np.arange(len(rows) * width, dtype=np.float32).reshape(-1, width) + 10 * rows[0]
            for name, width in WIDTHS.items()}


def test_rows_are_kept_and_come_back_in_order(tmp_path):
    for _ in range(2):  # the second time as after a kill
        rows = MaskedRows(tmp_path / "rows", WIDTHS, np.float32, 5, 2)
        rows.prepare()
        if not rows.is_complete(2):
            rows.write(2, values([4]))
            rows.write(0, values([0, 1]))
        assert [rows.is_complete(unit) for unit in range(3)] == [True, False, True]
    rows.write(1, values([2, 3]))
    expected = np.concatenate([values(part)["a"] for part in ([0, 1], [2, 3], [4])])
    assert (np.concatenate(list(rows.blocks("a", 3))) == expected).all()
    assert [len(block) for block in rows.blocks("b", 3)] == [3, 2]
    assert (np.load(tmp_path / "rows" / "a.npy") == expected).all()
    rows.remove()
    assert not (tmp_path / "rows").exists()


def test_a_cut_file_makes_all_rows_missing(tmp_path):
    rows = MaskedRows(tmp_path, WIDTHS, np.float32, 4, 4)
    rows.prepare()
    rows.write(0, values([0, 1, 2, 3]))
    (tmp_path / "b.npy").write_bytes((tmp_path / "b.npy").read_bytes()[:-4])
    again = MaskedRows(tmp_path, WIDTHS, np.float32, 4, 4)
    again.prepare()
    assert not again.is_complete(0)
