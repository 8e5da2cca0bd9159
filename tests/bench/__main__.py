"""Time our code against a peer: `python -m tests.bench [--json] [NAME ...]`, names by prefix (`qc`, `metrics.prdc`).

Each line is `name  ours  peer  ratio`, medians over several rounds in turn; the ratio is the peer's seconds over ours
(or our rate over the peer's). Exit status 0, 1 when ours and the peer's results differ, 2 for an unknown name.
"""

import argparse
import json
import sys

from common.errors import InputError, nearest
from tests.bench.measure import measure
from tests.bench.registry import find_benches


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors."""

    def error(self, message):
        raise InputError(message, where="tests.bench", do="See --help")


def main(words=None):
    """Run the benchmarks and return the exit status."""
    parser = Parser(prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="run those whose names start so (all without any)")
    parser.add_argument("--json", action="store_true", help="put one JSON object on stdout")
    try:
        options = parser.parse_args(words)
        chosen = find_benches(options.names)
    except KeyError as error:
        known = [bench.name for bench in find_benches()]
        error = InputError("no benchmark is called so", where=error.args[0], do=nearest(error.args[0], known))
        return _fail(error)
    except InputError as error:
        return _fail(error)
    return run_all(chosen, options.json)


def _fail(error):
    print(f"error: {error}", file=sys.stderr)
    return 2


def run_all(chosen, as_json):
    """Measure each benchmark, print as the command promises, and return the exit status."""
    screen = sys.stderr if as_json else sys.stdout
    print(f"{'name':<28} {'ours':>14} {'peer':>14} {'ratio':>8}", file=screen)
    rows = []
    for bench in chosen:
        rows.append(measure(bench))
        print(line(rows[-1]), file=screen, flush=True)
    if as_json:
        print(json.dumps({"results": rows}))
    return 0 if all(row["same"] for row in rows) else 1


def line(row):
    """Return a result's line for the screen."""
    ours, peer = (f"{row[side]:.4g} {row['unit']}" for side in ("ours", "peer"))
    text = f"{row['name']:<28} {ours:>14} {peer:>14} {row['ratio']:>8.2f}"
    if not row["same"]:
        return f"{text}  RESULTS DIFFER (peer: {row['against']})"
    promise = row["at_least"]
    shortfall = f"  below the promised {promise}" if promise is not None and row["ratio"] < promise else ""
    memory = "".join(f"  +{ours:.0f} MB, peer +{peer:.0f} MB" for ours, peer in [row.get("memory", [None] * 2)]
                     if ours is not None and peer is not None)
    return f"{text}{shortfall}{memory}  (peer: {row['against']})"


if __name__ == "__main__":
    sys.exit(main())
