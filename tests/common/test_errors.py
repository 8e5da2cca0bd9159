"""One line for everything that the user can mend."""

import errno
import os

import pytest

from common.errors import SYSTEM_ADVICE, InputError, as_input_error, nearest, refuse_endless


def test_the_line_says_where_what_and_what_to_do():
    error = InputError("array 'labels' runs 0-999, expected 1-1000.", where="batch_3.npz", do="Pass --label_base 0")
    assert str(error) == "batch_3.npz: array 'labels' runs 0-999, expected 1-1000. Pass --label_base 0."
    assert str(InputError("empty", do="Did you mean x?")) == "empty. Did you mean x?"


def test_a_message_of_several_lines_becomes_one():
    assert "\n" not in str(InputError("first\nsecond", where="a\nb", do="c"))


@pytest.mark.parametrize("number", SYSTEM_ADVICE)
def test_system_errors_name_the_place(number):
    mended = as_input_error(OSError(number, "text of the system", "out/run.json"))
    assert str(mended).startswith(f"out/run.json: {SYSTEM_ADVICE[number][0]}.")


def test_other_errors_are_ours():
    assert as_input_error(OSError(errno.EBADF, "bad descriptor")) is None
    assert as_input_error(ValueError("x")) is None


def test_R5_memory_that_opencv_does_not_get_is_named():
    import cv2
    import numpy as np

    with pytest.raises(cv2.error) as raised:
        cv2.resize(np.zeros((2, 2), np.uint8), (1 << 24, 1 << 23))  # 128 TB
    assert str(as_input_error(raised.value, where="photo")).startswith("photo: out of memory.")
    assert as_input_error(cv2.error("another fault")) is None


def test_nearest_offers_the_closest_or_all():
    assert nearest("digts", ["digits", "photos32"]) == "Did you mean digits?"
    assert nearest("zzz", ["digits", "photos32"]) == "Known: digits, photos32"
    assert nearest("DIGITS", ["digits", "photos32"]) == "Did you mean digits?"
    assert nearest("digts", ["digits"], "There is one.") == "Did you mean digits? There is one."
    assert nearest("zzz", ["digits"], "There is one.") == "There is one."


def test_a_link_that_leads_to_itself_is_named(tmp_path):
    (tmp_path / "around").symlink_to(tmp_path / "around")
    place = str(tmp_path / "around")
    for error in (OSError(errno.ELOOP, "", place), RuntimeError(f"Symlink loop from '{place}'")):  # before Python 3.13
        assert str(as_input_error(error)) == f"{place}: a link that leads to itself. Check the path."
    assert as_input_error(RuntimeError("another fault")) is None


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no /dev/zero here")
def test_a_device_that_never_ends_is_refused():
    with pytest.raises(InputError, match="^/dev/zero: is a device, not a file. Pass a file.$"):
        refuse_endless("/dev/zero")
    for place in ("/dev/null", "/dev/full", __file__, "nowhere", "bad\0name"):
        refuse_endless(place)
