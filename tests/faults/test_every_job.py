"""Every job of every tool, disturbed: stopped between any two of its steps and at random moments, two at once, no room
left, and places, streams, clocks and names that are not the usual ones."""

import errno
import os
import random
import shutil
import signal
import time

import pytest

from tests.faults.jobs import STOPS, check_completed, check_end
from tests.faults.table import JOBS

every_job = pytest.mark.parametrize("name", JOBS, indirect=True)
TRIES = 10
KILLS = 10  # at random moments, besides those between steps
STEPS = 8  # of a job's steps, the first and the last among them
NAMES = {
    "not ASCII": ("ïn 漢字 [b]", "öut 😀 %s {x} 'q'"), "not UTF-8": ("in\udcff", "out\udcfe"),
    "a line's end": ("in\nx", "out\n\x1b[31m"), "long": ("i" * 250, "o" * 250),
    "deep": ("/".join(["d" * 240] * 3), "/".join(["e" * 240] * 8)),
}
PYTHON_STARTS = "init_import_site", "Could not import runpy module"  # Python's own words, before any of our code
LOOK_FOR_ROOM = ("calibrate_rcps make-synthetic",)  # jobs that know how much they will write
NO_HOME = dict.fromkeys(("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR"))


def some(number, seed, count):
    """Return up to `count` of the steps 1..number: the first, the last, and some between."""
    if number <= count:
        return list(range(1, number + 1))
    return [1, *sorted(random.Random(seed).sample(range(2, number), count - 2)), number]


@every_job
@pytest.mark.parametrize("stop", STOPS)
def test_a_stop_before_any_step_is_gone_on_from(name, stop, whole, tally):
    for step in some(whole.steps, f"{name}{stop}", STEPS):
        whole.place.fresh()
        ended = whole.place.run(signal=[STOPS[stop], step])
        tally(f"{stop} between steps")
        if stop == "SIGKILL":
            assert ended.status == -signal.SIGKILL, (step, ended)
        else:
            check_end(ended, (0, 130))
            assert ended.status == 0 or ended.err.startswith("interrupted; progress saved, resume with: "), ended
            assert not list(whole.place.out.rglob("*.part")), step
        check_completed(whole.place, whole.outputs)


@every_job
@pytest.mark.parametrize("stop", STOPS)
def test_stops_at_random_moments_are_gone_on_from(name, stop, whole, tally):
    moments, met = random.Random(f"{name}{stop}"), 0
    whole.place.fresh()
    for _ in range(5 * KILLS):
        running = whole.place.start()
        time.sleep(moments.uniform(0, 1) * whole.seconds)
        running.send(STOPS[stop])
        ended = running.end()
        stopped = ended.status in (-STOPS[stop], 130)
        met += stopped
        if stop != "SIGKILL" and ended.status != -STOPS[stop]:
            check_end(ended, (0, 130))
        tally(f"{stop} at random moments", stopped)
        if not stopped or met % 3 == 0:
            check_completed(whole.place, whole.outputs)
            whole.place.fresh()
        if met == KILLS:
            break
    check_completed(whole.place, whole.outputs)


@every_job
def test_of_two_at_once_one_waits_or_is_refused(name, whole, tally):
    moments = random.Random(name)
    for number in range(TRIES):
        whole.place.fresh()
        first = whole.place.start()
        time.sleep(moments.uniform(0, whole.seconds) * (number % 2))
        both = [running.end() for running in (first, whole.place.start())]
        tally("two processes at once")
        assert sorted(ended.status for ended in both) in ([0, 0], [0, 2]), both
        for ended in both:
            check_end(ended)
            assert ended.status == 0 or "another process is writing" in ended.err, ended
        assert whole.place.lasting() == whole.outputs
    check_completed(whole.place, whole.outputs)


FAILURES = {errno.ENOSPC: "no space left", errno.EROFS: "read-only", errno.EACCES: "permission denied",
            errno.EDQUOT: "quota", errno.EIO: "input/output error"}


@every_job
@pytest.mark.parametrize("number", FAILURES, ids=lambda number: errno.errorcode[number])
def test_a_disk_that_fails_from_any_step_on_is_named(name, number, whole, tally):
    for step in some(whole.steps, name, STEPS if number == errno.ENOSPC else 4):
        whole.place.fresh()
        ended = whole.place.run(error=[number, step])
        tally(f"{errno.errorcode[number]} from a step on")
        check_end(ended)
        assert ended.status == 0 or FAILURES[number] in ended.err, (step, ended)
        assert not list(whole.place.out.rglob("*.part")), step
        check_completed(whole.place, whole.outputs)


@every_job
@pytest.mark.parametrize("size", [0, 100, 5000])
def test_files_that_may_not_grow_are_named(name, size, whole, tally):
    whole.place.fresh()
    ended = whole.place.run(file_bytes=size)
    tally("files that may not grow")
    check_end(ended)
    assert ended.status == 0 or "file too large" in ended.err, ended
    check_completed(whole.place, whole.outputs)


@every_job
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.95])
def test_a_disk_that_is_full_is_named_and_once_there_is_room_the_run_goes_on(name, share, whole, disk, tally):
    """A disk of so many of the bytes that the job writes."""
    whole.place.fresh()
    disk(whole.place.out, max(4096, int(share * whole.size)))
    ended = whole.place.run()
    tally("a full disk")
    check_end(ended)
    named = "no space left" in ended.err or (name in LOOK_FOR_ROOM and "the disk has" in ended.err)
    assert ended.status == 0 or named, ended
    assert not list(whole.place.out.rglob("*.part"))
    disk(whole.place.out, 1 << 28)
    check_completed(whole.place, whole.outputs)


@every_job
def test_outputs_that_vanish_are_made_again(name, whole, tally):
    for step in some(whole.steps, name, 6):
        whole.place.fresh()
        ended = whole.place.run(vanish=[str(whole.place.out), step])
        tally("outputs that vanish")
        check_end(ended)
        check_completed(whole.place, whole.outputs)


@every_job
def test_a_working_folder_that_vanishes_is_named(name, whole, tally):
    for step in some(whole.steps, name, 4):
        whole.place.fresh()
        check_end(whole.place.run(vanish=[".", step]))
        tally("a working folder that vanishes")
        shutil.rmtree(whole.place.folder, ignore_errors=True)


@every_job
@pytest.mark.parametrize("stdout", ["closed", "gone", "full"])
def test_an_end_of_stdout_loses_nothing(name, stdout, whole, tally):
    whole.place.fresh()
    ended = whole.place.run("--json", stdout=stdout)
    tally("stdout closed, unread or full")
    check_end(ended)
    assert ended.status == 0 or (stdout == "full" and "standard output" in ended.err), ended
    assert whole.place.lasting() == whole.outputs
    check_completed(whole.place, whole.outputs)


@every_job
@pytest.mark.parametrize("clock", ["past", "future", "back"])
def test_an_odd_clock_changes_nothing(name, clock, whole, tally):
    whole.place.fresh(copied=True)
    for number, path in enumerate(sorted((whole.place.folder / "in").rglob("*"))):
        times = (-(10**9), 7 * 10**9, 0)[number % 3]
        os.utime(path, (times, times))
    for _ in range(2):
        ended = whole.place.run(clock=clock)
        tally("an odd clock")
        assert (ended.status, ended.err) == (0, ""), ended
        assert whole.place.lasting() == whole.outputs
    check_completed(whole.place, whole.outputs)


@every_job
@pytest.mark.parametrize("kind", NAMES)
def test_folders_of_odd_names_are_as_good_as_others(name, kind, whole, tally):
    place = whole.place.named(NAMES[kind])
    place.fresh(copied=True)
    ended = place.run()
    tally("odd names")
    check_end(ended, (0, 2) if kind in ("long", "deep") else (0,))
    if ended.status == 2:
        assert "file name too long" in ended.err, ended
        return
    again = place.run()
    assert (again.status, again.err) == (0, ""), again
    assert len(place.lasting()) == len(whole.outputs)


@every_job
def test_without_a_home_in_the_C_locale(name, whole, tally, in_c_locale):
    """Under a server that was started there, where names of files are ASCII."""
    place = whole.place.named(NAMES["not ASCII"], in_c_locale)
    place.fresh(copied=True)
    ended = place.run(variables=NO_HOME)
    tally("no HOME, C locale")
    assert (ended.status, ended.err) == (0, ""), ended
    assert len(place.lasting()) == len(whole.outputs)


@pytest.mark.parametrize("tool", sorted({job.tool for job in JOBS.values()}))
@pytest.mark.parametrize("stop", ["SIGTERM", "SIGINT"])
def test_a_stop_while_it_imports(tool, stop, fresh_process, tally):
    """In processes of their own, from Python's own start on."""
    for seconds in (0.05, 0.3, 1.0, 2.5):
        process = fresh_process(tool)
        time.sleep(seconds)
        process.send_signal(STOPS[stop])
        err = process.communicate(timeout=60)[1]
        tally(f"{stop} while it imports")
        files = [line for line in err.splitlines() if line.startswith("  File ")]
        if any(text in err for text in PYTHON_STARTS) or (files and all('File "<frozen' in line for line in files)):
            continue
        assert process.returncode in (0, 130, -STOPS[stop]), (seconds, err)
        assert "Traceback" not in err
        assert err.count("\n") <= 1, (seconds, err)
