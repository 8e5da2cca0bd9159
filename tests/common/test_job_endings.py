"""How a job's record says that it ended, and what it says first: the summary."""

import contextlib
import shutil

import pytest

from common.cli import _hand_out
from common.errors import InputError
from common.files import TEMPORARY, read_json, write_text
from common.job import Job
from common.summary import Quantity, check_summary, figures, summariser
from tests.common.test_job import Options, finish, job


def ended(folder, error):
    """Run the made-up job, whose work writes a file and raises an error; return its record."""
    def work():
        (folder / "x.npz").write_bytes(b"")
        raise error

    with pytest.raises(type(error)):
        job(folder).run(work, lambda: ("would", {}))
    return read_json(folder / "run.json")


@pytest.mark.parametrize(("error", "status", "why"), [
    (KeyboardInterrupt(), "interrupted", None), (MemoryError("too large"), "failed", "MemoryError: too large"),
    (InputError("is torn", where="a.png", do="Replace it"), "failed", "a.png: is torn. Replace it."),
])
def test_a_record_says_how_its_run_ended_and_the_run_goes_on(tmp_path, error, status, why):
    record = ended(tmp_path, error)
    assert (record["status"], record.get("why")) == (status, why)
    assert finish(tmp_path) == ({"score": 2}, True)
    record = read_json(tmp_path / "run.json")
    assert record["status"] == "done"
    assert "why" not in record


def test_a_finished_record_stays_when_bad_input_ends_a_later_run_before_it_wrote(tmp_path):
    finish(tmp_path, content={"input": 1})
    before = (tmp_path / "run.json").read_bytes()

    def work():
        raise InputError("is torn", where="a.png", do="Replace it")

    with pytest.raises(InputError):
        job(tmp_path, content={"input": 2}).run(work, lambda: ("", {}))
    assert (tmp_path / "run.json").read_bytes() == before


def test_a_run_whose_folder_is_removed_meanwhile_leaves_a_record_and_goes_on(tmp_path):
    """What it wrote after that would be foreign to the same command, and in its way."""
    def work():
        shutil.rmtree(tmp_path / "out")
        write_text(tmp_path / "out" / "parts" / "a", "")
        raise InputError("no such file", where="out/log.jsonl", do="Restore it")

    with pytest.raises(InputError):
        job(tmp_path / "out").run(work, lambda: ("", {}))
    assert read_json(tmp_path / "out" / "run.json")["status"] == "failed"
    assert finish(tmp_path / "out") == ({"score": 2}, True)


def test_a_run_whose_outputs_are_removed_meanwhile_is_not_done(tmp_path, monkeypatch):
    whole = Job.run

    def run_and_remove(*arguments):
        outcome = whole(*arguments)
        shutil.rmtree(tmp_path / "out")
        return outcome

    monkeypatch.setattr(Job, "run", run_and_remove)
    with pytest.raises(InputError, match="out: was removed during the run"):
        finish(tmp_path / "out")
    assert read_json(tmp_path / "out" / "run.json")["status"] == "failed"
    monkeypatch.undo()
    assert finish(tmp_path / "out") == ({"score": 2}, True)


def test_a_run_whose_folder_was_replaced_meanwhile_is_not_done(tmp_path):
    """Its outputs are folders, in which nobody sees what has gone."""
    def work():
        shutil.rmtree(tmp_path / "out")
        write_text(tmp_path / "out" / "parts" / "b", "")
        return {"score": 2}, [tmp_path / "out" / "parts"]

    with pytest.raises(InputError, match="out: was removed during the run. Run the same command again"):
        _hand_out(job(tmp_path / "out").run(work, lambda: ("", {})), Options(), "made_up", None, 1.0)
    assert read_json(tmp_path / "out" / "run.json")["status"] == "failed"
    assert finish(tmp_path / "out") == ({"score": 2}, True)


def test_outputs_outside_the_folder_are_names_and_lose_their_leftovers(tmp_path):
    """Whatever signs of patterns are in the names that the user gave."""
    path = tmp_path / "a [b]*" / "values.npz"
    path.parent.mkdir()
    left = path.with_name(f".values.npz.7{TEMPORARY}")
    left.touch()
    assert finish(tmp_path / "record", owns=["x.npz", path.absolute()])[1]
    assert not left.exists()
    assert finish(tmp_path / "record", owns=["x.npz", path.absolute()])[1] is False


def test_what_another_process_removes_meanwhile_is_not_foreign(tmp_path):
    """It ends its run between two looks at the folder."""
    write_text(tmp_path / "parts" / "a", "")
    again = job(tmp_path)
    seen, look = [], again._owned

    def look_and_remove(*names):
        found = look(*names)
        shutil.rmtree(tmp_path / "parts", ignore_errors=True)
        seen.append(found)
        return found

    again._owned = look_and_remove
    again.compare()
    assert seen[0] == [tmp_path / "parts"]


def listing_that_changes(again, file):
    """A folder stands for its files once all are listed: another process lists the last between two looks."""
    look, looks = again._owned, []

    def as_file_then_as_folder(*names):
        looks.append(names)
        return [file] if len(looks) == 1 else look(*names)

    again._owned = as_file_then_as_folder
    return looks


def test_files_that_another_process_lists_meanwhile_are_not_foreign(tmp_path):
    finish(tmp_path)
    write_text(tmp_path / "parts" / "a", "")
    again = job(tmp_path)
    looks = listing_that_changes(again, tmp_path / "parts" / "a")
    assert again.compare()["results"] == {"score": 2}
    assert len(looks) > 2


def test_while_another_process_writes_it_is_named_and_not_its_files(tmp_path):
    other = job(tmp_path)
    assert other.begin() is None
    write_text(tmp_path / "parts" / "a", "")
    again = job(tmp_path)
    listing_that_changes(again, tmp_path / "parts" / "a")
    with pytest.raises(InputError, match="another process is writing into this folder"):
        again.compare()
    other.release()
    again.compare()


def test_a_job_knows_that_a_run_was_stopped(tmp_path):
    found = []
    for error, resumes in ((KeyboardInterrupt(), False), (KeyboardInterrupt(), True), (None, True), (None, False)):
        again = job(tmp_path, Options(overwrite=True) if not resumes and found else None)

        def work(error=error, again=again):
            found.append(again.resumes)
            if error:
                raise error
            return {"score": 2}, []

        with contextlib.suppress(KeyboardInterrupt):
            _hand_out(again.run(work, lambda: ("", {})), Options(), "made_up", None, 1.0)
        assert found[-1] is resumes


def test_a_finished_record_has_the_summary_of_its_results(tmp_path):
    made = summariser("A score", Quantity("score", "score", "%", "higher", scale=100), Quantity("none", "not there"),
                      rank="measurement", pictures=[["x.png", "a picture"]])
    finish(tmp_path, results={"score": 0.25, "score_se": 0.01}, summary=made)
    found = read_json(tmp_path / "run.json")["summary"]
    assert check_summary(found, "here") == {
        "title": "A score", "rank": "measurement", "sentence": "", "pictures": [["x.png", "a picture"]],
        "rows": [{"name": "", "figures": [
            {"name": "score", "value": 25.0, "se": 1.0, "unit": "%", "better": "higher"}]}]}
    before = (tmp_path / "run.json").read_bytes()
    assert finish(tmp_path, summary=made)[1] is False
    assert (tmp_path / "run.json").read_bytes() == before


def test_figures_have_the_spread_that_the_results_give():
    results = {"a": 2.0, "a_half": 0.5, "b": 3.0, "low": 1.0, "high": 4.0, "b_se": 9.0, "c": 1.0, "c_se": None,
               "d": float("nan"), "e": True}
    found = figures(results, [Quantity("a", "a", half="a_half"), Quantity("b", "b", low="low", high="high"),
                              Quantity("c", "c"), Quantity("d", "d"), Quantity("e", "e")])
    spreads = [{name: figure[name] for name in ("se", "low", "high") if name in figure} for figure in found]
    assert [figure["name"] for figure in found] == ["a", "b", "c"]
    assert spreads == [{"low": 1.5, "high": 2.5}, {"low": 1.0, "high": 4.0}, {}]
