"""What commands a tool has and which flags they take, asked of its `cli` without running anything."""

import re
from dataclasses import dataclass, field

_listeners = []  # lists that the commands which would run now put their Command into


@dataclass
class Command:
    """One command: its name as it is called, texts of its help, options dataclass, {subcommand: one line}.

    options_class: None for one that only has subcommands.
    """

    prog: str
    description: str
    epilog: str = ""
    options_class: type = None
    subcommands: dict = field(default_factory=dict)


def is_asked(prog, description, epilog="", options_class=None, subcommands=None):
    """Return whether `describe` wants to know a command in place of running it, which it is given then."""
    if _listeners:
        listed = subcommands_of(epilog) if subcommands is None else subcommands
        _listeners[-1].append(Command(prog, description or "", epilog, options_class, listed))
    return bool(_listeners)


def describe(cli, words=()):
    """Return the Command that a tool's `cli` would run for these words."""
    asked = []
    _listeners.append(asked)
    try:
        cli(list(words))
    finally:
        _listeners.pop()
    return asked[0]


def subcommands_of(epilog):
    """Return {name: one line} of the subcommands that the end of a help text lists."""
    found = re.search(r"^subcommands:\n((?:  .*\n?)*)", epilog, re.MULTILINE)
    rows = [line.split(None, 1) for line in found[1].splitlines()] if found else []
    return {row[0]: " ".join(row[1:]) for row in rows}
