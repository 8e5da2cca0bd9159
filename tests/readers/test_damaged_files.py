"""Damaged files of every kind that a command reads: read, or refused in one line; no hang, no gigabytes, no traceback.

The readings run in a process of their own (tests.readers.survey), with 2 GB of memory and 10 seconds for each.
"""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from tests.readers.kinds import KINDS
from tests.tools.commands import ROOT, environment

NEEDS = {"lmdb": "lmdb", "parquet": "pyarrow"}


def survey(tmp_path, first, count, kinds):
    """Return {kind: line} of the survey's answers."""
    kinds = [kind for kind in kinds if kind not in NEEDS or importlib.util.find_spec(NEEDS[kind])]
    variables = {**environment(), "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.getenv("PYTHONPATH")])]),
                 "GENPROBE_CACHE": str(tmp_path / "cache")}
    words = [sys.executable, "-m", "tests.readers.survey", tmp_path / "files", first, count, *kinds]
    done = subprocess.run(list(map(str, words)), cwd=tmp_path, env=variables, capture_output=True, text=True,
                          timeout=900, check=False)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["kind"] for row in rows] == kinds, f"it ended within the next kind:\n{done.stderr[-3000:]}"
    assert done.returncode == 0
    return {row["kind"]: row for row in rows}


def check(rows):
    broken = {kind: row["broken"] for kind, row in rows.items() if row["broken"]}
    assert not broken, "\n".join(f"{kind}: {said[0]}" for kind, said in broken.items())


def test_R3_R5_R6_a_few_damaged_files_of_every_kind(tmp_path, tally):
    rows = survey(tmp_path, 0, 4, KINDS)
    tally("damaged files", 4 * len(rows))
    check(rows)
    assert sum(row["refused"] > 0 for row in rows.values()) > len(rows) * 3 // 4


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_R3_R5_R6_two_hundred_damaged_files(kind, tmp_path, tally):
    rows = survey(tmp_path, 1000, 200, [kind])
    tally("damaged files", 200 * len(rows))
    tally("damaged files, read in every way", sum(row["readings"] for row in rows.values()))
    check(rows)
