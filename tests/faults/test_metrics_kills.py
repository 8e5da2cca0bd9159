"""setup_fid and compute_fid killed at random moments, or run twice at once, end with the bytes of one quiet run."""

import random
import shutil
import signal
import subprocess
import sys
import time

from tests.tools.commands import ROOT, environment

KILLS = 20
SETUP = ("tools.setup_fid", "--action", "compute_new", "--path", "photos32", "--n_imgs", "3000", "--shuffle", "--name",
         "photos",
         "--extractor", "small", "--kid", "--device", "cpu", "--quiet")
SCORE = ("tools.compute_fid", "clean", "photos32", "--split", "test", "--dataset_name", "photos", "--extractor",
         "small",
         "--metrics", "fid,kid,prdc", "--device", "cpu", "--output_dir", "scores", "--quiet")


def start(folder, words):
    """Start a command in a folder."""
    folder.mkdir(exist_ok=True)
    variables = {**environment(), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", *words], cwd=folder, env=variables, stderr=subprocess.PIPE,
                            text=True)


def end(process):
    """Wait for a command that must end well."""
    _, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")


def outputs(folder):
    """Return {name: bytes} of all that must be the same."""
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.suffix in (".npz", ".csv") and path.is_file()}


def kill_often(words, before, cut, expected, seconds, moments):
    """Kill and start again KILLS times, each fourth time from the folder `before`; outputs in `cut` must end as
    expected."""
    for number in range(KILLS):
        if number % 4 == 0:
            shutil.rmtree(cut, ignore_errors=True)
            shutil.copytree(before, cut)
        process = start(cut, words)
        time.sleep(moments.uniform(0.3, 1.0) * seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if number % 4 == 3:
            end(start(cut, words))
            assert sorted(outputs(cut)) == sorted(expected)
            assert outputs(cut) == expected
            assert not list(cut.rglob("*.part"))


def test_killed_at_random_moments_they_end_with_the_same_bytes(tmp_path):
    whole, before, cut = tmp_path / "whole", tmp_path / "before", tmp_path / "cut"
    before.mkdir()
    for words in (SETUP, SCORE):
        began = time.monotonic()
        end(start(whole, words))
        seconds = time.monotonic() - began
        kill_often(words, before, cut, outputs(whole), seconds, random.Random(words[0]))
        end(start(before, words))


def test_two_at_once_under_one_name(tmp_path):
    end(start(tmp_path / "whole", SETUP))
    both = [start(tmp_path / "both", SETUP) for _ in range(2)]
    ended = [(process.communicate(timeout=300)[1], process.returncode) for process in both]
    assert ("", 0) in ended
    for line, status in ended:  # the second is refused, or answered after the first
        assert (line, status) == ("", 0) or (status == 2 and "another process is writing into this folder" in line)
    assert outputs(tmp_path / "both") == outputs(tmp_path / "whole")
