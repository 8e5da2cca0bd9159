"""From an options dataclass to a command: exit statuses, one-line errors, --json, answers of finished jobs.

A tool is an options dataclass and `main(options) -> Outcome`; `run` (or `dispatch`, where there are subcommands)
does the rest. Nothing here imports torch.
"""

import contextlib
import dataclasses
import errno
import json
import os
import re
import shlex
import signal
import sys
import threading
import time
from dataclasses import dataclass

from common.commands import is_asked
from common.errors import SYSTEM_ADVICE, InputError, Parameter, as_input_error, nearest, visible
from common.parser import parse
from common.paths import cache_dir


@dataclass
class Outcome:
    """What a tool hands back: results under stable names, the files it wrote, and an optional folder of the record."""

    results: dict
    outputs: list = dataclasses.field(default_factory=list)
    record: object = None  # a common.job.Job that takes the finished object, if the tool keeps a record


def run(main, options_class, prog, description, epilog="", argv=None, subcommand=None, place=None, show=None,
        translate=None):
    """Run one command and return its exit status: 0 done, 1 our bug, 2 bad input, 130 interrupted.

    place: options -> folder of the command's record: a command that repeats a finished one to the letter, on inputs
    untouched since, is answered from it before `main` imports anything.  show: prints the results that are in it.
    translate: words -> words, for a command that knows others than flags.
    """
    from common import console, parallel

    if is_asked(prog, description, epilog, options_class):
        return 0
    words = list(sys.argv[1:] if argv is None else argv)
    _INTERRUPTED.clear()
    debug, began = "--debug" in words, time.monotonic()
    console.outlive_terminal()
    try:
        _check_surroundings()
        os.environ.setdefault("MPLCONFIGDIR", str(cache_dir().absolute() / "matplotlib"))  # not the home directory
        options = parse(options_class, translate(words) if translate else words, prog, description, epilog)
        console.set_quiet(getattr(options, "quiet", False) or not parallel.is_main())
        signal.signal(signal.SIGTERM, _interrupt)
        if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:  # until here it ends the process in silence
            signal.signal(signal.SIGINT, _interrupt)
        folder = place(options) if place else None
        if folder is None or not _answer(options, prog, folder, show):
            outcome = main(options)
            if outcome.record is not None:
                outcome.record.words = words
            _hand_out(outcome, options, prog.split()[0], subcommand, time.monotonic() - began)
        return 0
    except SystemExit as error:  # --help
        return error.code or _print_help("")
    except InputError as error:
        stopped = _INTERRUPTED and not debug  # a library made another error of it
        return _fail_interrupted(prog, words) if stopped else _fail(f"error: {in_flags(error, options_class)}", 2)
    except KeyboardInterrupt:
        return _fail_interrupted(prog, words)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if _INTERRUPTED and not debug:  # an import that was cut short
            return _fail_interrupted(prog, words)
        mended = as_input_error(error)
        if mended is not None and not debug:
            return _fail(f"error: {mended}", 2)
        if debug:
            raise
        return _fail(f"internal error: {type(error).__name__}: {error} (--debug shows where)", 1)


def leave(cli):
    """Run a command's `cli` as the whole process, and end it with its status.

    After an interruption Python's own ending is left out: where the import of a library was interrupted it may abort,
    or report a signal.
    """
    status = cli()
    for signum in (signal.SIGINT, signal.SIGTERM):  # all is done; the libraries' own ending would show a traceback
        signal.signal(signum, signal.SIG_IGN)
    if status == 130:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.flush()
        os._exit(status)
    sys.exit(status)


def _answer(options, prog, folder, show):
    """Answer from the record of a finished run, if it is this very command's; return whether it was."""
    from common import console, parallel
    from common.record import quick_answer

    record = quick_answer(folder, prog, options)
    if record is None:
        return False
    console.say(f"{folder}: up to date")
    if show is not None:
        show(record["results"])
    if options.json and parallel.is_main():
        names = ("tool", "command", "options", "results", "outputs", "seconds")
        console.print_out(json.dumps({name: record.get(name) for name in names}, allow_nan=False) + "\n")
    return True


def in_flags(error, options_class):
    """Return an InputError about parameters of the library as one about the flags of those names.

    Where a file is missing that was asked for by a default alone, the advice names the flag.
    """
    fields = dataclasses.fields(options_class)
    names = {item.name for item in fields}
    defaults = {item.default: item.name for item in fields if isinstance(item.default, str)}
    where = error.where  # a path has a name, too
    if isinstance(where, Parameter) and where.name in names:
        where = f"--{where}"
    what, do = (re.sub(r"`(\w+)`", lambda found: f"--{found[1]}" if found[1] in names else found[1], text or "")
                for text in (error.what, error.do))
    if what == SYSTEM_ADVICE[errno.ENOENT][0] and str(where) in defaults:
        do = f"Put it there, or pass --{defaults[str(where)]}"
    return InputError(what, where=where, do=do)


def _fail_interrupted(prog, words):
    return _fail(f"interrupted; progress saved, resume with: {_command(prog, words)}", 130)


def _command(prog, words):
    """Return the command as the user can give it again."""
    start = "python -m tools." if sys.argv[0].endswith("__main__.py") else ""
    return start + shlex.join([*prog.split(), *words])


_INTERRUPTED = []  # signals that asked to stop: an import that they meet may swallow the exception, or raise another
_HELD = []  # one entry for each held_interruptions


def _interrupt(signum, frame):
    _INTERRUPTED.append(signum)
    sys.unraisablehook = _ignore  # objects that were half made
    if _HELD:
        return
    if not _is_imported_now("torch"):
        raise KeyboardInterrupt
    again = threading.Timer(0.1, os.kill, (os.getpid(), signum))  # torch's C++ aborts when an exception comes amid it
    again.daemon = True
    again.start()


def _is_imported_now(name):
    """Return whether a module is in the middle of its import."""
    return getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False)


def _ignore(unraisable):
    pass


@contextlib.contextmanager
def held_interruptions():
    """Let an interruption wait until the body has ended, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _HELD.append(None)
    try:
        yield
    finally:
        _HELD.pop()
    if not _HELD:
        check_interrupted()


def cause_of(error):
    """Return the interruption of which a library made another error, where the process was asked to stop, else the
    error."""
    return KeyboardInterrupt() if _INTERRUPTED and isinstance(error, Exception) else error


def check_interrupted():
    """Raise KeyboardInterrupt when the process was asked to stop and an import swallowed it."""
    if _INTERRUPTED:
        raise KeyboardInterrupt


def _fail(line, status):
    from common.console import shown

    print(shown(" ".join(line.split())), file=sys.stderr)
    return status


def _print_help(text):
    """Write help to stdout and return the exit status."""
    from common import console

    try:
        console.print_out(text)
    except InputError as error:
        return _fail(f"error: {error}", 2)
    return 0


def _check_surroundings():
    """Raise InputError when the current folder is gone, as every relative path would be said to be missing, and for
    variables of torchrun that do not go together."""
    from common import parallel

    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise InputError("the current folder has been removed", do="Change into another folder") from error
    parallel.check_ranks()


def _hand_out(outcome, options, tool, subcommand, seconds):
    """Write the run record, and the JSON object if it was asked for (rank 0 alone under torchrun)."""
    from common import console

    record = finish(outcome, options, f"{tool} {subcommand}" if subcommand else tool, seconds)
    if record is not None and getattr(options, "json", False):
        console.print_out(json.dumps(record, allow_nan=False) + "\n")


def finish(outcome, options, command, seconds):
    """Return the JSON object of what a command did, its record written; None in other processes than the main one."""
    from common import parallel
    from common.files import plain

    if not parallel.is_main():
        return None
    record = {
        "tool": command.split()[0],
        "command": command,
        "options": plain(dataclasses.asdict(options)),
        "results": plain(outcome.results),
        "outputs": plain(outcome.outputs),
        "seconds": round(seconds, 3),
    }
    if outcome.record is not None and not getattr(options, "dry_run", False):
        record = outcome.record.finish(record)
    return record


def dispatch(commands, prog, description, argv=None):
    """Run the subcommand that the first word names. commands: {name: (one line, function of the remaining words)}."""
    lines = {name: line for name, (line, _) in commands.items()}
    words = list(sys.argv[1:] if argv is None else argv)
    if not (words and words[0] in commands) and is_asked(prog, description, subcommands=lines):
        return 0
    listing = "\n".join(f"  {name:<12} {line}" for name, line in lines.items())
    if words[:1] == ["--version"]:
        from common.version import version_line

        return _print_help(f"{version_line(prog)}\n")
    if not words or words[0] in ("-h", "--help"):
        status = _print_help(f"usage: {prog} SUBCOMMAND --flag value ...\n\n{description}\n\nsubcommands:\n"
                             f"{listing}\n\n{prog} SUBCOMMAND --help lists the flags of one.\n")
        return status if words else _fail(f"error: {prog}: no subcommand. Give one of {', '.join(commands)}.", 2)
    if words[0] not in commands:
        error = InputError("unknown subcommand", where=f"{prog} {visible(words[0])}", do=nearest(words[0], commands))
        return _fail(f"error: {error}", 2)
    return commands[words[0]][1](words[1:])
