"""From an options dataclass to a command: flags, help, exit statuses, --json.

A tool is an options dataclass and `main(options) -> Outcome`; `run` (or `dispatch`, where there are subcommands)
does the rest. argparse-dataclass builds the parser; what it lacks (both spellings of a flag, defaults in the help,
booleans in the originals' spellings, one-line errors with the nearest name) is added here. Nothing here imports torch.
"""

import dataclasses
import json
import os
import re
import shlex
import signal
import sys
import time
import typing
from dataclasses import MISSING, dataclass, field

from common.errors import InputError, as_input_error, nearest

REQUIRED = MISSING
KINDS = ("result", "total", "how")  # what an option does to a job's outcome, see common/job.py


def option(default, help, *, short=None, choices=None, nargs=None, type=None, kind="result", metavar=None, word=False,
           low=None, high=None, above=None, below=None):
    """Return a dataclass field that is a flag.

    default: its value, or REQUIRED.  short: further spellings, such as "-bs".  word: given bare, without a flag.
    kind: "result" when another value gives other results (a resumed run must have the same), "total" when a larger
    value extends the run, "how" when results do not depend on it (device, workers, batch size, screen).
    low, high: least and largest value.  above, below: bounds that are not reached.  None (not given) is never checked.
    """
    assert kind in KINDS
    shorts = (short,) if isinstance(short, str) else tuple(short or ())
    metadata = {"help": help, "short": shorts, "choices": choices, "nargs": nargs, "type": type, "kind": kind,
                "metavar": metavar, "word": word, "low": low, "high": high, "above": above, "below": below}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(metadata=metadata) if default is REQUIRED else field(default=default, metadata=metadata)


@dataclass(kw_only=True)
class CommonOptions:
    """Flags that mean the same in every tool."""

    overwrite: bool = option(False, "start anew where an earlier run left outputs", kind="how")
    dry_run: bool = option(False, "check everything, say what would be done, write nothing", kind="how")
    json: bool = option(False, "put one JSON object on stdout", kind="how")
    quiet: bool = option(False, "no progress and no tables", kind="how")
    debug: bool = option(False, "show the traceback of an internal error", kind="how")


@dataclass
class Outcome:
    """What a tool hands back: results under stable names, the files it wrote, and an optional folder of the record."""

    results: dict
    outputs: list = dataclasses.field(default_factory=list)
    record: object = None  # a common.job.RunRecord that takes the finished object, if the tool keeps one


def parse(options_class, argv, prog, description="", epilog=""):
    """Return an options_class made from command-line words. Raises InputError for anything the words have wrong."""
    parser = _make_parser(options_class, prog, description, epilog)
    given = parser.parse_args(_normalise(options_class, list(argv)))
    options = options_class(**{item.name: getattr(given, item.name) for item in dataclasses.fields(options_class)})
    check_bounds(options)
    return options


def check_bounds(options):
    """Raise InputError for the first value, alone or in a list, that is out of bounds, NaN or an empty text."""
    for item in dataclasses.fields(options):
        values = getattr(options, item.name)
        for value in values if isinstance(values, (list, tuple)) else [values]:
            if value == "" != item.default:  # a shell's unset variable: as a path, the current folder
                where = item.name.upper() if item.metadata.get("word") else f"--{item.name}"
                raise InputError("is empty", where=where, do="Pass a value, or leave it out")
            if _is_bounded(item) and value is not None and not _is_within(value, **_bounds(item)):
                where = f"--{item.name} {value}"
                raise InputError(f"must be {_bounds_text(item)}", where=where, do="Correct the value")


def _bounds(item):
    return {name: item.metadata.get(name) for name in ("low", "high", "above", "below")}


def _is_bounded(item):
    return any(bound is not None for bound in _bounds(item).values())


def _is_within(value, low, high, above, below):
    return (low is None or value >= low) and (high is None or value <= high) and (above is None or value > above) \
        and (below is None or value < below) and abs(value) != float("inf") and value == value


def _bounds_text(item):
    """Return a flag's bounds in words: "at least 1", "above 0 and below 1", "from 0 to 1"."""
    low, high, above, below = _bounds(item).values()
    if low is not None and high is not None:
        return f"from {low:g} to {high:g}"
    parts = [(low, "at least"), (above, "above"), (high, "at most"), (below, "below")]
    return " and ".join(f"{word} {bound:g}" for bound, word in parts if bound is not None)


def _make_parser(options_class, prog, description, epilog):
    import argparse

    from argparse_dataclass import ArgumentParser

    class Parser(ArgumentParser):
        def error(self, message):
            raise _flag_error(options_class, message)

        def format_help(self):
            switches = [action for action in self._actions if action.type is _parse_bool]
            for action in switches:  # shown as bare switches; parsed with a value, which _normalise adds
                action.nargs = 0
            text = super().format_help()
            for action in switches:
                action.nargs = None
            return text

    return Parser(
        _mirror(options_class), prog=prog, description=description, epilog=epilog, allow_abbrev=False,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=110),
    )


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
    return dataclasses.make_dataclass(f"{options_class.__name__}Flags", mirrored, kw_only=True)


def _is_required(item):
    return item.default is MISSING and item.default_factory is MISSING


def _flag_metadata(item, hint):
    """Return argparse-dataclass metadata for one field."""
    names = [item.name] if item.metadata.get("word") else [*item.metadata.get("short", ()), f"--{item.name}"]
    if "_" in item.name and not item.metadata.get("word"):
        names.append(f"--{item.name.replace('_', '-')}")
    kind = _parse_bool if hint is bool else item.metadata.get("type") or _element_type(hint)
    text = item.metadata.get("help", "").replace("%", "%%")
    bounds = f"{_bounds_text(item)}; " if _is_bounded(item) else ""
    metadata = {"args": names, "type": kind, "help": f"{text} ({bounds}{_default_text(item)})"}
    for key in ("choices", "nargs"):
        if item.metadata.get(key) is not None:
            metadata[key] = item.metadata[key]
    if hint is not bool and not metadata.get("choices"):
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
    return f"default: {' '.join(map(str, default)) if isinstance(default, list) else default}"


def _parse_bool(word):
    values = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}
    if word.lower() not in values:
        raise ValueError(word)
    return values[word.lower()]


def _normalise(options_class, words):
    """Return the words with the originals' spellings made uniform.

    One or two dashes; --flag, --noflag, --no-flag, --flag=true for booleans; --config.section.name=value as --set.
    """
    booleans = {item.name for item in dataclasses.fields(options_class) if item.type in (bool, "bool")}
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
        elif word.startswith("--") and name != "help":
            raise _unknown_flag(f"--{name}", names)
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


def _unknown_flag(word, names):
    return InputError("unknown flag", where=word, do=nearest(word, [f"--{name}" for name in names]))


def _flag_error(options_class, message):
    """Return the InputError for one of argparse's messages."""
    if message.startswith("unrecognized arguments: "):
        word = message.split(": ", 1)[1].split()[0].split("=")[0]
        if not word.startswith("-"):
            return InputError("unexpected argument", where=word, do="Flags start with --; see --help")
        return _unknown_flag(word, [item.name for item in dataclasses.fields(options_class)])
    if message.startswith("the following arguments are required: "):
        missing = message.split(": ", 1)[1].split(", ")[0].split("/")
        name = next((word for word in missing if word.startswith("--")), missing[0])
        return InputError("missing required flag", where=name, do="See --help")
    if message.startswith("argument "):
        name, _, what = message.removeprefix("argument ").partition(": ")
        name = next((word for word in name.split("/") if word.startswith("--")), name)
        return InputError(_plain_words(what), where=name, do="See --help")
    return InputError(message, do="See --help")


def _plain_words(message):
    """Return what argparse says about one flag's value in other words than a programmer's."""
    kinds = {"int": "an integer", "float": "a number", "_parse_bool": "true or false"}
    found = re.fullmatch(r"invalid (\w+) value: (.*)", message)
    if found and found.group(1) in kinds:
        return f"expected {kinds[found.group(1)]}, not {found.group(2)}"
    if message.startswith("invalid choice: "):
        value, _, known = message.removeprefix("invalid choice: ").rstrip(")").partition(" (choose from ")
        return f"invalid choice {value} (choose from {known})"
    return "expected a value" if message.startswith("expected one argument") else message


def run(main, options_class, prog, description, epilog="", argv=None, subcommand=None, place=None, show=None):
    """Run one command and return its exit status: 0 done, 1 our bug, 2 bad input, 130 interrupted.

    place: options -> folder of the command's record: a command that repeats a finished one to the letter, on inputs
    untouched since, is answered from it before `main` imports anything.  show: prints the results that are in it.
    """
    from common import console

    words = list(sys.argv[1:] if argv is None else argv)
    debug, began = "--debug" in words, time.monotonic()
    try:
        options = parse(options_class, words, prog, description, epilog)
        console.set_quiet(getattr(options, "quiet", False))
        signal.signal(signal.SIGTERM, _interrupt)
        folder = place(options) if place else None
        if folder is None or not _answer(options, prog, folder, show):
            outcome = main(options)
            _hand_out(outcome, options, prog.split()[0], subcommand, time.monotonic() - began)
        return 0
    except SystemExit as error:  # --help
        return error.code or 0
    except InputError as error:
        return _fail(f"error: {in_flags(error, options_class)}", 2)
    except KeyboardInterrupt:
        return _fail(f"interrupted; progress saved, resume with: {_command(prog, words)}", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        mended = as_input_error(error)
        if mended is not None and not debug:
            return _fail(f"error: {mended}", 2)
        if debug:
            raise
        return _fail(f"internal error: {type(error).__name__}: {error} (--debug shows where)", 1)


def _answer(options, prog, folder, show):
    """Answer from the record of a finished run, if it is this very command's; return whether it was."""
    from common import console
    from common.record import quick_answer

    record = quick_answer(folder, prog, options)
    if record is None:
        return False
    console.say(f"{folder}: up to date")
    if show is not None:
        show(record["results"])
    if options.json and int(os.environ.get("RANK", "0")) == 0:
        names = ("tool", "command", "options", "results", "outputs", "seconds")
        print(json.dumps({name: record.get(name) for name in names}, allow_nan=False))
    return True


def in_flags(error, options_class):
    """Return an InputError about parameters of the library as one about the flags of those names."""
    names = {item.name for item in dataclasses.fields(options_class)}
    where = f"--{error.where}" if getattr(error.where, "name", None) in names else error.where
    what, do = (re.sub(r"`(\w+)`", lambda found: f"--{found[1]}" if found[1] in names else found[1], text or "")
                for text in (error.what, error.do))
    return InputError(what, where=where, do=do)


def _command(prog, words):
    """Return the command as the user can give it again."""
    start = "python -m tools." if sys.argv[0].endswith("__main__.py") else ""
    return start + shlex.join([*prog.split(), *words])


def _interrupt(signum, frame):
    raise KeyboardInterrupt


def _fail(line, status):
    print(" ".join(line.split()), file=sys.stderr)
    return status


def _hand_out(outcome, options, tool, subcommand, seconds):
    """Write the run record, and the JSON object if it was asked for (rank 0 alone under torchrun)."""
    from common.files import plain

    record = {
        "tool": tool,
        "command": f"{tool} {subcommand}" if subcommand else tool,
        "options": plain(dataclasses.asdict(options)),
        "results": plain(outcome.results),
        "outputs": plain(outcome.outputs),
        "seconds": round(seconds, 3),
    }
    if int(os.environ.get("RANK", "0")) != 0:
        return
    if outcome.record is not None and not getattr(options, "dry_run", False):
        record = outcome.record.finish(record)
    if getattr(options, "json", False):
        print(json.dumps(record, allow_nan=False))


def dispatch(commands, prog, description, argv=None):
    """Run the subcommand that the first word names. commands: {name: (one line, function of the remaining words)}."""
    words = list(sys.argv[1:] if argv is None else argv)
    listing = "\n".join(f"  {name:<12} {line}" for name, (line, _) in commands.items())
    if not words or words[0] in ("-h", "--help"):
        print(f"usage: {prog} SUBCOMMAND --flag value ...\n\n{description}\n\nsubcommands:\n{listing}\n\n"
              f"{prog} SUBCOMMAND --help lists the flags of one.")
        return 0 if words else _fail(f"error: {prog}: no subcommand. Give one of {', '.join(commands)}.", 2)
    if words[0] not in commands:
        error = InputError("unknown subcommand", where=f"{prog} {words[0]}", do=nearest(words[0], commands))
        return _fail(f"error: {error}", 2)
    return commands[words[0]][1](words[1:])
