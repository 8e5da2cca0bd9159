"""The tables that `make faults` works through hold every command, and a few of its faults are tried here each time."""

import ast

import pytest

from tests.faults.jobs import Place, Server, check_completed, check_end, whole_run
from tests.faults.table import JOBS, LEFT_OUT
from tests.test_layout import TOOLS, nodes, sources, subcommands
from tests.tools.commands import call_tool
from tests.tools.every_command import bitmaps


def commands(tool, words=()):
    """Yield the names of a tool's commands, with all their subcommands."""
    below = subcommands(call_tool(tool, *words, "--help").out)
    for word in below:
        yield from commands(tool, (*words, word))
    if not below:
        yield " ".join((tool, *words))


def test_every_command_is_disturbed_or_left_out_for_a_reason():
    found = {name for tool in TOOLS for name in commands(tool)}
    known = {" ".join((job.tool, *job.words[: name.count(" ")])) for name, job in JOBS.items()}
    left_out = set().union(*LEFT_OUT.values())
    assert found - known - left_out - {"compute_fid clean", "qc_ncsn"} == set()
    assert left_out <= found


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A report in a folder of its own, started by a server that has imported no more than it needs."""
    folder = tmp_path_factory.mktemp("sample")
    bitmaps(folder / "in" / "runs", count=2)
    (folder / "in" / "runs" / "table.csv").write_text("a,b\n1,2\n")
    server = Server(folder, "report")
    yield Place(server, JOBS["report"], folder / "work", folder / "in")
    server.close()


def test_a_sample_of_faults_loses_nothing(place, tally):
    outputs, steps, _ = whole_run(place)
    for fault in ({"signal": [9, steps]}, {"signal": [15, 1]}, {"error": [28, 1]}, {"error": [5, steps]},
                  {"file_bytes": 100}, {"stdout": "gone"}, {"clock": "back"}, {"vanish": [str(place.out), steps]}):
        ended = place.fresh().run(**fault)
        tally("a sample")
        if fault != {"signal": [9, steps]}:
            check_end(ended, (0, 2, 130))
        check_completed(place, outputs)
    for _ in range(2):
        both = [running.end() for running in [place.fresh().start(), place.start()]]
        assert sorted(ended.status for ended in both) in ([0, 0], [0, 2])
        assert place.lasting() == outputs


def in_the_locales_encoding(call):
    """True for a call that opens a text file and leaves its encoding to the locale."""
    name = getattr(call.func, "id", None) or getattr(call.func, "attr", None)
    if any(word.arg == "encoding" for word in call.keywords):
        return False
    if name in ("read_text", "write_text") and isinstance(call.func, ast.Attribute):
        return len(call.args) < (1 if name == "read_text" else 2)
    if not isinstance(call.func, ast.Name) or name != "open":
        return False
    modes = [*call.args[1:2], *(word.value for word in call.keywords if word.arg == "mode")]
    binary = any("b" in ast.unparse(mode) or isinstance(mode, ast.Name) for mode in modes)
    return not binary and "devnull" not in ast.unparse(call)


def test_text_is_utf_8_whatever_the_locale():
    opening = sources("common", "tools", having=r"\b(open|read_text|write_text)\b")
    found = [f"{path}:{node.lineno}" for path, tree in opening for node in nodes(tree)
             if isinstance(node, ast.Call) and in_the_locales_encoding(node)]
    assert found == []
