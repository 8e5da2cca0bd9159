"""List the tools, their presets, or the data sets that need no download; show a tool's manual page.

  python -m tools                     the tools, a line each
  python -m tools presets             presets of the tools
  python -m tools data                data sets that need no download
  python -m tools help NAME           a tool's manual page; help NAME SUBCOMMAND of one of its subcommands
  python -m tools completion SHELL    completion of flags for bash, zsh or fish
  python -m tools --version           version and commit

A tool is described by the first line of its docstring, parsed without importing it.
"""

import ast
import importlib
import os
import sys
from pathlib import Path

from common import console
from common.errors import InputError, closest, nearest, visible
from common.version import version_line

FOLDER = Path(__file__).parent

EMBEDDED = {
    "digits": "scikit-learn's scans of handwritten digits: 8x8, grey, 1,500 train and 297 test images, labels 0-9",
    "photos32": "patches of scikit-learn's two photographs: 32x32 RGB, 6,100 train and 1,300 test, no shared pixels",
    "photos64": "the same photographs: 64x64 RGB, 5,244 train and 828 test patches",
}


def find_tools(folder=FOLDER):
    """Return {name: first docstring line} of every tool: modules in tools/, and folders in it with a __main__.py."""
    files = {path.stem: path for path in folder.glob("*.py") if not path.name.startswith("_")}
    files |= {path.parent.name: path for path in folder.glob("*/__main__.py")}
    return {name: _first_line(path) for name, path in sorted(files.items())}


def _first_line(path):
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].strip()


def preset_modules(folder=FOLDER):
    """Return {tool: module} of each tools/*/presets.py: its table PRESETS {name: one line} and its FLAG."""
    names = sorted(path.parent.name for path in folder.glob("*/presets.py"))
    return {name: importlib.import_module(f"tools.{name}.presets") for name in names}


def _print(text):
    console.print_out(f"{text}\n")


def _show(rows):
    """Print names and their lines in two columns."""
    width = max((len(name) for name in rows), default=0)
    for name, line in rows.items():
        _print(f"  {name:<{width}}  {line}".rstrip())


def show_tools():
    """Print the table of tools."""
    _print("python -m tools.NAME --help lists the flags of a tool\n")
    _show(find_tools())
    _print("\npython -m tools help NAME   its manual page\npython -m tools --help      presets, data sets, completion")


def show_presets():
    """Print each tool's presets."""
    for tool, module in preset_modules().items():
        _print(f"{tool}: {module.FLAG} NAME\n")
        _show(module.PRESETS)
        _print("")


def show_data():
    """Print the embedded data sets."""
    _print("for --dataset, --data and the like; they come with scikit-learn\n")
    _show(EMBEDDED)


def load_cli(name):
    """Return the function that runs a tool; nothing heavy is imported for it."""
    is_folder = (FOLDER / name).is_dir()
    return importlib.import_module(f"tools.{name}.__main__" if is_folder else f"tools.{name}").cli


def show_help(words):
    """Show the manual page of a tool, or of one of its subcommands, in the pager where stdout is a terminal.

    Raises InputError for unknown names.
    """
    from pydoc import pager
    from shutil import get_terminal_size

    from common.commands import describe
    from common.manual import manual_page

    if not words:
        _print((__doc__ or "").strip())
        return
    lines = find_tools()
    if words[0] not in lines:
        raise InputError("no such tool", where=f"help {visible(words[0])}", do=nearest(words[0], lines))
    line, command = lines[words[0]], describe(load_cli(words[0]))
    for depth, name in enumerate(words[1:], 2):
        if name not in command.subcommands:
            do = nearest(name, command.subcommands) if command.subcommands else "It has no subcommands"
            raise InputError("no such subcommand", where=f"help {' '.join(words[:depth])}", do=do)
        line, command = command.subcommands[name], describe(load_cli(words[0]), words[1:depth])
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    width = min(100, get_terminal_size((100, 24)).columns) if on_terminal or "COLUMNS" in os.environ else 100
    page = manual_page(words[0], line, command, width)
    pager(page) if on_terminal else console.print_out(page)


def show_completion(words):
    """Print the completion script of a shell. Raises InputError for an unknown one."""
    from common.completion import SHELLS, completion

    if len(words) != 1:
        raise InputError("expected one shell", where="completion", do=f"Known: {', '.join(SHELLS)}")
    _print(completion(words[0], {name: load_cli(name) for name in find_tools()}))


LISTS = {"tools": show_tools, "presets": show_presets, "data": show_data}
COMMANDS = {"help": show_help, "completion": show_completion}


def main(words):
    """Do what the first word names, list the tools without one, and return the exit status."""
    name, rest = (words[0], words[1:]) if words else ("tools", [])
    try:
        if name in ("--help", "-h") or {"--help", "-h"} & {*rest}:
            _print((__doc__ or "").strip())
        elif name == "--version":
            _print(version_line())
        elif name in COMMANDS:
            COMMANDS[name](rest)
        elif name in LISTS and not rest:
            LISTS[name]()
        else:
            raise _unknown(name, rest)
    except InputError as error:
        print(console.shown(f"error: {error}"), file=sys.stderr)
        return 2
    return 0


def _unknown(name, rest):
    if name in LISTS:
        return InputError("unexpected word", where=f"python -m tools {name} {visible(rest[0])}", do="Leave it out")
    known = {each: each for each in [*LISTS, *COMMANDS]} | {each: f"python -m tools.{each}" for each in find_tools()}
    close = closest(name, known)
    do = f"Did you mean {known[close]}?" if close else f"Known: {', '.join([*LISTS, *COMMANDS])}"
    return InputError("no such command", where=f"python -m tools {visible(name)}", do=do)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
