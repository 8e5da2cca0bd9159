"""What people see on wide, narrow and plain terminals, and in logs."""

import os
import pty
import struct
import sys
import termios
from fcntl import ioctl
from select import select

import pytest

from common import console

WORDS = ["QC-NCSN++, a long name", "1.234", "0.111", "12 of 100", "0.987"]
COLUMNS = ["model", "bits per dimension", "asymmetry", "share of flips", "precision"]


def read_all(number):
    """Return what was shown so far on a terminal, by the number of its other end."""
    sys.stderr.flush()
    parts = []
    while select([number], [], [], 0.05)[0]:
        parts.append(os.read(number, 100_000))
    return b"".join(parts).decode().replace("\r\n", "\n")


@pytest.fixture
def screen(monkeypatch):
    """Return what reads all that was shown on a terminal of so many columns."""
    opened = []

    def start(columns, term="xterm"):
        ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        for name in ("COLUMNS", "NO_COLOR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("TERM", term)
        monkeypatch.setattr(sys, "stderr", os.fdopen(theirs, "w"))
        opened.append(ours)
        return lambda: read_all(ours)

    monkeypatch.setitem(console._settings, "console", None)
    monkeypatch.setitem(console._settings, "quiet", False)
    yield start
    for number in opened:
        os.close(number)


def show():
    console.show_table("Three models", COLUMNS, [WORDS, WORDS])
    with console.progress("train", 20, unit="step") as advance:
        for _ in range(20):
            advance()


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_nothing_is_cut_off_at_40_columns(term, screen, monkeypatch):
    shown = screen(40, term)
    if term == "xterm":  # rich asks the process's own streams
        monkeypatch.setenv("COLUMNS", "40")
    show()
    text = shown()
    assert all(word in text for word in [*COLUMNS[1:], *WORDS])
    assert "20/20" in text
    assert max(map(len, text.partition("train")[0].split("\n"))) <= 40


def test_a_dumb_terminal_gets_lines_without_control_sequences(screen):
    shown = screen(80, "dumb")
    show()
    text = shown()
    assert "\x1b" not in text
    assert text.replace("\r", "\n").count("train: ") == 10


def test_no_color_takes_colours_away(screen, monkeypatch):
    shown = screen(100)
    show()
    assert "\x1b[3" in shown()
    console._settings["console"] = None
    monkeypatch.setenv("NO_COLOR", "1")
    show()
    assert "\x1b[3" not in shown()


def test_a_log_gets_lines_and_whole_tables(capsys, monkeypatch):
    monkeypatch.setitem(console._settings, "console", None)
    monkeypatch.delenv("COLUMNS", raising=False)
    show()
    text = capsys.readouterr().err
    assert "\x1b" not in text
    assert text.count("train: ") == 10
    assert all(word in text for word in [*COLUMNS, *WORDS])
