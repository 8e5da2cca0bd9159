"""Units of work: an interruption that an import swallowed ends a job before its next unit."""

import signal

import pytest

from common.units import make_missing, make_pipelined

UNITS = [range(2), range(2, 4), range(4, 6)]


def interrupt(monkeypatch):
    """Stand for the import of a library that a signal meets and that makes nothing of it."""
    monkeypatch.setattr("common.cli._INTERRUPTED", [signal.SIGINT])


def test_no_unit_is_made_after_the_one_that_is_interrupted(monkeypatch):
    made = []

    def make(unit, advance):
        made.append(unit)
        interrupt(monkeypatch)

    with pytest.raises(KeyboardInterrupt):
        make_missing(UNITS, lambda unit: unit[0] == 0, make, "units")
    assert made == UNITS[1:2]


def test_units_on_their_way_to_the_disk_are_written(monkeypatch):
    written = []

    def compute(unit):
        if unit == UNITS[1]:
            interrupt(monkeypatch)
        return unit

    with pytest.raises(KeyboardInterrupt):
        make_pipelined(UNITS, lambda unit: False, lambda unit: unit, compute, written.append, "units")
    assert written == UNITS[:2]
