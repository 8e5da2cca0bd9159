"""What keeps the house in order: who imports whom, where things lie, how every command answers --help."""

import ast
import gc
import importlib
import os
import re
import subprocess
import sys
import time
import tomllib
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

from tests.sampled import EACH
from tools.__main__ import find_tools

ROOT = Path(__file__).parent.parent
TOOLS = sorted(find_tools())
ENTRIES = {
    "common", "tools", "tests", "docs", "Makefile", "requirements.txt", "README.md", "pyproject.toml", "LICENSE",
    ".gitignore", ".ci",
}
HELP_SECONDS = 0.4


def sources(*folders, having=""):
    """Yield (path relative to the repository, syntax tree) of every Python file below some folders.

    having: only of files in which this regular expression is found, for trees take time.
    """
    for path in texts(*folders):
        if re.search(having, path.read_text(encoding="utf-8")):
            yield path.relative_to(ROOT), parsed(path)


def texts(*folders):
    """Return the paths of every Python file below some folders, folder by folder."""
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


@cache
def parsed(path):
    """Return the syntax tree of a file, built without the garbage collector: it would go through all earlier trees."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    finally:
        if enabled:
            gc.enable()


@cache
def nodes(tree):
    """Return all nodes of a tree."""
    return tuple(ast.walk(tree))


@cache
def names_in(part):
    """Return the names that a part of a tree reads or writes."""
    return {node.id for node in ast.walk(part) if isinstance(node, ast.Name)}


@cache
def imports(path, tree):
    """Return the dotted names that a file imports, relative imports resolved."""
    names = []
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = path.parent.parts[: len(path.parent.parts) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            names += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return names


def test_no_tool_imports_another():
    for path, tree in sources("tools"):
        own = path.parts[1].removesuffix(".py")
        others = {name.split(".")[1] for name in imports(path, tree) if name.startswith("tools.")} - {own}
        assert not others, f"{path} imports {others}"


def test_common_imports_no_tool_and_nothing_imports_tests():
    for path, tree in sources("common", "tools"):
        banned = ("tools", "tests") if path.parts[0] == "common" else ("tests",)
        found = [name for name in imports(path, tree) if name.split(".")[0] in banned]
        assert not found, f"{path} imports {found}"


def test_no_import_path_is_changed_and_nothing_is_imported_by_star():
    for path, tree in sources("common", "tools", "tests", having=r"\bsys\s*\.\s*path\b|\bimport\s*\*"):
        for node in nodes(tree):
            where = f"{path}:{getattr(node, 'lineno', 0)}"
            is_path = isinstance(node, ast.Attribute) and node.attr == "path" and getattr(node.value, "id", "") == "sys"
            assert not is_path, f"{where}: sys.path"
            if isinstance(node, ast.ImportFrom):
                assert all(alias.name != "*" for alias in node.names), f"{where}: star import"


def test_no_error_is_swallowed():
    for path, tree in sources("common", "tools", "tests", having=r"\bexcept\s*:"):
        for node in nodes(tree):
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"{path}:{node.lineno}: bare except"


def test_files_and_functions_can_be_read_in_a_sitting():
    for path, tree in sources("common", "tools"):
        lines = (ROOT / path).read_text(encoding="utf-8").count("\n")
        assert lines <= 380, f"{path} has {lines} lines"
        for node in nodes(tree):
            if isinstance(node, ast.FunctionDef):
                length = node.end_lineno - node.lineno
                assert length < 50, f"{path}: {node.name} has {length} lines"


def test_every_module_says_what_it_is():
    for path, tree in sources("common", "tools"):
        assert ast.get_docstring(tree), f"{path} has no docstring"


def test_every_public_function_class_and_method_says_what_it_does():
    missing = []
    for path, tree in sources("common", "tools"):
        missing += [f"{path}:{node.lineno} {name}" for name, node, _ in definitions(tree)
                    if not any(part.startswith("_") for part in name.split(".")) and not ast.get_docstring(node)]
    assert not missing, "\n".join(missing)


def definitions(tree):
    """Yield (name, node, class or None) of a module's functions and classes, and of the classes' methods."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name, node, None
        if isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{inner.name}", inner, node) for inner in node.body
                        if isinstance(inner, ast.FunctionDef))


def module_name(path):
    """Return the dotted name of a file's module."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def test_no_imports_go_round_in_a_circle():
    """Imports inside functions count as well: they only put off the question which module comes first."""
    trees = {module_name(path): (path, tree) for path, tree in sources("common", "tools")}
    waits_for = {name: set(imports(path, tree)) & set(trees) - {name} for name, (path, tree) in trees.items()}
    free = True
    while free:  # take away modules that import none of those left
        free = [name for name, others in waits_for.items() if not others]
        waits_for = {name: others.difference(free) for name, others in waits_for.items() if name not in free}
    # What is left imports a circle, or lies in one; nothing in a circle is imported by itself alone.
    circles = {name: sorted(others) for name, others in waits_for.items()}
    assert not circles, circles


def test_nothing_in_the_product_serves_tests_alone():
    """A function, class or method is used by the product, named on a page, or called by the library that it extends."""
    trees, attributes, imported, looked_up = list(sources("common", "tools", "docs")), set(), set(), set()
    for path, tree in trees:
        imported.update(imports(path, tree))
        own = {node.attr for node in nodes(tree) if isinstance(node, ast.Attribute)}
        values = [node.value for node in nodes(tree) if isinstance(node, ast.Constant)]
        texts = [value for value in values if isinstance(value, str)]
        looked_up |= {text.rpartition(":")[2] for text in texts if re.fullmatch(r"[\w.]+:\w+", text)}  # module:Class
        if any(name.endswith("import_module") for name in [*own, *imports(path, tree)]):
            looked_up |= {*own, *texts}
        attributes |= own
    unused = []
    for path, tree in trees:
        for name, node, owner in definitions(tree):
            own = name.rpartition(".")[2]
            used = own in attributes and (owner or module_name(path) in imported)
            used = used or own in looked_up or f"{module_name(path)}.{own}" in imported
            used = used or is_named(own, owner or tree, node)
            if not (used or re.fullmatch("__.+__", own) or own in documented() or is_called_back(path, owner, own)):
                unused.append(f"{path}:{node.lineno} {name}")
    assert not unused, "\n".join(unused)


def is_named(name, scope, node):
    """Return whether a module, or a class body outside its methods, reads a name elsewhere than in its definition."""
    parts = scope.body if isinstance(scope, ast.Module) else [part for part in scope.body
                                                              if not isinstance(part, ast.FunctionDef)]
    return any(name in names_in(part) for part in parts if part is not node)


@cache
def documented():
    """Return the names that pages have in code, and those in the Makefile and the chains."""
    pages = " ".join(path.read_text(encoding="utf-8") for path in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])
    scripts = [ROOT / "Makefile", *(ROOT / "docs").rglob("*.sh")]
    code = re.findall(r"```.*?```|`[^`\n]+`", pages, flags=re.DOTALL)
    return set(re.findall(r"\w+", " ".join([*code, *(path.read_text(encoding="utf-8") for path in scripts)])))


def is_called_back(path, owner, name):
    """Return whether a class outside this repository, from which `owner` inherits, knows the method."""
    if owner is None or path.parts[0] == "docs":
        return False
    bases = getattr(importlib.import_module(module_name(path)), owner.name).__mro__[1:]
    return any(hasattr(base, name) for base in bases if base.__module__.split(".")[0] not in ("common", "tools"))


def test_no_formatter_is_told_to_look_away():
    for path in texts("common", "tools", "tests", "docs"):
        assert "fmt: " + "skip" not in path.read_text(encoding="utf-8"), path


def test_ruff_holds_lines_to_120_columns():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]
    assert settings["line-length"] == 120
    assert "E501" not in settings["lint"]["ignore"]
    for path in texts("common", "tools", "tests", "docs"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert len(line) <= 120, f"{path}:{number} has {len(line)} columns"


def test_every_family_of_which_make_test_takes_a_sample_is_there():
    defined = [re.findall(r"^def (\w+)", path.read_text(encoding="utf-8"), flags=re.M) for path in texts("tests")]
    assert set(EACH) <= set(chain.from_iterable(defined))


def test_the_top_level_holds_only_what_belongs_there():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("no git checkout")
    assert {line.split("/")[0] for line in listed.stdout.splitlines()} <= ENTRIES


@pytest.mark.parametrize("name", TOOLS)
def test_every_tool_has_a_page_and_a_command(name):
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts[name] == f"tools._start:{name}"
    assert (ROOT / "docs" / f"{name}.md").is_file()


@pytest.mark.parametrize("name", TOOLS)
def test_every_tool_is_left_by_the_way_that_reports_an_interruption(name):
    """Python itself ends with a signal where one passed through code that was made of text, as dataclasses make it."""
    assert (ROOT / "tools" / name / "__main__.py").read_text(encoding="utf-8").endswith("    leave(cli)\n")


def test_an_installed_command_is_left_in_the_same_way():
    code = ("import sys\nfrom tools import _start, report\nimport tools.report.__main__ as tool\n"
            "def cli():\n    try:\n        exec('raise KeyboardInterrupt')\n"
            "    except KeyboardInterrupt:\n        return 130\n"
            "tool.cli = cli\nsys.exit(_start.report())")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")


def ask_help(name, words):
    """Return (text, CPU seconds) of a tool's --help; fails when torch was imported for it."""
    code = (
        "import runpy, sys\nsys.argv[1:] = sys.argv[2:]\n"
        f"try:\n    runpy.run_module('tools.{name}', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as error:\n    assert not error.code, error.code\n"
        "heavy = {'torch', 'umap', 'sklearn', 'scipy', 'numpy'} & set(sys.modules)\nassert not heavy, heavy"
    )
    before = os.times()
    done = subprocess.run([sys.executable, "-c", code, "", *words, "--help"], cwd=ROOT, capture_output=True, text=True,
                          check=False)
    after = os.times()
    assert done.returncode == 0, done.stderr
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return done.stdout, seconds


def subcommands(text):
    """Return the subcommands that a help text lists."""
    listed = text.partition("\nsubcommands:\n")[2].partition("\n\n")[0]
    return [line.split()[0] for line in listed.splitlines() if line.strip()]


@pytest.mark.parametrize("name", TOOLS)
def test_help_answers_at_once_and_without_torch(name):
    """At every depth of subcommands; processor time, best of three, so that a busy machine does not decide."""
    waiting = [[]]
    while waiting:
        words = waiting.pop()
        best = float("inf")
        for _ in range(3):
            text, seconds = ask_help(name, words)
            best = min(best, seconds)
            if best < HELP_SECONDS:
                break
        assert best < HELP_SECONDS, f"{name} {' '.join(words)} --help takes {best:.2f} s"
        assert "usage:" in text
        waiting += [[*words, sub] for sub in subcommands(text)]


def test_an_input_error_answers_at_once():
    """Wall time of a wrong flag, best of three."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "tools.report", "none", "--titel", "x"], cwd=ROOT,
                              capture_output=True, text=True, check=False)
        times.append(time.perf_counter() - began)
        assert done.returncode == 2
        assert done.stderr == "error: --titel: unknown flag. Did you mean --title?\n"
    assert min(times) < 4 * HELP_SECONDS
