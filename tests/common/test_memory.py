"""Freed memory is used again: no fresh pages for arrays of sizes that came before."""

import platform
import subprocess
import sys

import pytest

from tests.tools.commands import ROOT

CHURN = """
import resource, sys
import numpy as np
from common.memory import reuse_freed_memory
if sys.argv[1] == "reuse":
    reuse_freed_memory()
def churn():
    arrays = [np.ones(1 << 21) for _ in range(6)]  # 16 MB each
churn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    churn()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how):
    """Return how many pages a process of its own asked the system for, after it had as many before."""
    done = subprocess.run([sys.executable, "-c", CHURN, how], cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_arrays_take_the_memory_of_earlier_ones():
    assert faults("reuse") < 500 < 5000 < faults("leave")
