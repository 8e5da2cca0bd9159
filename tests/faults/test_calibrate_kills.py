"""calibrate_rcps killed at 20 moments ends with the files of a quiet run; two at once end with whole files."""

import random
import signal
import subprocess
import sys
import time

from common.paths import ExperimentDir
from tests.tools.calibrate_rcps.conftest import FACTORS, make_outputs
from tests.tools.commands import ROOT, environment

KILLS = 20
WORDS = ("--base_dir", "assets", "--exp_name", "exp", "--resize_factors", "1,4,8", "--dims", "all", "--compare_bounds",
         "--quiet")


def start(folder):
    variables = {**environment(), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", "tools.calibrate_rcps", *WORDS], cwd=folder, env=variables,
                            stderr=subprocess.PIPE, text=True)


def make_tree(folder):
    """Write an experiment and return the folder of its calibration."""
    tree = ExperimentDir(folder / "assets", "exp")
    for factor, scale in zip(FACTORS, (0.85, 1.0, 1.25)):
        make_outputs(tree.outputs(factor), scale=scale, count=400, resize_factor=factor)
    return tree.calibration


def finish(folder):
    process = start(folder)
    _, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")


def contents(folder):
    """Return {name: bytes} of the calibration's files, records and temporary ones left aside."""
    return {path.name: path.read_bytes() for path in folder.iterdir()
            if not path.name.startswith(".") and path.name != "run.json"}


def test_killed_at_random_moments_the_calibration_is_the_same(tmp_path):
    make_tree(tmp_path / "whole")
    calibration = make_tree(tmp_path / "cut")
    began = time.monotonic()
    finish(tmp_path / "whole")
    seconds = time.monotonic() - began
    expected = contents(tmp_path / "whole/assets/exp/calibration")
    assert len(expected) >= 7
    moments = random.Random(0)
    for number in range(KILLS):
        process = start(tmp_path / "cut")
        time.sleep(moments.uniform(0.1, 1.0) * seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for name, data in (contents(calibration) if calibration.exists() else {}).items():
            assert data == expected[name], f"{name} is half-written"
        if number % 5 == 4:
            finish(tmp_path / "cut")
            assert contents(calibration) == expected
            for path in calibration.iterdir():
                path.unlink()


def test_of_two_at_once_one_waits_or_is_refused(tmp_path):
    expected = None
    for _ in range(10):
        calibration = make_tree(tmp_path)
        both = [start(tmp_path) for _ in range(2)]
        ends = [(process.communicate(timeout=300)[1], process.returncode) for process in both]
        assert sorted(status for _, status in ends)[0] == 0
        assert all(status in (0, 2) and "Traceback" not in err for err, status in ends)
        expected = expected or contents(calibration)
        assert contents(calibration) == expected
        for path in calibration.iterdir():
            path.unlink()
