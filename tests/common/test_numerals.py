"""Numbers as people write them."""

import math

import pytest

from common.numerals import byte_count, counted, measured, number


@pytest.mark.parametrize(("value", "text"), [
    (0, "0"), (1234, "1234"), (50_000, "50,000"), (-3, "−3"), (0.0, "0"), (0.123456, "0.1235"), (12345.6, "12,346"),
    (1e7, "10⁷".join(["1×", ""])), (-1.5e-7, "−1.5×10⁻⁷"), (0.000123, "0.000123"), (math.inf, "∞"), (-math.inf, "−∞"),
    (math.nan, "not a number"),
])
def test_numbers_without_an_error_have_four_digits(value, text):
    assert number(value) == text


@pytest.mark.parametrize(("value", "se", "text"), [
    (3.146509418000079, 0.1996378021690028, "3.15 ± 0.20"), (5.031893952687581, 0.07066930574631108, "5.032 ± 0.071"),
    (577705.3049344317, 83429.79817634865, "578,000 ± 83,000"), (0.003005872, 9.912553e-05, "0.003006 ± 0.000099"),
    (-7.217224606035463e-09, 1.185669025115831e-09, "(−7.2 ± 1.2)×10⁻⁹"), (93.1, 12.34, "93 ± 12"),
    (0.5, 0.0996, "0.50 ± 0.10"), (2.5e8, 1.1e7, "(2.50 ± 0.11)×10⁸"), (-0.0004109, 0.0012708, "−0.0004 ± 0.0013"),
    (-0.0001, 0.5, "0.00 ± 0.50"), (1.5, 0, "1.5"), (1.5, None, "1.5"), (1.5, math.nan, "1.5"), (3, 1.25, "3.0 ± 1.2"),
])
def test_a_value_ends_where_its_error_does(value, se, text):
    assert measured(value, se) == text


def test_intervals_have_the_digits_of_half_their_width():
    assert measured(0.8857099, low=0.86431981, high=0.90486355) == "0.886 [0.864, 0.905]"
    assert measured(1.0, low=1.0, high=1.0) == "1"
    assert measured(2.5e-9, low=1e-9, high=4e-9) == "2.5 [1.0, 4.0]×10⁻⁹"


@pytest.mark.parametrize(("words", "text"), [
    ((0, "image"), "0 images"), ((1, "image"), "1 image"), ((2_000, "image"), "2,000 images"),
    ((1, "batch", "batches"), "1 batch"), ((3, "batch", "batches"), "3 batches")])
def test_what_is_counted_is_singular_for_one_alone(words, text):
    assert counted(*words) == text


@pytest.mark.parametrize(("size", "digits", "text"), [
    (0, 3, "0 bytes"), (1, 3, "1 byte"), (999, 3, "999 bytes"), (4_826, 3, "4.83 kB"), (999_499, 3, "999 kB"),
    (999_500, 3, "1 MB"), (123_456_789, 2, "120 MB"), (4_300_000_000, 2, "4.3 GB"), (10**13, 3, "10 TB"),
    (123_456 * 10**12, 3, "123,000 TB"),
])
def test_numbers_of_bytes(size, digits, text):
    assert byte_count(size, digits) == text
