"""Run golden cases: `python -m tests.golden [--json] DIR ...`, each a case folder or a folder of them.

One line a case (check, case, worst error over tolerance, pass or fail), at the end `N passed, N failed`. Exit status 0,
1 when a case failed, 2 for an unknown check (the other cases are run all the same) or a folder without cases.
"""

import argparse
import json
import math
import os
import sys

from common.errors import InputError, nearest
from tests.golden.registry import _checks, find_cases, find_check
from tests.golden.run import run_case

os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch is not imported yet; small networks gain nothing from more


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors."""

    def error(self, message):
        raise InputError(message, where="tests.golden", do="See --help")


def main(words=None):
    """Run the cases and return the exit status."""
    parser = Parser(prog="python -m tests.golden", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="DIR", help="a case folder, or a folder of them")
    parser.add_argument("--json", action="store_true", help="put one JSON object on stdout")
    try:
        options = parser.parse_args(words)
        cases = [case for folder in options.folders for case in find_cases(folder)]
        return run_all(cases, options.json)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run_all(cases, as_json):
    """Run the cases, print as the command promises, and return the exit status."""
    screen = sys.stderr if as_json else sys.stdout
    results, unknown = [], []
    for case in cases:
        function = find_check(case.check)
        if function is None:
            unknown.append(case)
            continue
        results.append(run_case(case, function))
        print(results[-1].line(), file=screen, flush=True)
    failed = sum(not result.passed for result in results)
    if as_json:
        rows = [{"check": result.check, "case": result.case, "passed": result.passed,
                 "worst": result.worst if math.isfinite(result.worst) else None} for result in results]
        print(json.dumps({"results": rows}))
    print(f"{len(results) - failed} passed, {failed} failed", file=screen, flush=True)
    if unknown:
        names = sorted({str(case.check) for case in unknown})
        raise InputError(f"unknown check {', '.join(names)}", where=unknown[0].folder / "case.json",
                         do=nearest(names[0], _checks) if _checks else "See tests/golden/checks")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
