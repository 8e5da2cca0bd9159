"""Options that were given and have no effect beside the others: refused, or named in a note.

A tool says when its options act: {name: (whether it acts here, on what it acts)}.
"""

from dataclasses import replace

from common import console, parallel
from common.errors import InputError
from common.options import is_given


def without_effect(options, acts):
    """Return {name: on what it acts} of options that were given and do not act here."""
    return {name: on for name, (effective, on) in acts.items() if not effective and is_given(options, name)}


def check_effects(options, acts, lacking="which is not asked for"):
    """Raise InputError for the first option that was given and does not act here.

    lacking: what is wrong with that on which it acts.
    """
    for name, on in without_effect(options, acts).items():
        no = "no" if getattr(options, name) is False else ""
        other = f", or add {on.partition(',')[0]}" if on.startswith("--") else ""
        raise InputError(f"acts on {on}, {lacking}", where=f"--{no}{name}", do=f"Leave it out{other}")


def note_idle(idle):
    """Say which options do not act, where the original's commands or configurations pass them in any case.

    idle: as from `without_effect`.
    """
    if idle and parallel.is_main():
        console.say("note: without effect here: " + ", ".join(f"--{name} (acts on {on})" for name, on in idle.items()))


def without_idle(options, idle):
    """Return the options with those that do not act at their defaults: other values of them are the same job."""
    usual = type(options)()
    return replace(options, **{name: getattr(usual, name) for name in idle})
