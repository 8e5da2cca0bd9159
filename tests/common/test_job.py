"""One job in one folder: what resumes, what answers, what is refused, and what is never touched."""

import multiprocessing
import os
from dataclasses import dataclass

import pytest

from common.cli import _hand_out
from common.errors import InputError
from common.files import read_json, write_json
from common.job import Job
from common.options import CommonOptions, option
from common.record import quick_answer


@dataclass(kw_only=True)
class Options(CommonOptions):
    """Flags of a made-up tool."""

    seed: int = option(0, "seed")
    num_samples: int = option(10, "how many", kind="total")
    batch_size: int = option(4, "images at once", kind="how")


def contents(folder):
    """Return {relative path: bytes} of the files below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def job(folder, options=None, **more):
    """Return the made-up job."""
    return Job(folder, "made_up", options or Options(), **{"owns": ["x.npz", "parts"], **more})


def finish(folder, options=None, results=None, **more):
    """Do the made-up job as the command line does; returns (results, whether any work was done)."""
    done, options = [], options or Options()

    def work():
        done.append(1)
        (folder / "x.npz").write_bytes(b"")
        return results or {"score": 2}, [folder / "x.npz"]

    outcome = job(folder, options, **more).run(work, lambda: ("would", {"planned": 1}))
    _hand_out(outcome, options, "made_up", None, 1.5)
    return outcome.results, bool(done)


def test_a_finished_job_answers_with_its_results(tmp_path):
    assert finish(tmp_path) == ({"score": 2}, True)
    before = contents(tmp_path)
    assert finish(tmp_path, Options(batch_size=8), {"score": 3}) == ({"score": 2}, False)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"torn")])
def test_a_finished_job_whose_files_are_gone_or_torn_is_done_again(tmp_path, damage):
    finish(tmp_path)
    damage(tmp_path / "x.npz")
    assert finish(tmp_path, results={"score": 3}) == ({"score": 3}, True)
    assert read_json(tmp_path / "run.json")["results"] == {"score": 3}


def test_another_part_of_a_larger_job_is_neither_done_nor_a_conflict(tmp_path):
    finish(tmp_path, extent=(0, 10))
    assert finish(tmp_path, extent=(0, 10))[1] is False
    assert finish(tmp_path, extent=(0, 5))[1] is True


def test_other_content_of_the_inputs_is_done_again(tmp_path):
    finish(tmp_path, content={"images": "a"})
    assert finish(tmp_path, content={"images": "a"})[1] is False
    assert finish(tmp_path, content={"images": "b"})[1] is True


def test_the_record_holds_what_the_contract_names(tmp_path):
    finish(tmp_path)
    record = read_json(tmp_path / "run.json")
    assert record["status"] == "done"
    assert {"tool", "command", "options", "results", "outputs", "seconds", "versions", "inputs"} <= set(record)
    assert {"python", "torch", "numpy", "genprobe"} <= set(record["versions"])


def test_another_value_that_changes_results_is_named(tmp_path):
    finish(tmp_path)
    with pytest.raises(InputError, match="has seed 0, this command has 1. .*--overwrite"):
        finish(tmp_path, Options(seed=1))


@pytest.mark.parametrize(("name", "value"), [("seed", 1), ("num_samples", 20)])
def test_an_option_that_is_younger_than_the_run_is_compared_with_its_default(tmp_path, name, value):
    finish(tmp_path)
    record = read_json(tmp_path / "run.json")
    del record["options"][name]
    write_json(tmp_path / "run.json", record)
    assert job(tmp_path).compare() is not None
    if name == "seed":
        with pytest.raises(InputError, match="has seed 0, this command has 1"):
            job(tmp_path, Options(seed=value)).compare()
    else:
        assert job(tmp_path, Options(num_samples=value)).compare() is not None  # a total that grows


def test_derived_values_are_compared(tmp_path):
    finish(tmp_path, derived={"nf": 16})
    with pytest.raises(InputError, match="has nf 16, this command has 32"):
        finish(tmp_path, derived={"nf": 32})


def test_a_larger_total_extends_and_a_smaller_one_is_refused(tmp_path):
    finish(tmp_path)
    assert finish(tmp_path, Options(num_samples=20), {"score": 4}) == ({"score": 4}, True)
    with pytest.raises(InputError, match="num_samples 20, this command has 10"):
        finish(tmp_path)


def test_an_unfinished_job_goes_on_and_loses_its_leftovers(tmp_path):
    first = job(tmp_path)
    assert first.begin() is None
    first.release()
    (tmp_path / ".x.npz.1.part").write_text("half")
    assert finish(tmp_path)[1] is True
    assert sorted(contents(tmp_path)) == ["run.json", "x.npz"]


# ---- what --overwrite removes

def test_overwrite_removes_what_the_job_owns_and_nothing_else(tmp_path):
    finish(tmp_path)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "x").write_text("old")
    (tmp_path / "thesis.txt").write_text("mine")
    finish(tmp_path, Options(seed=5, overwrite=True))
    assert sorted(contents(tmp_path)) == ["run.json", "thesis.txt", "x.npz"]


def test_a_dry_run_tells_what_overwrite_would_remove_and_writes_nothing(tmp_path, capsys):
    finish(tmp_path)
    before = contents(tmp_path)
    assert finish(tmp_path, Options(seed=5, overwrite=True, dry_run=True)) == ({"planned": 1}, False)
    assert f"--overwrite would remove {tmp_path / 'x.npz'}" in capsys.readouterr().err
    assert contents(tmp_path) == before
    finish(tmp_path / "new", Options(dry_run=True))
    assert not (tmp_path / "new").exists()


def test_overwriting_that_was_killed_half_way_is_ended_by_the_next_run(tmp_path, monkeypatch):
    finish(tmp_path)
    (tmp_path / "parts").mkdir()
    monkeypatch.setattr("shutil.rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        finish(tmp_path, Options(seed=5, overwrite=True))
    monkeypatch.undo()
    assert finish(tmp_path, Options(seed=5))[1] is True
    assert not (tmp_path / "parts").exists()


# ---- what is not the job's

@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_another_commands_record_is_refused(tmp_path, overwrite):
    finish(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(InputError, match="this folder holds the outputs of made_up"):
        Job(tmp_path, "other", Options(overwrite=overwrite), owns=["y.npz"]).run(None, None)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(("name", "overwrite"), [("x.npz", False), ("parts", False), ("parts", True)])
def test_what_no_record_accounts_for_is_refused(tmp_path, name, overwrite):
    (tmp_path / name).mkdir() if name == "parts" else (tmp_path / name).write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(InputError, match=f"{name}: is in the way: no record says what wrote it"):
        finish(tmp_path, Options(overwrite=overwrite))
    assert contents(tmp_path) == before
    assert (tmp_path / name).exists()


def test_a_name_that_the_earlier_run_did_not_own_is_not_removed(tmp_path):
    finish(tmp_path, owns=["x.npz"])
    (tmp_path / "parts").mkdir()
    with pytest.raises(InputError, match="parts: is in the way"):
        finish(tmp_path, Options(overwrite=True))


def test_an_input_among_the_outputs_is_refused(tmp_path):
    finish(tmp_path)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "photo.png").write_text("mine")
    with pytest.raises(InputError, match="this input lies among the outputs"):
        finish(tmp_path, Options(overwrite=True), inputs=[tmp_path / "parts" / "photo.png"])


@pytest.mark.parametrize("content", [[1, 2], {"status": "done"}, "text", {"tool": 3, "options": {}}])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_record_of_something_else_is_named(content, overwrite, tmp_path):
    write_json(tmp_path / "run.json", content)
    before = contents(tmp_path)
    with pytest.raises(InputError, match="run.json: not the record of a run"):
        finish(tmp_path, Options(overwrite=overwrite))
    assert contents(tmp_path) == before


@pytest.mark.parametrize("made", [None, "parts", "parts/one/two"])
def test_bad_input_before_anything_was_written_leaves_nothing_that_blocks(made, tmp_path):
    def work():
        if made:
            (tmp_path / "new" / made).mkdir(parents=True)
        raise InputError("cannot be read", where="image 3")

    with pytest.raises(InputError):
        job(tmp_path / "new", derived={"images": "damaged"}).run(work, None)
    assert not (tmp_path / "new").exists()
    assert finish(tmp_path / "new", derived={"images": "mended"})[1] is True


# ---- one process at a time

def test_a_run_that_begins_meanwhile_is_not_taken_for_foreign_files(tmp_path, monkeypatch):
    listing = Job._owned

    def meanwhile(self, owns=None):
        monkeypatch.setattr(Job, "_owned", listing)
        finish(tmp_path)
        return listing(self, owns)

    monkeypatch.setattr(Job, "_owned", meanwhile)
    assert finish(tmp_path) == ({"score": 2}, False)



def hold(folder, ready, leave):
    """Begin the job in another process and hold it."""
    other = job(folder)
    other.begin()
    ready.set()
    leave.wait(30)
    os._exit(0)  # as a kill: nothing is released


def test_a_second_process_is_refused_until_the_first_has_ended(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    ready, leave = spawn.Event(), spawn.Event()
    other = spawn.Process(target=hold, args=(tmp_path, ready, leave))
    other.start()
    assert ready.wait(30)
    with pytest.raises(InputError, match="another process is writing into this folder"):
        finish(tmp_path)
    leave.set()
    other.join()
    assert finish(tmp_path)[1] is True
    assert sorted(contents(tmp_path)) == ["run.json", "x.npz"]


# ---- answering without the tool

def test_a_command_repeated_to_the_letter_is_answered_from_the_record(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("1")
    finish(tmp_path / "out", inputs=[tmp_path / "in"])
    assert quick_answer(tmp_path / "out", "made_up", Options(quiet=True))["results"] == {"score": 2}
    for other in (Options(batch_size=8), Options(seed=1), Options(overwrite=True)):  # the job itself decides
        assert quick_answer(tmp_path / "out", "made_up", other) is None
    assert quick_answer(tmp_path / "out", "other", Options()) is None


def replace_alike(path):
    """Put another file of the same size and an older time in a file's place."""
    old = os.stat(path)
    path.with_name("b").write_text("2")
    os.utime(path.with_name("b"), ns=(old.st_atime_ns, old.st_mtime_ns))
    os.replace(path.with_name("b"), path)


@pytest.mark.parametrize("change", [
    lambda place: (place / "in" / "c").write_text("new"), lambda place: replace_alike(place / "in" / "a"),
    lambda place: (place / "out" / "x.npz").unlink(), lambda place: (place / "in" / "a").unlink(),
])
def test_any_change_of_inputs_or_outputs_is_for_the_job_to_judge(tmp_path, change):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("1")
    finish(tmp_path / "out", inputs=[tmp_path / "in"])
    change(tmp_path)
    assert quick_answer(tmp_path / "out", "made_up", Options()) is None


def test_a_variable_of_the_environment_counts(tmp_path, monkeypatch):
    finish(tmp_path, inputs=[])
    assert quick_answer(tmp_path, "made_up", Options()) is not None
    monkeypatch.setenv("GENPROBE_STATS", "elsewhere")
    assert quick_answer(tmp_path, "made_up", Options()) is None


def test_inputs_that_cannot_be_named_are_never_answered_without_the_tool(tmp_path):
    finish(tmp_path, inputs=None)
    assert quick_answer(tmp_path, "made_up", Options()) is None
