"""Running again: what is done is kept, what changed is made anew, errors in workers are told."""

import errno
import os

import pytest

from tests.tools.extract_subimages.photos import (
    SMALL,
    call,
    contents,
    extract,
    make_photos,
    photo,
    refuse,
    write,
)


def stamps(folder):
    """Return {path: time of writing}."""
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*.jpg")}


def test_a_finished_run_answers(tmp_path):
    folder = make_photos(tmp_path / "in", 3)
    (folder / "broken.jpg").write_bytes(b"x")
    first = extract(folder, tmp_path / "out")
    before = stamps(tmp_path / "out")
    assert extract(folder, tmp_path / "out") == first
    assert stamps(tmp_path / "out") == before


def test_another_option_is_refused_by_name(tmp_path):
    folder = make_photos(tmp_path / "in", 1)
    extract(folder, tmp_path / "out")
    assert "compression_level 95, this command has 90" in refuse(folder, tmp_path / "out", "--quality", "90")
    extract(folder, tmp_path / "out", "--quality", "90", "--overwrite")


def test_a_new_a_changed_and_a_missing_photo_are_seen(tmp_path):
    folder = make_photos(tmp_path / "in", 3)
    extract(folder, tmp_path / "out")
    before = stamps(tmp_path / "out")
    write(folder / "aa.jpg", photo(8))
    write(folder / "b.jpg", photo(9, 151, 230))
    os.utime(folder / "b.jpg", ns=(10**18, 2 * 10**18))
    (folder / "c.jpg").unlink()
    results = extract(folder, tmp_path / "out")
    after = stamps(tmp_path / "out")
    assert {name for name in before if name.startswith("a_left") and after[name] != before[name]} == set()
    assert results["orphans"] == ["c_left"]
    assert results["already_there"] == 1
    extract(folder, tmp_path / "fresh")
    fresh, now = contents(tmp_path / "fresh"), contents(tmp_path / "out")
    assert {name: now[name] for name in fresh} == fresh


def test_lost_tiles_and_folders_are_made_again(tmp_path):
    folder = make_photos(tmp_path / "in", 3)
    extract(folder, tmp_path / "out")
    whole = contents(tmp_path / "out")
    (tmp_path / "out" / "a_left" / "00000003.jpg").unlink()
    for path in (tmp_path / "out" / "b_left").iterdir():
        path.unlink()
    (tmp_path / "out" / "b_left").rmdir()
    extract(folder, tmp_path / "out")
    assert contents(tmp_path / "out") == whole


def test_a_touched_photo_is_compared_by_its_bytes(tmp_path):
    folder = make_photos(tmp_path / "in", 2)
    extract(folder, tmp_path / "out")
    before = stamps(tmp_path / "out")
    os.utime(folder / "a.jpg", ns=(4 * 10**18, 4 * 10**18))
    extract(folder, tmp_path / "out")
    assert stamps(tmp_path / "out") == before


def test_a_photo_that_turns_unusable_loses_its_folder(tmp_path):
    folder = make_photos(tmp_path / "in", 2)
    extract(folder, tmp_path / "out")
    (folder / "a.jpg").write_bytes(b"no photo any more")
    results = extract(folder, tmp_path / "out")
    assert (results["extracted"], results["skipped_files"]) == (1, ["a.jpg"])
    assert not (tmp_path / "out" / "a_left").exists()


def test_shards_refuse_other_photos(tmp_path):
    folder = make_photos(tmp_path / "in", 2)
    extract(folder, tmp_path / "out", "--layout", "packed")
    write(folder / "z.jpg", photo(8))
    assert "the photos" in refuse(folder, tmp_path / "out", "--layout", "packed")
    extract(folder, tmp_path / "out", "--layout", "packed", "--overwrite")


def test_overwrite_starts_anew(tmp_path):
    folder = make_photos(tmp_path / "in", 2)
    extract(folder, tmp_path / "out")
    extract(folder, tmp_path / "out", "--layout", "virtual", "--overwrite")
    assert not list((tmp_path / "out").rglob("0*.jpg"))
    assert (tmp_path / "out" / "a_left" / "square.jpg").exists()


def test_the_data_set_can_be_moved(tmp_path):
    folder = make_photos(tmp_path / "in", 2)
    extract(folder, tmp_path / "out")
    (tmp_path / "elsewhere").mkdir()
    folder.rename(tmp_path / "elsewhere" / "photos")
    (tmp_path / "out").rename(tmp_path / "elsewhere" / "tiles")
    before = stamps(tmp_path / "elsewhere" / "tiles")
    extract(tmp_path / "elsewhere" / "photos", tmp_path / "elsewhere" / "tiles")
    assert stamps(tmp_path / "elsewhere" / "tiles") == before


def test_a_bug_in_a_worker_is_told_with_its_photo(tmp_path, monkeypatch):
    """Status 1, the photo named, the others written, no photo's folder without its centres; the next run goes on."""
    from tools.extract_subimages import chunks

    folder = make_photos(tmp_path / "in", 3)
    plain, read, photos = chunks.centers_bytes, chunks.read_source, []

    def noted(source):
        photos.append(source.path)
        return read(source)

    def fails(centers):
        if photos[-1] == "b.jpg":
            raise ZeroDivisionError("a bug")
        return plain(centers)

    monkeypatch.setattr(chunks, "read_source", noted)
    monkeypatch.setattr(chunks, "centers_bytes", fails)
    ended = call("--input_folder", folder, "--save_folder", tmp_path / "out", *SMALL, "--quiet")
    assert ended.status == 1
    assert "b.jpg: ZeroDivisionError: a bug" in ended.err
    assert ended.err.count("\n") == 1
    assert all((path / "centers.pt").exists() for path in (tmp_path / "out").glob("*_left"))
    assert not (tmp_path / "out" / ".unfinished").exists()
    monkeypatch.undo()
    extract(folder, tmp_path / "out")
    extract(folder, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_a_worker_that_dies_is_told(tmp_path):
    from tools.extract_subimages.options import SubimageOptions
    from tools.extract_subimages.sources import Photo, PhotoUnit
    from tools.extract_subimages.workers import WorkerError, Workers

    unit = PhotoUnit(0, Photo(str(tmp_path), "heavy.jpg", 1, 0), "heavy")
    with pytest.raises(WorkerError, match="heavy.jpg: the worker died"), Workers(1) as workers:
        list(workers.run(die, SubimageOptions(), [unit]))


def test_a_worker_that_died_before_its_first_photo_is_told(tmp_path):
    from tools.extract_subimages.options import SubimageOptions
    from tools.extract_subimages.sources import Photo, PhotoUnit
    from tools.extract_subimages.workers import WorkerError, Workers

    unit = PhotoUnit(0, Photo(str(tmp_path), "light.jpg", 1, 0), "light")
    with Workers(1) as workers:
        workers.processes[0].kill()
        with pytest.raises(WorkerError, match=r"its start: the worker died \(exit status -9"):
            list(workers.run(die, SubimageOptions(), [unit]))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.ENOENT])
def test_what_the_system_refuses_a_worker_is_an_input_error(number):
    from tools.extract_subimages.sources import Photo, PhotoUnit
    from tools.extract_subimages.workers import attempt

    def rename(options, unit):
        raise OSError(number, os.strerror(number), "out/HR")

    refused = attempt(rename, None, PhotoUnit(0, Photo("", "a.jpg", 1, 0), "a")).refused
    assert refused is not None
    assert refused[1] == "out/HR"


def die(options, unit):
    """End the process at once."""
    os._exit(9)


def test_a_full_disk_ends_the_run_with_status_2(tmp_path, monkeypatch):
    from tools.extract_subimages import sinks

    folder = make_photos(tmp_path / "in", 2)
    plain = os.write

    def full(descriptor, data):
        if len(data) > 1500:
            raise OSError(errno.ENOSPC, "no space")
        return plain(descriptor, data)

    monkeypatch.setattr(sinks.os, "write", full)
    assert "no space left on the disk" in refuse(folder, tmp_path / "out", "--square", "none")
    monkeypatch.undo()
    extract(folder, tmp_path / "out", "--square", "none")
