"""Completion scripts of shells for the tools' subcommands, flags, choices and paths, written by the library shtab."""

import argparse

from common.commands import describe
from common.errors import InputError, nearest
from common.parser import is_switch, make_parser, plain_spellings

SHELLS = ("bash", "zsh", "fish")
ALONE = "[[ $zsh_eval_context[-1] == eval ]]"


def completion(shell, tools):
    """Return the script that teaches a shell the tools' flags. tools: {name of the program: its `cli`}.

    Raises InputError for an unknown shell and where shtab is not installed.
    """
    if shell not in SHELLS:
        raise InputError("unknown shell", where=f"completion {shell}".rstrip(), do=nearest(shell, SHELLS))
    try:
        import shtab
    except ImportError as error:
        raise InputError("needs the package shtab", do="Run make setup, or pip install shtab") from error
    scripts = [shtab.complete(_fill(argparse.ArgumentParser(prog=name), cli, [], shtab.FILE), shell)
               for name, cli in tools.items()]
    if shell == "zsh":  # as written each is a file of its own, loaded by its name; here one file defines them all
        scripts = [script.partition("\n")[2].replace(ALONE, "true") for script in scripts]
        scripts.insert(0, "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }")
    return "\n".join(scripts)


def _fill(parser, cli, words, path):
    """Give a plain parser the flags and subcommands of a command and return it. path: shtab's completion of paths."""
    command = describe(cli, words)
    for action in make_parser(command.options_class, command.prog)._actions if command.options_class else ():
        if action.dest == "help" or not (action.type or action.choices):
            continue
        names = plain_spellings(action)
        if is_switch(action):
            parser.add_argument(*names, action="store_true", help=action.help)
            continue
        added = parser.add_argument(*names, nargs=action.nargs, choices=action.choices, help=action.help)
        if action.type is str and not action.choices:
            added.complete = path
    parser.add_argument("--version", action="store_true", help="show the version and the commit")
    if command.subcommands:
        below = parser.add_subparsers(metavar="SUBCOMMAND", required=False)
        for name, line in command.subcommands.items():
            _fill(below.add_parser(name, help=line.replace("%", "%%")), cli, [*words, name], path)
    return parser
