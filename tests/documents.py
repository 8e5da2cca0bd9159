"""What README and docs tell a user to type: their blocks of commands, Python and YAML, and commands within a line.

`python -m tests.documents` counts them. A command is understood when the tool's own parser takes it: `understand` runs
the tool's `cli` up to the point where its options are made, so presets, words of Hydra and option files count as well.
"""

import contextlib
import importlib
import io
import re
import shlex
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from common import cli as command_line
from tools.__main__ import find_tools

ROOT = Path(__file__).parent.parent
TOOLS = sorted(find_tools())
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
VARIABLE = re.compile(r"[A-Z_]+=\S*")
# torchrun's own flags, each with a value; --standalone has none.
TORCHRUN = {"nproc_per_node", "nnodes", "node_rank", "master_addr", "master_port", "rdzv_backend", "rdzv_endpoint",
            "rdzv_id", "max_restarts"}


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the line of its fence, its language ("" for a terminal), its text."""

    page: str
    line: int
    language: str
    text: str

    @property
    def is_shell(self):
        """Whether it is typed into a terminal."""
        return self.language in ("", "bash", "sh")


@dataclass(frozen=True)
class Line:
    """One command: where it stands, its text, whether it stands in a block, within a line of text or in a help."""

    where: str
    text: str
    place: str


@dataclass(frozen=True)
class Understood:
    """A command that the tool's parser took: tool, the command's name, its options."""

    tool: str
    command: str
    options: object


class Misunderstood(Exception):
    """A command of a page that a user cannot type as it stands."""


@cache
def blocks():
    """Return the fenced blocks of all pages in order."""
    found = []
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            found.append(Block(path.relative_to(ROOT).as_posix(), text.count("\n", 0, match.start()) + 1, match[1],
                               match[2]))
    return found


def lines_of(block):
    """Return the commands of a block for the terminal: continued lines joined, comments and `&&` taken apart."""
    lines = []
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            lines.append(Line(f"{block.page}:{block.line}", shlex.join(words[:end]), "block"))
            words = words[end + 1:]
    return lines


def lines_in_text():
    """Return the commands with a flag that stand within a line of text, or in a table, without a gap (`...`)."""
    found = []
    for path in PAGES:
        text = re.sub(r"^```.*?^```$", lambda match: "\n" * match[0].count("\n"), path.read_text(encoding="utf-8"),
                      flags=re.DOTALL | re.MULTILINE)
        for match in re.finditer(r"(?<!`)`([^`\n]+)`(?!`)", text):
            words = match[1].removeprefix("python -m tools.").removeprefix("make ").split()
            is_command = words and (words[0] in TOOLS or match[1].startswith("make ")) and len(words) > 1
            if is_command and re.search(r" -|=", match[1]) and "..." not in match[1]:
                where = f"{path.relative_to(ROOT).as_posix()}:{text.count(chr(10), 0, match.start()) + 1}"
                found.append(Line(where, match[1], "text"))
    return found


@cache
def helps():
    """Return {command: (tool, words of the subcommand, its options' class, text of its help)} of every command."""
    found, waiting = {}, [(tool, ()) for tool in TOOLS]
    while waiting:
        tool, words = waiting.pop(0)
        text, made = _until_options(tool, [*words, "--help"], parse=False)
        listed = text.partition("\nsubcommands:\n")[2].partition("\n\n")[0].splitlines()
        waiting += [(tool, (*words, line.split()[0])) for line in listed if line.strip() and not words[1:]]
        if made is not None:
            found[" ".join([tool, *words])] = (tool, words, *made)
    return found


def lines_of_helps():
    """Return the commands that stand under `examples:` in the helps."""
    found = {}
    for command, (_, _, _, text) in helps().items():
        examples = text.partition("\nexamples:\n")[2].replace("\\\n", " ")
        for line in examples.splitlines():
            if line.strip():
                found.setdefault(line.strip(), Line(f"{command} --help", line.strip(), "help"))
    return list(found.values())


def all_lines():
    """Return every command of the pages and the helps."""
    return [*(line for block in blocks() if block.is_shell for line in lines_of(block)), *lines_in_text(),
            *lines_of_helps()]


def tool_words(text):
    """Return (tool, words) of a command that runs a tool, None of another. Raises Misunderstood."""
    words = shlex.split(text, comments=True)
    while words and VARIABLE.fullmatch(words[0]):
        words = words[1:]
    if words[:1] == ["torchrun"]:
        words = _after_torchrun(words[1:])
    if words[:2] in (["python", "-m"], ["python3", "-m"]) and words[2].startswith("tools."):
        words = [words[2].removeprefix("tools."), *words[3:]]
    return (words[0], words[1:]) if words and words[0] in TOOLS else None


def _after_torchrun(words):
    """Return what torchrun starts: the words after its own flags and -m."""
    while words and words[0] != "-m":
        name, equals, _ = words[0].removeprefix("--").partition("=")
        if name == "standalone":
            words = words[1:]
        elif words[0].startswith("--") and name in TORCHRUN:
            words = words[1 if equals else 2:]
        else:
            raise Misunderstood(f"torchrun: {words[0]}")
    if not words[1:] or not words[1].startswith("tools."):
        raise Misunderstood("torchrun starts a tool with -m tools.NAME")
    return ["python", "-m", *words[1:]]


def understand(text):
    """Return the Understood of a command that runs a tool. Raises Misunderstood with the tool's own words."""
    tool, words = tool_words(text)
    said, made = _until_options(tool, words)
    if made is None:
        raise Misunderstood(said.strip() or "no options were made")
    command, options = made
    return Understood(tool, command, options)


def _until_options(tool, words, parse=True):
    """Run a tool's cli up to where its options are made. Returns (what it printed, (command, options)).

    parse: False takes the words as they are and gives (class of the options, text of the help) instead.
    """
    made, true_parse = [], command_line.parse

    def stop(options_class, argv, prog, description="", epilog=""):
        if parse:
            made.append((prog, true_parse(options_class, argv, prog, description, epilog)))
        else:
            made.append((options_class, f"{description}\n\n{epilog}"))
        raise SystemExit(0)

    out = io.StringIO()
    command_line.parse = stop
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            importlib.import_module(f"tools.{tool}.__main__").cli([str(word) for word in words])
    finally:
        command_line.parse = true_parse
    more = made[0][1] if made and not parse else ""
    return f"{out.getvalue()}\n{more}", made[0] if made else None


def check_other(text):
    """Raise Misunderstood for a command that runs no tool and is not a target of make or module of this repository."""
    words = shlex.split(text, comments=True)
    while words and VARIABLE.fullmatch(words[0]):
        words = words[1:]
    if words[:1] == ["make"]:
        return _check_make(words[1:])
    if words[:2] in (["python", "-m"], ["python3", "-m"]):
        path = ROOT.joinpath(*words[2].split("."))
        if not (path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()):
            raise Misunderstood(f"{words[2]}: no such module")
        return None
    if words[:1] == ["bash"] and (ROOT / words[1]).is_file():
        return None
    raise Misunderstood(f"{words[0]}: neither a tool nor a target of make nor a module")


def _check_make(words):
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    tables = {f"table-{path.stem.removeprefix('table_').replace('_', '-')}"
              for path in (ROOT / "docs" / "chains").glob("table_*.sh")}
    targets = {*re.findall(r"^([a-z-]+):", text, re.MULTILINE), *tables, "help"}
    variables = {*re.findall(r"^([A-Z]+) *[?:]?=", text, re.MULTILINE), *re.findall(r"\$\(([A-Z]+)\)", text)}
    for word in words:
        name, equals, _ = word.partition("=")
        if name not in (variables | {"DEMO"} if equals else targets):
            raise Misunderstood(f"make {word}: no such {'variable' if equals else 'target'}")


def fates():
    """Return {what becomes of a command in the tests: [Line]}; every command of the pages and helps has one."""
    from tests.document_inputs import ELSEWHERE, PAGES

    found = {"executed on small data": [], "run dry to their end, with stand-ins": [],
             "run dry up to the first file that is missing": [], "a target of make or a module, looked up": [],
             "understood by the tool's parser": []}
    executed, elsewhere, dry, other, understood = found.values()
    numbers = Counter()
    for line in all_lines():
        page = line.where.split(":")[0]
        number = numbers[page]
        numbers[page] += line.place == "block"
        if not tool_words(line.text):
            other.append(line)
        elif line.place != "block":
            understood.append(line)
        elif page in PAGES and number not in PAGES[page].skipped:
            executed.append(line)
        else:
            (elsewhere if line.where in ELSEWHERE else dry).append(line)
    return found


def count():
    """Return {what: how many} of the pages' blocks, and of the commands by what becomes of them."""
    kinds = Counter("terminal" if block.is_shell else block.language for block in blocks())
    return {**{f"blocks, {name}": number for name, number in sorted(kinds.items())},
            **{f"commands, {name}": len(lines) for name, lines in fates().items()}}


def main():
    """Print the counts, and why commands of pages that are executed are not."""
    from tests.document_inputs import PAGES

    for name, number in count().items():
        print(f"{number:4d}  {name}")
    print("not executed, on pages whose other commands are:")
    for name, page in PAGES.items():
        for number, reason in page.skipped.items():
            print(f"  {name}, command {number + 1}: {reason}")


if __name__ == "__main__":
    main()
