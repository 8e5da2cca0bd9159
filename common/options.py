"""Options of a command: a dataclass whose fields are flags, with their kinds and bounds."""

import dataclasses
import math
from dataclasses import MISSING, dataclass, field

from common.errors import InputError

REQUIRED = MISSING
ALL = 2**62  # number of a --num_samples all
MOST = 2**53  # a whole number that no flag bounds more tightly: what floats still tell apart
KINDS = ("result", "total", "how")  # what an option does to a job's outcome, see common/job.py


def option(default, help, *, short=None, choices=None, nargs=None, type=None, kind="result", metavar=None, word=False,
           low=None, high=None, above=None, below=None, empty=False):
    """Return a dataclass field that is a flag.

    default: its value, or REQUIRED.  short: further spellings, such as "-bs".  word: given bare, without a flag.
    kind: "result" when another value gives other results (a resumed run must have the same), "total" when a larger
    value extends the run, "how" when results do not depend on it (device, workers, batch size, screen).
    low, high: least and largest value.  above, below: bounds that are not reached.  None (not given) is never checked.
    empty: an empty text is a value.
    """
    assert kind in KINDS
    shorts = (short,) if isinstance(short, str) else tuple(short or ())
    metadata = {"help": help, "short": shorts, "choices": choices, "nargs": nargs, "type": type, "kind": kind,
                "metavar": metavar, "word": word, "low": low, "high": high, "above": above, "below": below,
                "empty": empty}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(metadata=metadata) if default is REQUIRED else field(default=default, metadata=metadata)


@dataclass(kw_only=True)
class CommonOptions:
    """Flags that mean the same in every tool."""

    overwrite: bool = option(False, "start over if an earlier run left outputs", kind="how")
    dry_run: bool = option(False, "check everything, say what would be done, write nothing", kind="how")
    json: bool = option(False, "put one JSON object on stdout", kind="how")
    quiet: bool = option(False, "no progress and no tables", kind="how")
    debug: bool = option(False, "show the traceback of an internal error", kind="how")


def is_given(options, name):
    """Return whether an option has another value than its default."""
    item = type(options).__dataclass_fields__[name]
    return getattr(options, name) != (item.default_factory() if item.default is MISSING else item.default)


def check_bounds(options):
    """Raise InputError for the first value, alone or in a list, that is out of bounds, NaN, an empty text, or a whole
    number over MOST."""
    for item in dataclasses.fields(options):
        values = getattr(options, item.name)
        for value in values if isinstance(values, (list, tuple)) else [values]:
            if value == "" != item.default and not item.metadata.get("empty"):
                # a shell's unset variable; as a path it would be the current folder
                where = item.name.upper() if item.metadata.get("word") else f"--{item.name}"
                raise InputError("is empty", where=where, do="Pass a value, or leave it out")
            if is_bounded(item) and value is not None and not _is_within(value, **_bounds(item)):
                finite = " and finite" if isinstance(value, float) and math.isinf(value) else ""
                raise InputError(f"must be {bounds_text(item)}{finite}", where=f"--{item.name} {value}",
                                 do="Correct the value")
            if type(value) is int and value != ALL and abs(value) > MOST:
                raise InputError(f"must be at most {MOST:,}", where=f"--{item.name} {value}", do="Correct the value")


def _bounds(item):
    return {name: item.metadata.get(name) for name in ("low", "high", "above", "below")}


def is_bounded(item):
    """Return whether a flag has bounds."""
    return any(bound is not None for bound in _bounds(item).values())


def _is_within(value, low, high, above, below):
    return (low is None or value >= low) and (high is None or value <= high) and (above is None or value > above) \
        and (below is None or value < below) and abs(value) != float("inf") and value == value


def bounds_text(item):
    """Return a flag's bounds in words: "at least 1", "above 0 and below 1", "from 0 to 1"."""
    low, high, above, below = _bounds(item).values()
    if low is not None and high is not None:
        return f"from {_number(low)} to {_number(high)}"
    parts = [(low, "at least"), (above, "above"), (high, "at most"), (below, "below")]
    return " and ".join(f"{word} {_number(bound)}" for bound, word in parts if bound is not None)


def _number(bound):
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"
