"""From command-line words to options.

argparse-dataclass builds the parser; what it lacks (both spellings of a flag, defaults and bounds in the help, booleans
in the originals' spellings, one-line errors with the nearest name) is added here.
"""

import dataclasses
import os
import re
import shutil
import sys
import typing
from dataclasses import MISSING, field

from common import console
from common.commands import subcommands_of
from common.errors import InputError, closest, nearest
from common.options import ALL, CommonOptions, bounds_text, check_bounds, is_bounded


def parse(options_class, argv, prog, description="", epilog=""):
    """Return an options_class made from command-line words. Raises InputError for anything the words have wrong."""
    import argparse

    _check_subcommand(options_class, list(argv), subcommands_of(epilog))
    parser = make_parser(options_class, prog, description, epilog)
    words = _normalise(options_class, list(argv))
    given, others = argparse.ArgumentParser.parse_known_args(parser, words)  # not a mirror, which has no __init__
    if others:
        raise _unexpected(others[0], options_class)
    options = options_class(**{name: value for name, value in vars(given).items() if value is not MISSING})
    check_bounds(options)
    return options


def make_parser(options_class, prog, description="", epilog=""):
    """Return the argparse parser of a command; it takes words that `parse` has made uniform."""
    import argparse

    from argparse_dataclass import ArgumentParser

    class Parser(ArgumentParser):
        def error(self, message):
            raise _flag_error(options_class, message)

        def print_help(self, file=None):
            console.print_out(self.format_help())  # how argparse takes a full disk depends on Python's release

        def format_help(self):
            switches = [action for action in self._actions if is_switch(action)]
            for action in switches:  # shown as bare switches; parsed with a value, which _normalise adds
                action.nargs = 0
            text = super().format_help()
            for action in switches:
                action.nargs = None
            return text

    class Version(argparse.Action):
        def __call__(self, parser, namespace, values, option_string=None):
            from common.version import version_line

            console.print_out(f"{version_line(prog)}\n")
            parser.exit()

    parser = Parser(
        _mirror(options_class), prog=prog, description=description, epilog=epilog, allow_abbrev=False,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=_width()),
    )
    parser.add_argument("--version", action=Version, nargs=0, dest=argparse.SUPPRESS,
                        help="show the version and the commit, and exit")
    return parser


def is_switch(action):
    """Return whether an argument of a made parser is a flag that is on or off."""
    return action.type is _parse_bool


def plain_spellings(action):
    """Return a flag's spellings but those with dashes in place of underscores; of a bare word its name."""
    return [name for name in action.option_strings if "-" not in name.lstrip("-")] or [action.dest]


def _width():
    """Return the columns of a help text: 110, fewer on a narrow terminal."""
    known = "COLUMNS" in os.environ or (sys.stdout is not None and sys.stdout.isatty())
    return min(110, shutil.get_terminal_size().columns - 2) if known else 110


def _mirror(options_class):
    """Return a class of the same fields for argparse-dataclass: both spellings, defaults told, required ones first."""
    common = {item.name for item in dataclasses.fields(CommonOptions)}
    items = sorted(dataclasses.fields(options_class), key=lambda item: (not _is_required(item), item.name in common))
    hints = typing.get_type_hints(options_class)
    mirrored = []
    for item in items:
        extra = {} if _is_required(item) else {"default": item.default}
        if item.default_factory is not MISSING:
            extra = {"default_factory": item.default_factory}
        mirrored.append((item.name, object, field(metadata=_flag_metadata(item, hints[item.name]), **extra)))
    bare = {"init": False, "repr": False, "eq": False, "match_args": False}  # methods would take as long as the parser
    return dataclasses.make_dataclass(f"{options_class.__name__}Flags", mirrored, kw_only=True, **bare)


def _is_required(item):
    return item.default is MISSING and item.default_factory is MISSING


def _flag_metadata(item, hint):
    """Return argparse-dataclass metadata for one field."""
    names = [item.name] if item.metadata.get("word") else [*item.metadata.get("short", ()), f"--{item.name}"]
    if "_" in item.name and not item.metadata.get("word"):
        names.append(f"--{item.name.replace('_', '-')}")
    is_switch = _element_type(hint) is bool
    kind = _parse_bool if is_switch else item.metadata.get("type") or _element_type(hint)
    text = item.metadata.get("help", "").replace("%", "%%")
    bounds = f"{bounds_text(item)}; " if is_bounded(item) else ""
    default = _default_text(item)
    if "default:" in text and default == "default: none":  # the text says what stands for it
        bounds, default = bounds.removesuffix("; "), ""
    added = f" ({bounds}{default})" if bounds or default else ""
    metadata = {"args": names, "type": kind, "help": f"{text}{added}"}
    for key in ("choices", "nargs"):
        if item.metadata.get(key) is not None:
            metadata[key] = item.metadata[key]
    if not is_switch and not metadata.get("choices"):
        plain = item.name if item.metadata.get("word") else getattr(kind, "__name__", "value").strip("_")
        metadata["metavar"] = item.metadata.get("metavar") or plain.upper()
    return metadata


def _element_type(hint):
    """Return the type of one word: int for int, Optional[int], List[int]."""
    arguments = [part for part in typing.get_args(hint) if part is not type(None)]
    return _element_type(arguments[0]) if arguments else hint


def _default_text(item):
    if _is_required(item):
        return "required"
    default = item.default if item.default is not MISSING else item.default_factory()
    if isinstance(default, bool):
        return f"default: on; --no_{item.name} for off" if default else "default: off"
    if default in (None, [], ""):
        return "default: none"
    if default == ALL:
        return "default: all"
    return f"default: {' '.join(map(str, default)) if isinstance(default, list) else default}"


def _parse_bool(word):
    values = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}
    if word.lower() not in values:
        raise ValueError(word)
    return values[word.lower()]


def switches(options_class):
    """Return the names of the flags that are on or off; those without a default (Optional[bool]) are among them."""
    return {item.name for item in dataclasses.fields(options_class)
            if item.type in (bool, "bool", typing.Optional[bool])}


def _normalise(options_class, words):
    """Return the words with the originals' spellings made uniform.

    One or two dashes; --flag, --noflag, --no-flag, --flag=true for booleans; --config.section.name=value as --set.
    """
    booleans = switches(options_class)
    names = {item.name for item in dataclasses.fields(options_class) if not item.metadata.get("word")}
    result = []
    for index, word in enumerate(words):
        if word == "--":
            return result + words[index:]
        name, equals, value = word.lstrip("-").partition("=")
        name = name.replace("-", "_") if name.replace("-", "_").removeprefix("no").lstrip("_") in names else name
        negated = name.removeprefix("no").lstrip("_")
        if not word.startswith("-"):
            result.append(word)
        elif name.startswith("config.") and "set" in names:
            result += ["--set", name.removeprefix("config.") + equals + value]
        elif name in booleans:
            result.append(f"--{name}={value or 'true'}")
        elif name not in names and negated in booleans and not equals:
            result.append(f"--{negated}=false")
        elif name in names:
            result.append(f"--{name}{equals}{value}")
        elif word.startswith("--") and name not in ("help", "version") and len(name.split()) == 1:
            raise _unknown_flag(word.partition("=")[0], options_class)  # several words are a text
        else:
            result.append(word)
    return _gather_overrides(result)


def _gather_overrides(words):
    """Return the words with every `--set a=1`, `--set a 1` put behind one last `--set` (argparse keeps only one)."""
    kept, overrides, rest = [], [], iter(words)
    for word in rest:
        if word != "--set":
            kept.append(word)
            continue
        entry = next(rest, "")
        value = "" if "=" in entry else next(rest, "--")
        if value.startswith("--"):
            raise InputError("expected a value", where=f"--config.{entry}", do="Write --config.section.name=value")
        overrides.append(entry if "=" in entry else f"{entry}={value}")
    return kept + (["--set", *overrides] if overrides else [])


def _unknown_flag(word, options_class):
    flags = [item for item in dataclasses.fields(options_class) if not item.metadata.get("word")]
    known = [f"--{item.name}" for item in flags]
    turned_off = [f"--no_{item.name}" for item in flags if item.name in switches(options_class)]
    name = f"--{word.lstrip('-').replace('-', '_')}"
    close = closest(name, known + turned_off)
    return InputError("unknown flag", where=word, do=f"Did you mean {close}?" if close else "See --help")


def _check_subcommand(options_class, words, subcommands):
    """Raise InputError where the first word is meant as a subcommand and is none."""
    if not subcommands or not words or words[0].startswith("-") or os.path.exists(words[0]):
        return
    takes_words = any(item.metadata.get("word") for item in dataclasses.fields(options_class))
    if not takes_words or closest(words[0], subcommands):
        raise InputError("unknown subcommand", where=words[0], do=nearest(words[0], subcommands))


def _unexpected(word, options_class):
    """Return the InputError for a word that no flag takes."""
    if word.startswith("-"):
        return _unknown_flag(word.split("=")[0], options_class)
    do = "Flags start with --; see --help"
    if not word.strip():
        do = "An empty variable in quotes is a word of its own: leave it out"
    elif os.path.exists(word):
        do = "A pattern such as *.npz becomes several words unless it is quoted: quote it, or name one file"
    return InputError("unexpected argument", where=word, do=do)


def _flag_error(options_class, message):
    """Return the InputError for one of argparse's messages."""
    if message.startswith("the following arguments are required: "):
        missing = message.split(": ", 1)[1].split(", ")[0].split("/")
        name = next((word for word in missing if word.startswith("--")), missing[0])
        return InputError("missing required flag", where=name, do="See --help")
    if message.startswith("argument "):
        name, _, what = message.removeprefix("argument ").partition(": ")
        name = next((word for word in name.split("/") if word.startswith("--")), name)
        return InputError(_plain_words(what), where=name, do=_advice(what, options_class, name))
    return InputError(message, do="See --help")


def _advice(message, options_class, name):
    """Return what to do about one flag's value: the nearest of its choices, where one is near."""
    choices = next((item.metadata.get("choices") for item in dataclasses.fields(options_class)
                    if item.name == name.lstrip("-")), None)
    found = re.match(r"invalid choice: '?(.*?)'? \(", message)
    close = closest(found[1], choices) if found and choices else None
    return f"Did you mean {close}?" if close else "See --help"


def _plain_words(message):
    """Return what argparse says about one flag's value in other words than a programmer's."""
    kinds = {"int": "an integer", "whole_number": "an integer, such as 10000 or 1e4",
             "number_or_all": "an integer, such as 10000 or 1e4, or all", "float": "a number",
             "_parse_bool": "true or false"}
    found = re.fullmatch(r"invalid (\w+) value: (.*)", message)
    if found and found.group(1) in kinds:
        return f"expected {kinds[found.group(1)]}, not {found.group(2)}"
    if message.startswith("invalid choice: "):
        value, _, known = message.removeprefix("invalid choice: ").rstrip(")").partition(" (choose from ")
        return f"invalid choice {value} (choose from {known})"
    return "expected a value" if message.startswith("expected one argument") else message
