"""Text files that people write."""

import pytest

from common.errors import InputError
from common.formats.text import read_lines, read_text
from common.rcps.dims import find_dims


def test_a_mark_line_ends_and_blank_lines_do_not_count(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffa b\r\n\r\n  c\u2028d \n".encode())  # U+2028 is part of a name
    assert read_lines(tmp_path / "a.txt") == ["a b", "c\u2028d"]


@pytest.mark.parametrize(("data", "said"), [(b"\xff\xfe1\x000\x00", "not a text in UTF-8"), (None, "no such file")])
def test_what_is_no_text_is_named(tmp_path, data, said):
    if data is not None:
        (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(InputError, match=f"a.txt: {said}"):
        read_text(tmp_path / "a.txt")


def test_a_file_of_dims_may_begin_with_a_mark(tmp_path):
    (tmp_path / "dims.txt").write_text("\ufeff3\n1, 4\n", encoding="utf-8")
    assert find_dims(str(tmp_path / "dims.txt"), 5)[0] == [3, 1, 4]
