"""The record of a run decides whether a command goes on, answers at once, or is another job."""

from dataclasses import dataclass, replace

import pytest

from common.cli import CommonOptions, Outcome, _hand_out, option
from common.errors import InputError
from common.files import read_json, write_json
from common.job import RunRecord


@dataclass(kw_only=True)
class Options(CommonOptions):
    """Flags of a made-up tool."""

    seed: int = option(0, "seed")
    num_samples: int = option(10, "how many", kind="total")
    batch_size: int = option(4, "images at once", kind="how")


def finish(folder, options, results):
    """Run the made-up job to its end, as the command line does."""
    record = RunRecord(folder, "made_up", options)
    earlier = record.begin()
    (folder / "x.npz").write_bytes(b"")
    _hand_out(Outcome(earlier or results, [str(folder / "x.npz")], record), options, "made_up", None, 1.5)
    return earlier


def test_a_finished_job_answers_with_its_results(tmp_path):
    assert finish(tmp_path, Options(), {"score": 2}) is None
    before = (tmp_path / "run.json").read_bytes()
    assert finish(tmp_path, Options(batch_size=8), {"score": 3}) == {"score": 2}
    assert (tmp_path / "run.json").read_bytes() == before


def test_a_finished_job_whose_files_are_gone_is_done_again(tmp_path):
    finish(tmp_path, Options(), {"score": 2})
    (tmp_path / "x.npz").unlink()
    assert finish(tmp_path, Options(), {"score": 3}) is None
    assert read_json(tmp_path / "run.json")["results"] == {"score": 3}


def test_another_part_of_a_larger_job_is_neither_done_nor_a_conflict(tmp_path):
    first = RunRecord(tmp_path, "made_up", Options(), extent=(0, 10))
    first.begin()
    _hand_out(Outcome({"score": 2}, [], first), Options(), "made_up", None, 1.5)
    assert RunRecord(tmp_path, "made_up", Options(), extent=(0, 10)).answer() == {"score": 2}
    assert RunRecord(tmp_path, "made_up", Options(), extent=(0, 5)).answer() is None


def test_overwriting_that_was_killed_half_way_is_ended_by_the_next_run(tmp_path, monkeypatch):
    finish(tmp_path, Options(), {"score": 2})
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "old").write_text("old")
    options = replace(Options(seed=5), overwrite=True)
    monkeypatch.setattr("shutil.rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        RunRecord(tmp_path, "made_up", options).begin(clear=[tmp_path / "parts"])
    monkeypatch.undo()
    record = RunRecord(tmp_path, "made_up", Options(seed=5))
    assert record.answer() is None
    assert record.anew
    record.begin(clear=[tmp_path / "parts"])
    assert not (tmp_path / "parts").exists()
    assert read_json(tmp_path / "run.json")["status"] == "running"


def test_overwriting_ones_own_folder_keeps_the_record(tmp_path):
    finish(tmp_path, Options(), {"score": 2})
    RunRecord(tmp_path, "made_up", replace(Options(), overwrite=True)).begin(clear=[tmp_path])
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_the_record_holds_what_the_contract_names(tmp_path):
    finish(tmp_path, Options(), {"score": 2})
    record = read_json(tmp_path / "run.json")
    assert record["status"] == "done"
    assert {"tool", "command", "options", "results", "outputs", "seconds", "versions", "inputs"} <= set(record)
    assert {"python", "torch", "numpy", "genprobe"} <= set(record["versions"])


def test_another_value_that_changes_results_is_named(tmp_path):
    finish(tmp_path, Options(), {})
    with pytest.raises(InputError, match="has seed 0, this command has 1. .*--overwrite"):
        RunRecord(tmp_path, "made_up", Options(seed=1)).begin()


def test_derived_values_are_compared(tmp_path):
    RunRecord(tmp_path, "made_up", Options(), {"nf": 16}).begin()
    with pytest.raises(InputError, match="has nf 16, this command has 32"):
        RunRecord(tmp_path, "made_up", Options(), {"nf": 32}).begin()


def test_a_larger_total_extends_and_a_smaller_one_is_refused(tmp_path):
    finish(tmp_path, Options(), {"score": 2})
    assert finish(tmp_path, Options(num_samples=20), {"score": 4}) is None
    assert read_json(tmp_path / "run.json")["results"] == {"score": 4}
    with pytest.raises(InputError, match="num_samples 20, this command has 10"):
        RunRecord(tmp_path, "made_up", Options()).begin()


def test_an_unfinished_job_goes_on_and_loses_its_leftovers(tmp_path):
    RunRecord(tmp_path, "made_up", Options()).begin()
    (tmp_path / ".x.npz.1.part").write_text("half")
    assert RunRecord(tmp_path, "made_up", Options()).begin() is None
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_overwrite_starts_anew(tmp_path):
    finish(tmp_path, Options(), {"score": 2})
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "x").write_text("old")
    options = replace(Options(seed=5), overwrite=True)
    assert RunRecord(tmp_path, "made_up", options).begin(clear=[tmp_path / "parts", tmp_path / "none"]) is None
    assert not (tmp_path / "parts").exists()


def test_a_dry_run_leaves_no_record(tmp_path):
    options = Options(dry_run=True)
    _hand_out(Outcome({}, [], RunRecord(tmp_path, "made_up", options)), options, "made_up", None, 0.1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [[1, 2], {"status": "done"}, "text"])
def test_a_record_of_something_else_is_named(content, tmp_path):
    write_json(tmp_path / "run.json", content)
    with pytest.raises(InputError, match="run.json: not the record of a run"):
        RunRecord(tmp_path, "made_up", Options()).begin()
