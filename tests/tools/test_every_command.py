"""What every command promises, shown with the smallest run of each: other files stay as they are, changed inputs are
noticed, mistakes block nothing, nothing is written elsewhere, and no network is used."""

import os
import shutil
import socket
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.tools.commands import ROOT
from tests.tools.every_command import COMMANDS, contents, make_inputs
from tests.tools.rights import modes_that_hold

every_command = pytest.mark.parametrize("name", COMMANDS)
RECORDED = pytest.mark.parametrize("name", [name for name in COMMANDS if name != "report"])  # it writes a page alone
WRITES = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate",
          "shutil.rmtree")
FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
AUDIT = {"on": False, "written": set(), "reached": []}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The inputs of all commands, made once, and what each command gives in a folder of its own."""
    folder = tmp_path_factory.mktemp("made")
    make_inputs(folder)
    return folder


@pytest.fixture(autouse=True)
def here(own_folder, made, monkeypatch):
    """A folder of one's own with the inputs; maps by principal components, as here the map itself does not matter."""
    from tools.process_embeddings import embed

    monkeypatch.setattr(embed, "fit_map", lambda features, *rest: (None, np.ascontiguousarray(features[:, : rest[3]])))
    shutil.copytree(made / "in", own_folder / "in")
    return own_folder


def good(name, *words):
    ended = COMMANDS[name].run(*words)
    assert ended.status == 0, ended.err
    return ended


def refused(name, *words):
    ended = COMMANDS[name].run(*words, "--quiet")
    assert ended.status == 2, ended.err
    assert ended.err.count("\n") == 1, ended.err
    return ended.err


def audit(event, arguments):
    """Note what is written and who is called while AUDIT is on; an audit hook stays for the process's life."""
    if not AUDIT["on"]:
        return
    if event in ("socket.connect", "socket.getaddrinfo", "socket.bind") and not isinstance(arguments[-1], (str, bytes)):
        AUDIT["reached"].append((event, str(arguments[1:])))
        raise OSError("the network is blocked")
    if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & FOR_WRITING):
        return
    if event in ("os.remove", "os.rmdir") and arguments[-1] != -1:
        return  # below a folder that shutil.rmtree holds open, which was noted itself
    if event in WRITES and isinstance(arguments[0], (str, bytes, os.PathLike)):
        AUDIT["written"] |= {os.path.abspath(os.fsdecode(place)) for place in arguments[: 1 + (event == "os.rename")]
                             if isinstance(place, (str, bytes, os.PathLike))}


@pytest.fixture
def audited(monkeypatch):
    """AUDIT, on while the test runs: what is written, and that nobody is called."""
    if "hook" not in AUDIT:
        AUDIT["hook"] = sys.addaudithook(audit)
    monkeypatch.setattr(socket, "create_connection", lambda *_, **more: AUDIT["reached"].append("create_connection"))
    AUDIT.update(on=False, written=set(), reached=[])
    yield AUDIT
    AUDIT["on"] = False


@every_command
def test_no_network_is_used_and_nothing_is_written_but_the_outputs(name, here, audited, monkeypatch):
    home = here / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(here / "tmp"))
    (here / "tmp").mkdir()
    before = {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in (here / "in").rglob("*")}
    audited["on"] = True
    ended = COMMANDS[name].run("--quiet")
    audited["on"] = False
    assert ended.status == 0, ended.err
    assert audited["reached"] == []
    after = {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in (here / "in").rglob("*")}
    assert after == before
    assert {path.name for path in here.iterdir()} <= {"in", "out", "home", "tmp", ".genprobe_cache"}
    assert list(home.iterdir()) == list((here / "tmp").iterdir()) == []
    allowed = (str(here / "out"), str(here / ".genprobe_cache"), str(here / "tmp"), "/dev/", "/proc/self/")
    written = {place for place in audited["written"] if not place.startswith(allowed) and place != str(here)
               and "__pycache__" not in place and not Path(place).name.startswith(".probe.")}
    assert not written


@RECORDED
@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)], ids=["resume", "overwrite"])
def test_another_tools_record_is_refused_and_nothing_of_it_changes(name, overwrite, here):
    place = here / COMMANDS[name].record
    place.mkdir(parents=True)
    (place / "run.json").write_text('{"tool": "other", "command": "other do", "options": {}, "status": "done"}')
    (place / "notes.txt").write_text("mine")
    before = contents(here / "out")
    assert "holds the outputs of other do" in refused(name, *overwrite)
    assert contents(here / "out") == before


@RECORDED
def test_outputs_without_a_record_are_refused_and_stay(name, here):
    good(name)
    for path in (here / "out").rglob("run.json"):
        path.unlink()
    before = contents(here / "out")
    refused(name)
    assert contents(here / "out") == before
    refused(name, "--dry_run")
    assert contents(here / "out") == before


@every_command
def test_files_of_other_names_stay_whatever_is_run(name, here):
    place = here / COMMANDS[name].record
    (place / "mine").mkdir(parents=True)
    for path in (place / "notes.txt", place / "mine" / "photo.jpg", place / ".hidden"):
        path.write_bytes(b"mine")
    mine = contents(here / "out")
    for words in ((), ("--dry_run", "--overwrite"), ("--overwrite",)):
        ended = COMMANDS[name].run(*words)
        assert ended.status in (0, 2), ended.err
        now = contents(here / "out")
        assert {path: now.get(path) for path in mine} == mine


REPLACED = [pytest.param(name, path, id=f"{name}: {path}") for name, command in COMMANDS.items()
            for path in command.inputs if name not in ("report", "process_embeddings")]


@pytest.mark.parametrize(("name", "path"), REPLACED)
def test_an_input_replaced_by_one_of_equal_size_and_older_time_is_noticed(name, path, here):
    good(name)
    record = here / COMMANDS[name].record
    record = next(iter(sorted(record.rglob("run.json"))), record / "run.json")
    before = contents(here / "out")
    spare, target = here / COMMANDS[name].inputs[path], here / path
    assert spare.stat().st_size == target.stat().st_size
    os.utime(spare, (target.stat().st_atime - 1000, target.stat().st_mtime - 1000))
    os.replace(spare, target)
    ended = COMMANDS[name].run()
    assert ended.status in (0, 2), ended.err
    if ended.status == 0:
        assert "up to date" not in ended.err
        assert contents(here / "out") != before
    else:
        assert contents(here / "out") == before
        again = COMMANDS[name].run("--overwrite")
        # latents say of which generator they are
        assert again.status == 0 or (path == "in/g.pt" and "a different generator" in again.err), again.err


@pytest.mark.parametrize(("name", "path"), [case for case in REPLACED if case.values[0] != "qc_ncsn train"])
def test_a_damaged_input_blocks_nothing_once_it_is_mended(name, path, here):
    target = here / path
    whole = target.read_bytes()
    target.write_bytes(whole[: len(whole) // 2])
    ended = COMMANDS[name].run("--quiet")
    assert ended.status in (0, 2), ended.err  # where images may be left out, they are counted
    target.write_bytes(whole)
    again = COMMANDS[name].run("--quiet")
    if ended.status == 0 and again.status == 2:  # a finished run of other inputs, which is not replaced unasked
        assert "--overwrite" in again.err
        again = COMMANDS[name].run("--quiet", "--overwrite")
    assert again.status == 0, again.err
    mended = {path: data for path, data in contents(here / "out").items() if path.endswith((".npz", ".png", ".jpg"))}
    shutil.rmtree(here / "out")
    shutil.rmtree(here / ".genprobe_cache", ignore_errors=True)
    good(name)
    anew = {path: data for path, data in contents(here / "out").items() if path.endswith((".npz", ".png", ".jpg"))}
    assert mended.keys() == anew.keys()
    assert [path for path in anew if mended[path] != anew[path]] == []


@every_command
def test_a_read_only_place_is_named_in_one_line(name, here, monkeypatch):
    (here / "out").mkdir(mode=0o555)
    with modes_that_hold() as holds:
        if not holds:
            pytest.skip("the modes of files do not hold for root, and cannot be made to")
        line = refused(name)
    assert "permission denied" in line
    assert list((here / "out").iterdir()) == []
    (here / "out").rmdir()
    os.chmod(here, 0o555)
    try:
        with modes_that_hold():
            ended = COMMANDS[name].run("--quiet")
        assert (ended.status, ended.err.count("\n")) == (2, 1), ended.err
    finally:
        os.chmod(here, 0o755)


def test_every_command_that_writes_a_folder_is_among_these():
    """But those that only convert, draw, compare or look over what others wrote."""
    found = {path.parent.name for path in (ROOT / "tools").glob("*/__main__.py")}
    assert found == {command.tool for command in COMMANDS.values()}
