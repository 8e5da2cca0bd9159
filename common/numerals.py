"""Numbers as people write them: a value to the digits that its error leaves, few digits where there is none."""

import math

MINUS, TIMES = "\u2212", "\u00d7"
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SPREAD_DIGITS = 2  # of a standard error, and of half an interval
DIGITS = 4  # of a number without error
LARGEST = 1e300  # of whole numbers that can be calculated with
HUGE, SMALL = 1e6, 1e-4  # from here on, and below, numbers have powers of ten


def counted(count, noun, plural=None):
    """Return "1 image" or "2,000 images"."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def byte_count(size, digits=3):
    """Return the text of a number of bytes: so many digits, in the largest unit, a power of 1,000, that it fills."""
    size = float(f"{size:.{digits - 1}e}")
    units = ("byte" if size == 1 else "bytes", "kB", "MB", "GB", "TB")
    power = next((power for power in range(len(units) - 1) if size < 1000 ** (power + 1)), len(units) - 1)
    return f"{size / 1000**power:,g} {units[power]}"


def number(value):
    """Return the text of a number without error: four digits, thousands apart, powers of ten where it is far from 1."""
    if isinstance(value, int) and abs(value) > LARGEST:
        return f"about {MINUS * (value < 0)}{_power(len(str(abs(value))) - 1)[1:]}"
    if isinstance(value, int):
        return _signed(f"{value:,}" if abs(value) >= 10_000 else str(value))
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: MINUS + "∞"}.get(value, "not a number")
    if value and not SMALL <= abs(value) < HUGE:
        mantissa, exponent = f"{value:.{DIGITS - 2}e}".split("e")
        return _signed(mantissa.rstrip("0").rstrip(".")) + _power(int(exponent))
    return _signed(f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.{DIGITS}g}")


def measured(value, se=None, low=None, high=None):
    """Return a value with its standard error, `3.15 ± 0.20`, or its interval, `0.886 [0.864, 0.905]`.

    The error has two digits and the value ends where the error does; both have one power of ten where they need it.
    Without an error, or with one that is not a positive number, the value alone.
    """
    if any(isinstance(each, int) and abs(each) > LARGEST for each in (value, se, low, high)):
        return number(value)
    spread = se if se is not None else (high - low) / 2 if low is not None and high is not None else None
    if not (spread and math.isfinite(spread) and spread > 0 and math.isfinite(value)):
        return number(value)
    largest = max(abs(value), spread)
    exponent = 0 if SMALL * 10 <= largest < HUGE else math.floor(math.log10(largest))
    unit = 10.0**exponent
    digits = SPREAD_DIGITS - 1 - _magnitude(spread / unit)
    texts = [_rounded(each / unit, digits) for each in ((value, spread) if se is not None else (value, low, high))]
    if se is not None:
        text = f"{texts[0]} ± {texts[1]}"
        return f"({text}){_power(exponent)}" if exponent else text
    text = f"{texts[0]} [{texts[1]}, {texts[2]}]"
    return f"{text}{_power(exponent)}" if exponent else text


def _magnitude(value):
    """Return the power of ten of a positive number's first digit, after it was rounded to SPREAD_DIGITS."""
    return int(f"{value:.{SPREAD_DIGITS - 1}e}".split("e")[1])


def _rounded(value, digits):
    value = round(value, digits)
    text = f"{value:,.{max(digits, 0)}f}" if abs(value) >= 10_000 else f"{value:.{max(digits, 0)}f}"
    return _signed(text) if float(text.replace(",", "")) else text.lstrip("-")


def _signed(text):
    return MINUS + text[1:] if text.startswith("-") else text


def _power(exponent):
    return f"{TIMES}10{str(exponent).translate(RAISED)}"
