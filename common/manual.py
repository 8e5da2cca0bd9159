"""A command's help as a manual page: name, synopsis, description, options by group, files, exit status, its page."""

import re
import textwrap
from dataclasses import fields
from pathlib import Path

from common.options import CommonOptions
from common.parser import is_switch, make_parser, plain_spellings

PAGES = Path(__file__).parent.parent / "docs"
GROUPS = {  # of flags, by what another value does
    "word": "ARGUMENTS", "required": "REQUIRED",
    "result": "OPTIONS THAT SHAPE RESULTS (a run is resumed with the same values)",
    "total": "OPTIONS THAT EXTEND (a larger value extends a finished run)",
    "how": "OPTIONS ON HOW IT RUNS (paths, hardware, speed, extra outputs)",
    "common": "OPTIONS OF EVERY TOOL"}
EXIT_STATUS = ("0 done; 1 an error in genprobe itself (--debug shows where); 2 invalid input, reported in one "
               "line; 130 interrupted: the same command resumes.")
FILES = re.compile(r"^## (?:Files[^\n]*|The file|What it writes)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^\]]+)\]\([^)\s]+\)")


def manual_page(name, line, command, width=100):
    """Return the manual page of a common.commands.Command as text.

    name: of the tool.  line: what it does, in one.  width: columns to fill.
    """
    inner = width - 7
    examples = command.epilog.partition("examples:\n")[2].rstrip()
    head, _, rest = command.description.partition("\n")
    description = rest if head.strip().rstrip(".") == line.rstrip(".") else command.description
    sections = {"NAME": textwrap.fill(f"{command.prog} - {line}", inner), "SYNOPSIS": _synopsis(command, inner),
                "DESCRIPTION": _filled(description, inner),
                "SUBCOMMANDS": "\n".join(_entry(each, text, inner) for each, text in command.subcommands.items()),
                **(_options(command, inner) if command.options_class else {}),
                "EXAMPLES": textwrap.dedent(examples), "FILES": _files(name, inner),
                "EXIT STATUS": _filled(EXIT_STATUS, inner), "SEE ALSO": _page(name)}
    return "\n\n".join(f"{textwrap.fill(title, width)}\n{textwrap.indent(text, ' ' * 7)}"
                       for title, text in sections.items() if text) + "\n"


def _synopsis(command, width):
    if command.options_class is None:
        return f"{command.prog} SUBCOMMAND [--flag value ...]"
    items = [item for item in fields(command.options_class) if _group(item) in ("word", "required")]
    words = [item.name.upper() if item.metadata.get("word") else f"--{item.name} VALUE"
             for item in sorted(items, key=lambda item: not item.metadata.get("word"))]
    lines = [textwrap.fill(" ".join([command.prog, *words, "[--flag value ...]"]), width, subsequent_indent="    ",
                           break_on_hyphens=False)]
    return "\n".join(lines + [f"{command.prog} SUBCOMMAND [--flag value ...]"] * bool(command.subcommands))


def _options(command, width):
    """Return {title: text} of the flags by group, in the order of GROUPS."""
    actions = {action.dest: action for action in make_parser(command.options_class, command.prog)._actions}
    found = {group: [] for group in GROUPS}
    for item in fields(command.options_class):
        found[_group(item)].append(_flag(actions[item.name], width))
    return {GROUPS[group]: "\n".join(entries) for group, entries in found.items() if entries}


def _group(item):
    if item.metadata.get("word"):
        return "word"
    if item.name in {each.name for each in fields(CommonOptions)}:
        return "common"
    required = item.default is item.default_factory  # neither is given
    return "required" if required else item.metadata.get("kind", "result")


def _flag(action, width):
    """Return one flag's entry: its spellings and value, then what it is, with choices and default."""
    head = ", ".join(plain_spellings(action)) if action.option_strings else action.dest.upper()
    if action.option_strings and not is_switch(action):
        head += f" {{{','.join(map(str, action.choices))}}}" if action.choices else f" {action.metavar}"
        head += " ..." if action.nargs in ("+", "*") else ""
    return _entry(head, action.help.replace("%%", "%"), width)


def _entry(head, text, width):
    """Return a head with its text below it, indented."""
    return "\n".join([head, textwrap.fill(text, width, initial_indent="    ", subsequent_indent="    ")])


def _filled(text, width):
    """Return paragraphs filled to a width; those with indented lines stay as they are."""
    parts = text.strip().split("\n\n")
    return "\n\n".join(part if "\n  " in part else textwrap.fill(" ".join(part.split()), width) for part in parts)


def _files(name, width):
    """Return what the tool's page says about files, the rows of its tables as entries."""
    page = PAGES / f"{name}.md"
    found = FILES.search(page.read_text(encoding="utf-8")) if page.is_file() else None
    text, parts = LINK.sub(r"\1", found[1]) if found else "", []
    for block in text.strip().split("\n\n") if text else ():
        rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in block.splitlines()]
        if block.startswith("|"):
            parts += [_entry(row[0], "; ".join(row[1:]), width) for row in rows[2:]]
        else:
            parts.append(block if block.startswith("```") else _filled(block, width))
    return "\n\n".join(parts).replace("`", "")


def _page(name):
    page = PAGES / f"{name}.md"
    return f"docs/{name}.md{f' ({page})' if page.is_file() and Path.cwd() != PAGES.parent else ''}"
