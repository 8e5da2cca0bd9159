"""`python -m tools`: what there is, told without importing it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from common.commands import describe
from tools.__main__ import EMBEDDED, find_tools, load_cli, main, preset_modules

ROOT = Path(__file__).parent.parent


def ask(*words):
    command = [sys.executable, "-X", "importtime", "-m", "tools", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert " torch" not in done.stderr
    return done


def test_the_list_has_one_line_for_each_tool():
    done = ask()
    assert done.returncode == 0
    for name, line in find_tools().items():
        assert any(text.split() == [name, *line.split()] for text in done.stdout.splitlines())
        assert line


def test_tools_are_read_and_not_imported(tmp_path):
    (tmp_path / "broken.py").write_text('"""Breaks when imported.\n\nMore text.\n"""\nraise SystemExit(1)\n')
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "__main__.py").write_text('"""A tool of several files."""\n')
    (tmp_path / "folder" / "helper.py").write_text('"""No tool."""\n')
    (tmp_path / "__init__.py").write_text("")
    assert find_tools(tmp_path) == {"broken": "Breaks when imported.", "folder": "A tool of several files."}


def test_presets_are_listed_with_a_line_each():
    done = ask("presets")
    assert done.returncode == 0
    for tool, module in preset_modules().items():
        assert f"{tool}:" in done.stdout
        for name, line in module.PRESETS.items():
            assert name in done.stdout
            assert line in done.stdout
            assert "\n" not in line


def test_embedded_data_is_as_the_list_says():
    from common.datasets.sets.embedded import NAMES, open_embedded

    assert set(EMBEDDED) == set(NAMES)
    for name in NAMES:
        line = EMBEDDED[name]
        assert all(f"{len(open_embedded(name, split)):,} {split}" in line for split in ("train", "test"))
        assert name in ask("data").stdout


@pytest.mark.parametrize("words", [["toools"], ["presets", "more"]])
def test_unknown_words_are_named(words):
    command = [sys.executable, "-m", "tools", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: python -m tools ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("words", "said"), [
    (["helpp"], "Did you mean help?"), (["train_emd"], "Did you mean python -m tools.train_edm?"),
    (["help", "train_emd"], "Did you mean train_edm?"), (["help", "qc_ncsn", "eval", "nl"], "Did you mean nll?"),
    (["help", "report", "more"], "It has no subcommands."), (["completion", "bahs"], "Did you mean bash?"),
    (["completion"], "Known: bash, zsh, fish."), (["zzz"], "Known: tools, presets, data, help, completion."),
])
def test_wrong_words_are_answered_with_the_nearest(words, said, capsys):
    assert main(words) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert shown.err.rstrip().endswith(said)


def commands_below(cli, words=()):
    """Yield the words and the Command of a tool and of its subcommands at every depth."""
    command = describe(cli, words)
    yield words, command
    for name in command.subcommands:
        yield from commands_below(cli, [*words, name])


@pytest.mark.parametrize("name", sorted(find_tools()))
def test_the_manual_page_names_every_flag_with_its_default(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "72")
    for words, command in commands_below(load_cli(name)):
        assert main(["help", name, *words]) == 0
        page = capsys.readouterr().out
        for title in ("NAME", "SYNOPSIS", "EXIT STATUS", "SEE ALSO"):
            assert f"{title}\n" in page
        assert f"docs/{name}.md" in page
        assert all(f"\n       {each}\n" in page for each in command.subcommands)
        for item in command.options_class.__dataclass_fields__.values() if command.options_class else ():
            flag = item.name.upper() if item.metadata["word"] else f"--{item.name}"
            assert re.search(rf"^       (-.*, )?{flag}( .*)?$", page, re.MULTILINE), flag
        lines = page.partition("\nEXAMPLES\n")[0].splitlines() if "\nEXAMPLES\n" in page else []
        assert not [line for line in lines if len(line) > 72 and " {" not in line]


def test_the_manual_page_says_which_files_are_written(capsys):
    assert main(["help", "train_edm"]) == 0
    files = capsys.readouterr().out.partition("\nFILES\n")[2].partition("\nEXIT STATUS")[0]
    assert "       network.safetensors\n           the EMA weights" in files
    assert "`" not in files
    assert "|---" not in files
    assert "](" not in files


@pytest.mark.parametrize("words", ["help report", "help train_edm", "--help", "presets"])
def test_help_stands_without_docstrings(words):
    """As in a Python that leaves them out (-OO)."""
    done = subprocess.run([sys.executable, "-OO", "-m", "tools", *words.split()], cwd=ROOT, capture_output=True,
                          text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture(scope="module")
def bash_script():
    """Return the completion script for bash."""
    pytest.importorskip("shtab")
    from common.completion import completion

    return completion("bash", {name: load_cli(name) for name in find_tools()})


@pytest.mark.parametrize(("line", "offered"), [
    ("train_edm --pres", "--preset"), ("train_edm --preset s", "small32"), ("qc_ncsn eval nl", "nll"),
    ("qc_ncsn eval nll --num_i", "--num_images"), ("setup_fid li", "list"), ("calibrate_rcps fig", "figures"),
    ("calibrate_rcps figures --base", "--base_dir"), ("report READM", "README.md"),
])
def test_bash_completes(line, offered, bash_script):
    ask = (f'COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n'
           'function=$(complete -p ${COMP_WORDS[0]} | sed "s/.*-F \\([^ ]*\\).*/\\1/")\n'
           '$function ${COMP_WORDS[0]} "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"\necho "${COMPREPLY[@]}"\n')
    done = subprocess.run(["bash"], input=f"{bash_script}\n{ask}", cwd=ROOT, capture_output=True, text=True,
                          check=False)
    assert (done.stdout.split(), done.stderr) == ([offered], "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_take_their_script(shell, tmp_path):
    pytest.importorskip("shtab")
    from common.completion import completion

    script = completion(shell, {"qc_ncsn": load_cli("qc_ncsn"), "train_edm": load_cli("train_edm")})
    assert "zsh_eval_context" not in script
    assert all(word in script for word in ("num_images", "small32", "nll"))
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "--no-execute" if shell == "fish" else "-n", tmp_path / "script"], check=True)
