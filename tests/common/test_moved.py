"""A folder of runs and their inputs that is moved as a whole, by absolute paths: all of it is what it was."""

import dataclasses
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from common.cli import _hand_out
from common.errors import InputError
from common.files import read_json, write_json
from common.job import Job
from common.options import CommonOptions, option
from common.record import quick_answer, read_record


@dataclass(kw_only=True)
class Options(CommonOptions):
    """Flags of a made-up tool that reads files."""

    images: str = option("", "a file")
    models: list = dataclasses.field(default_factory=list)
    output_dir: str = option("", "its folder", kind="how")


def options_in(root, images="in/images"):
    return Options(images=str(root / images), models=[f"one={root}/in/one:part", f"two={root}/in/two"],
                   output_dir=str(root / "out/run"))


def finish(options):
    """Do the made-up job; returns whether any work was done."""
    done, folder = [], Path(options.output_dir)

    def work():
        done.append(1)
        (folder / "x.npz").write_bytes(b"")
        (folder.parent / "beside.npz").write_bytes(b"")
        return {"score": 2}, [folder / "x.npz"]

    made = Job(folder, "made_up", options, owns=["x.npz", folder.parent.absolute() / "beside.npz"],
               inputs=[options.images, *(word.split("=")[1].split(":")[0] for word in options.models)])
    _hand_out(made.run(work, lambda: ("would", {})), options, "made_up", None, 1.5)
    return bool(done)


@pytest.fixture
def moved(tmp_path):
    """Return where a finished run and its inputs lie after they were moved."""
    before = tmp_path / "before"
    (before / "in").mkdir(parents=True)
    for name in ("images", "one", "two", "others"):
        (before / "in" / name).write_text(name)
    assert finish(options_in(before))
    assert not finish(options_in(before))
    after = tmp_path / "deep" / "after"
    after.parent.mkdir()
    before.rename(after)
    return after


def test_the_same_command_answers_there_at_once(moved):
    options = options_in(moved)
    assert quick_answer(options.output_dir, "made_up", options)["results"] == {"score": 2}
    assert not finish(options)
    assert read_record(moved / "out/run/run.json")["outputs"] == [str(moved / "out/run/x.npz")]


def test_an_unfinished_run_goes_on_there(moved):
    path = moved / "out/run/run.json"
    write_json(path, {**read_json(path), "status": "interrupted"})
    assert finish(options_in(moved))
    assert read_json(path)["folder"] == str(moved / "out/run")


def test_another_input_is_refused_there_as_before(moved):
    with pytest.raises(InputError, match="the run in this folder has images .*/deep/after/in/images, this command has"):
        finish(options_in(moved, "in/others"))


def test_a_run_that_was_moved_without_its_inputs_is_of_those(tmp_path, moved):
    alone = tmp_path / "alone"
    shutil.move(moved / "out", alone)
    options = dataclasses.replace(options_in(moved), output_dir=str(alone / "run"))
    shutil.move(moved, tmp_path / "before")  # back to where the record knows them
    with pytest.raises(InputError, match="has images .*/before/in/images, this command has .*/deep/after/in/images"):
        finish(options)
    back = options_in(tmp_path / "before")
    assert not finish(dataclasses.replace(back, output_dir=str(alone / "run")))


def test_a_copy_beside_the_first_is_of_the_firsts_inputs(tmp_path, moved):
    copy = tmp_path / "copy"
    shutil.copytree(moved, tmp_path / "before")
    shutil.copytree(moved, copy)
    (copy / "out/beside.npz").unlink()
    with pytest.raises(InputError, match="has images .*/before/in/images, this command has .*/copy/in/images"):
        finish(options_in(copy))


@pytest.mark.parametrize("value", ["/\0", "/" + "a" * 9000, "/../..", "//", "/", "nowhere", ""])
def test_a_record_of_a_folder_that_never_was_is_read_as_it_stands(tmp_path, value):
    path = tmp_path / "run.json"
    options = {"images": value, "more": [value, {value: value}]}
    record = {"tool": "made_up", "options": options, "folder": f"{value}/gone"}
    path.write_text(json.dumps(record))
    assert read_record(path)["tool"] == "made_up"


def test_a_record_that_is_nested_without_end_is_refused(tmp_path):
    path = tmp_path / "run.json"
    record = {"tool": "made_up", "options": {}, "folder": os.fspath(tmp_path / "gone")}
    path.write_text(json.dumps(record)[:-1] + ', "more": ' + "[" * 700 + "]" * 700 + "}")
    with pytest.raises(InputError, match="run.json: not the record of a run: nested too deeply"):
        read_record(path)
