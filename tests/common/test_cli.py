"""From words to options to exit statuses."""

import contextlib
import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import List, Optional

import pytest

from common import console, parallel
from common.cli import _INTERRUPTED, Outcome, _interrupt, dispatch, in_flags, run
from common.errors import InputError, Parameter, as_input_error
from common.options import REQUIRED, CommonOptions, option
from common.parser import parse
from common.threads import Threads


@dataclass(kw_only=True)
class Options(CommonOptions):
    """Flags of a made-up tool."""

    data: str = option(REQUIRED, "where the data is")
    num_samples: int = option(50_000, "how many, at 100% effort", short="-n", kind="total")
    rate: Optional[float] = option(None, "learning rate")
    flip: bool = option(True, "mirror images")
    fast: bool = option(False, "hurry")
    sizes: List[int] = option([8, 16], "sides", nargs="*", type=int)
    mode: str = option("pc", "sampler", choices=("pc", "ode"))
    set: List[str] = option([], "overrides", nargs="*", type=str)


def words(text):
    return parse(Options, text.split(), "made_up")


def refused(text):
    with pytest.raises(InputError) as caught:
        words(text)
    return str(caught.value)


@pytest.mark.parametrize("text", ["--num_samples 7", "--num-samples 7", "--num_samples=7", "-n 7", "-num_samples 7"])
def test_every_spelling_of_a_flag_is_taken(text):
    assert words(f"--data d {text}").num_samples == 7


@pytest.mark.parametrize(("text", "value"), [
    ("", True), ("--flip", True), ("--no_flip", False), ("--noflip", False), ("--no-flip", False),
    ("--flip=false", False), ("--flip=True", True),
])
def test_every_spelling_of_a_boolean_is_taken(text, value):
    assert words(f"--data d {text}").flip is value


def test_lists_optionals_and_defaults():
    options = words("--data d --sizes 4 8 12 --rate 1e-3")
    assert (options.sizes, options.rate, options.fast) == ([4, 8, 12], 1e-3, False)
    assert words("--data d").sizes == [8, 16]
    assert words("--data d --rate -2.5").rate == -2.5


@pytest.mark.parametrize("text", [
    "--config.model.nf=16 --config.seed 3", "--set model.nf=16 --set seed=3", "--set model.nf 16 --config.seed=3",
])
def test_overrides_are_gathered(text):
    assert words(f"--data d {text}").set == ["model.nf=16", "seed=3"]


@pytest.mark.parametrize(("text", "said"), [
    ("", "--data: missing required flag"), ("--data d --num_sample 3", "Did you mean --num_samples?"),
    ("--data d --num_samples many", "--num_samples: expected an integer, not 'many'"),
    ("--data d --mode sde", "--mode: invalid choice 'sde'"), ("--data d --mode PCC", "Did you mean pc?"),
    ("--data d --no_flipp", "Did you mean --no_flip?"), ("--data d -rat 3", "Did you mean --rate?"),
    ("--data d --flip=maybe", "expected true or false"),
    ("--data d stray", "stray: unexpected argument"), ("--data", "--data: expected a value"),
])
def test_wrong_words_are_named(text, said):
    assert said in refused(text)


@pytest.mark.parametrize("word", ["", " ", "\n"])
def test_a_word_that_is_blank_is_shown_in_quotes(word):
    """As "$EMPTY" in a script gives one."""
    with pytest.raises(InputError) as caught:
        parse(Options, ["--data", "d", word], "made_up")
    assert str(caught.value).startswith(f"{word!r}: unexpected argument. An empty variable in quotes")
    with pytest.raises(InputError, match="unknown subcommand") as caught:
        parse(Options, [word, "--data", "d"], "made_up", "", "subcommands:\n  show  one\n\nexamples:\n  made_up")
    assert str(caught.value).startswith(repr(word))


def test_a_wrong_subcommand_is_answered_with_the_nearest(tmp_path, monkeypatch):
    """Of a command that runs without one, too, unless the word may be a path."""
    monkeypatch.chdir(tmp_path)
    epilog = "subcommands:\n  show     one\n  compare  two\n\nexamples:\n  made_up"
    with pytest.raises(InputError, match=r"shwo: unknown subcommand. Did you mean show\?"):
        parse(Options, ["shwo", "--data", "d"], "made_up", "", epilog)
    (tmp_path / "shwo").touch()
    with pytest.raises(InputError, match="quote it"):
        parse(Options, ["shwo", "--data", "d"], "made_up", "", epilog)


def test_help_fits_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert run(lambda options: None, Options, "made_up", "What it does", argv=["--help"]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert max(len(line) for line in lines if not line.startswith("  -n INT, --num_samples")) <= 40


def test_help_tells_defaults_and_spellings(capsys):
    assert run(lambda options: None, Options, "made_up", "What it does", argv=["--help"]) == 0
    text = capsys.readouterr().out
    assert "(default: 50000)" in text
    assert "default: on; --no_flip for off" in text
    assert "100% effort" in text
    text = text[text.index("options:") :]
    assert text.index("--data") < text.index("--num_samples") < text.index("--overwrite")


def test_a_bare_word_can_be_an_option(capsys):
    @dataclass(kw_only=True)
    class Bare(CommonOptions):
        folder: str = option(REQUIRED, "where", word=True)

    assert parse(Bare, ["--quiet", "runs/a"], "made_up").folder == "runs/a"
    assert run(lambda options: None, Bare, "made_up", "", argv=[]) == 2
    assert "FOLDER" in capsys.readouterr().err


def test_json_is_one_object_on_stdout(capsys):
    outcome = Outcome(results={"score": float("nan"), "parts": (1, 2)}, outputs=["a.npz"])
    assert run(lambda options: outcome, Options, "made_up", "", argv=["--data", "d", "--json"], subcommand="go") == 0
    record = json.loads(capsys.readouterr().out)
    assert list(record) == ["tool", "command", "options", "results", "outputs", "seconds"]
    assert record["command"] == "made_up go"
    assert record["results"] == {"score": None, "parts": [1, 2]}


@pytest.mark.parametrize(("error", "status", "said"), [
    (InputError("empty", where="d", do="Fill it"), 2, "error: d: empty. Fill it."),
    (OSError(28, "No space left", "out/x"), 2, "error: out/x: no space left on the disk"),
    (ZeroDivisionError("oops"), 1, "internal error: ZeroDivisionError: oops"),
    (KeyboardInterrupt(), 130, "interrupted"),
])
def test_exit_statuses(error, status, said, capsys):
    def main(options):
        raise error

    assert run(main, Options, "made_up", "", argv=["--data", "d"]) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert "Traceback" not in captured.err


def test_debug_shows_an_internal_error_in_full():
    def main(options):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main, Options, "made_up", "", argv=["--data", "d", "--debug"])


def test_sigterm_ends_as_an_interruption():
    code = (
        "import os, signal, sys\nfrom common.cli import run\nfrom common.options import CommonOptions\n"
        "sys.exit(run(lambda options: os.kill(os.getpid(), signal.SIGTERM), CommonOptions, 'made_up', '', argv=[]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=os.getcwd())
    assert done.returncode == 130
    assert done.stderr.startswith("interrupted")


def test_dispatch_picks_the_subcommand(capsys):
    commands = {"train": ("learn", lambda rest: (print(rest), 0)[1]), "sample": ("draw", lambda rest: 0)}
    assert dispatch(commands, "made_up", "A tool", ["train", "--x", "1"]) == 0
    assert capsys.readouterr().out == "['--x', '1']\n"
    assert dispatch(commands, "made_up", "A tool", ["--help"]) == 0
    assert "sample" in capsys.readouterr().out
    assert dispatch(commands, "made_up", "A tool", ["trian"]) == 2
    assert "Did you mean train?" in capsys.readouterr().err
    assert dispatch(commands, "made_up", "A tool", []) == 2


@pytest.mark.parametrize("after", ["raise AttributeError('half imported')",
                                   "Job('made_up_folder', 'made_up', options).run(dict, dict)"])
def test_an_interruption_that_an_import_swallows_ends_the_command_all_the_same(after, tmp_path):
    program = ("import os, signal, sys\nfrom common.cli import run\nfrom common.job import Job\n"
               "from common.options import CommonOptions\ndef main(options):\n"
               "    try:\n        os.kill(os.getpid(), signal.SIGINT)\n        signal.pause()\n"
               f"    except KeyboardInterrupt:\n        pass\n    {after}\n"
               "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
               f"os.chdir({str(tmp_path)!r})\nsys.exit(run(main, CommonOptions, 'made_up', '', argv=[]))")
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr.startswith("interrupted; ")) == (130, True), ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rank", ["0", "1"])
def test_of_several_processes_the_main_one_speaks(rank, monkeypatch, capsys):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", "2")

    def main(options):
        console.say("one line")
        return Outcome({})

    assert run(main, Options, "made_up", "", argv=["--data", "d"]) == 0
    console.set_quiet(False)
    assert capsys.readouterr().err.count("one line") == int(rank == "0")


@pytest.mark.parametrize(("variables", "said"), [
    ("WORLD_SIZE=abc", "WORLD_SIZE=abc: is not a number of processes."),
    ("WORLD_SIZE=0", "WORLD_SIZE=0: is not a number"),
    ("WORLD_SIZE=-2", "WORLD_SIZE=-2: is not a number"),
    ("WORLD_SIZE=2", "RANK: is not set, of 2 processes (WORLD_SIZE)."),
    ("WORLD_SIZE=2 RANK=2", "RANK: is 2, of 2 processes"), ("WORLD_SIZE=2 RANK=x", "RANK: is x, of 2 processes"),
    ("WORLD_SIZE=2 RANK=0 LOCAL_RANK=q", "LOCAL_RANK=q: is not a number")])
def test_variables_of_torchrun_that_do_not_go_together_are_refused(variables, said, monkeypatch, capsys):
    for word in variables.split():
        monkeypatch.setenv(*word.split("="))
    assert run(lambda options: Outcome({}), Options, "made_up", "", argv=["--data", "d"]) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.endswith("Start several processes with torchrun, which sets it, or unset WORLD_SIZE for one.\n")


@pytest.mark.parametrize(("variables", "said"), [
    ({}, "MASTER_ADDR: is not set, for 2 processes"), ({"MASTER_ADDR": "localhost"}, "MASTER_PORT: is not set"),
    ({"MASTER_ADDR": "localhost", "MASTER_PORT": "http"}, "MASTER_PORT: is http, for 2 processes")])
def test_processes_without_a_place_to_meet_are_refused(variables, said, monkeypatch):
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=re.escape(said)), parallel.process_group():
        pass


def test_without_a_world_size_no_other_variable_counts(monkeypatch):
    """A cluster's jobs have RANK by themselves: one process that took itself for the second would do half the work."""
    for name, value in (("RANK", "1"), ("LOCAL_RANK", "1"), ("WORLD_SIZE", "")):
        monkeypatch.setenv(name, value)
    assert (parallel.rank(), parallel.world_size(), parallel.local_rank(), parallel.is_main()) == (0, 1, 0, True)
    assert parallel.shard("abc") == ["a", "b", "c"]


def test_a_parameter_is_shown_as_its_flag_and_a_path_of_that_name_as_it_is():
    for where, shown in ((Parameter("rate", 3), "--rate 3"), (Path("a") / "rate", str(Path("a") / "rate"))):
        assert str(in_flags(InputError("wrong", where=where), Options)).startswith(f"{shown}: ")


def test_where_a_default_is_not_there_the_advice_is_its_flag():
    options = make_dataclass("Options", [("weights", str, option("checkpoints/it.pt", "a file"))])
    for path, told in (("checkpoints/it.pt", "Put it there, or pass --weights."), ("other.pt", "Check the path.")):
        error = as_input_error(FileNotFoundError(errno.ENOENT, "", path), where=path)
        assert str(in_flags(error, options)) == f"{path}: no such file or folder. {told}"


def test_an_interruption_of_which_a_library_made_another_error_is_one(capsys):
    def main(options):
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        sys.unraisablehook(None)
        raise InputError("not a complete file", where="network", do="Copy it again")

    hook, handler = sys.unraisablehook, signal.getsignal(signal.SIGTERM)
    try:
        assert run(main, Options, "made_up", "A tool.", argv=["--data", "x"]) == 130
        assert capsys.readouterr().err.startswith("interrupted; progress saved, resume with: ")
        assert run(lambda options: Outcome({}), Options, "made_up", "A tool.", argv=["--data", "x"]) == 0
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGTERM, handler)


def test_an_interruption_waits_until_a_pool_knows_of_its_thread():
    """Else the pool would not wait for the thread, and the process would end in the middle of its writing."""
    ended, hook, handler = [], sys.unraisablehook, signal.signal(signal.SIGTERM, _interrupt)

    def write():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
        ended.append(1)

    def interrupted():
        with Threads(1) as pool:
            pool.submit(write)
            time.sleep(1)

    try:
        for number in range(10):
            with pytest.raises(KeyboardInterrupt):
                interrupted()
            assert len(ended) == number + 1
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGTERM, handler)
        _INTERRUPTED.clear()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_amid_the_import_of_torch_comes_after_it(number, monkeypatch):
    spec = SimpleNamespace(_initializing=True)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(__spec__=spec))
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    before = signal.signal(number, _interrupt)
    try:
        signal.raise_signal(number)
        time.sleep(0.3)  # it comes again and again, and is put off
        spec._initializing = False
        with pytest.raises(KeyboardInterrupt):
            time.sleep(5)
    finally:
        signal.signal(number, before)
        _INTERRUPTED.clear()
