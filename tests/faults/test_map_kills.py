"""process_embeddings killed at 20 moments ends with the files of one quiet run; a half-written one is never there."""

import random
import signal
import subprocess
import sys
import time

import numpy as np

from tests.tools.activation_networks import contents
from tests.tools.commands import ROOT, environment
from tests.tools.process_embeddings.trees import write_tree

KILLS = 20
WORDS = ("--models", "a=data:imagenet_real", "b=data:imagenet_real2", "--output_dir", "maps", "--pca", "8", "--quiet")


def start(folder):
    variables = {**environment(), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", "tools.process_embeddings", *WORDS], cwd=folder, env=variables,
                            stderr=subprocess.PIPE, text=True)


def files_of(folder):
    """Return the paths of its files, records and temporary ones left aside."""
    return [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]


def test_killed_at_random_moments_the_map_is_the_same(tmp_path):
    for name in ("whole", "cut"):
        for model in ("imagenet_real", "imagenet_real2"):
            rng = np.random.default_rng(len(model))
            write_tree(tmp_path / name / "data", model, {"midblock": rng.normal(size=(150, 40))},
                       rng.integers(0, 3, 150), "xyz",
                       rng.integers(0, 256, (150, 32, 32, 3)).astype(np.uint8))

    def finish(name):
        process = start(tmp_path / name)
        _, err = process.communicate(timeout=300)
        assert (process.returncode, err) == (0, "")

    finish("whole")
    expected = contents(tmp_path / "whole" / "maps")
    assert len(expected) >= 5
    moments, maps = random.Random(0), tmp_path / "cut" / "maps"
    began = time.monotonic()
    finish("cut")
    seconds = time.monotonic() - began
    for number in range(KILLS):
        if number % 2 == 0:
            for path in files_of(maps):
                path.unlink()  # outputs that went missing are made anew
        process = start(tmp_path / "cut")
        time.sleep(moments.uniform(0.5, 1.0) * seconds)  # most of it is compiling; files are written at the very end
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for path in files_of(maps):
            assert path.read_bytes() == expected[path.name], f"{path.name} is half-written"
        if number % 2 == 1:
            finish("cut")
            assert contents(maps) == expected
