"""The golden cases in tests/golden, and those in the folders that GENPROBE_GOLDEN names (separated by os.pathsep).

Cases marked as taking over 5 s are skipped; GENPROBE_SLOW=1 runs those of tests/golden too, `make golden` runs them
all. So it does with the long ones of tests/golden, of whose networks `make test` runs another case.
"""

import os
from pathlib import Path

import pytest

from tests.golden.registry import find_cases, find_check
from tests.golden.run import run_case

OWN = Path(__file__).parent / "golden"
LONG = ("loss_qc_cifar10_deep", "folder_to_fid")


def collect():
    """Return the cases as pytest parameters."""
    parameters = []
    for folder in [OWN, *filter(None, os.environ.get("GENPROBE_GOLDEN", "").split(os.pathsep))]:
        for case in find_cases(folder):
            asked = folder == OWN and os.environ.get("GENPROBE_SLOW") == "1"
            marks = [pytest.mark.skip(reason="takes over 5 s")] if case.slow and not asked else []
            if folder != OWN and find_check(case.check) is None:
                marks.append(pytest.mark.skip(reason=f"no check is called {case.check}: its tool is not here yet"))
            if folder == OWN and case.folder.name in LONG:
                marks.append(pytest.mark.long)
            origin = "own" if folder == OWN else "given"
            parameters.append(pytest.param(case, id=f"{case.check}-{case.folder.name}-{origin}", marks=marks))
    return parameters


@pytest.mark.parametrize("case", collect())
def test_case_agrees_with_the_original(case):
    function = find_check(case.check)
    assert function is not None, f"no check is called {case.check}"
    result = run_case(case, function)
    assert result.passed, result.line()
