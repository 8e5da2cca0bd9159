"""Two evaluations side by side on the pairs that both have: `evaluate_cf compare A B`."""

from dataclasses import dataclass
from pathlib import Path
from typing import List

from common import console
from common.errors import InputError
from common.numerals import counted
from common.options import REQUIRED, CommonOptions, option
from tools.evaluate_cf import findings
from tools.evaluate_cf.findings import ALL

PROG = "evaluate_cf compare"
DESCRIPTION = """\
Lays two evaluations side by side on the pairs that both have: means of each, and paired differences (B - A) with 95 %
intervals over images. A and B are folders that evaluate_cf has measured, or its output folders."""
EPILOG = """\
examples:
  evaluate_cf compare out/plain out/sparse
  evaluate_cf compare out/margin4/evaluation out/margin8/evaluation --output_dir out/margins"""
SHARES = {"flip": "success", "stored_flip": "stored_success", "flip_on_real": "flip_on_real", "truth_flip": "truth",
          "truth_kept": "kept"}
NOT_MEASURED = {"image", "attribute", "name", "number", "outcome", "target", "published_flip", "start_score",
                "truth_started", "start_difference", "difference", "all_flip"}
SAME = 1e-4  # of the scores of the start: more, and the pairs begin from other reconstructions


@dataclass(kw_only=True)
class CompareOptions(CommonOptions):
    """Flags of `evaluate_cf compare`."""

    folders: List[str] = option(REQUIRED, "two folders that evaluate_cf has measured", word=True, nargs=2,
                                type=str, kind="how")
    output_dir: str = option("out/evaluate_cf_compare", "output directory", kind="how")


def compare(options):
    """Compare; results: pairs, only_a, only_b, and `attributes`: {name, and all: {measure: {a, b, difference, low,
    high, pairs}}}."""
    from common.files import file_hash
    from common.job import Job

    tables = [_table_of(folder) for folder in options.folders]
    one, two = (_read(path) for path in tables)
    shared = [key for key in one if key in two]
    if not shared:
        raise InputError("no pair is in both", where=options.folders[1], do="Compare runs on the same images")
    folder = Path(options.output_dir)
    job = Job(folder, PROG, options, content={"pairs": [file_hash(path) for path in tables]}, inputs=tables,
              owns=("compare.csv",), show=show, summary=findings.comparison)

    def work():
        _note_starts(shared, one, two)
        groups = {name: [key for key in shared if key[1] == name] for name in dict.fromkeys(key[1] for key in shared)}
        found = {name: _differences(keys, one, two) for name, keys in [*groups.items(), (ALL, shared)]}
        results = {"pairs": len(shared), "only_a": len(one) - len(shared), "only_b": len(two) - len(shared),
                   "attributes": found}
        return results, [_write(folder, found)]

    return job.run(work, lambda: (f"would compare {len(shared):,} pairs into {folder}", {"pairs": len(shared)}))


def _table_of(folder):
    """Return the pairs.csv of an evaluation, of its own folder or of the one that was evaluated."""
    for place in (Path(folder) / "evaluation", Path(folder)):
        if (place / "pairs.csv").is_file() and (place / "table.csv").is_file():
            return place / "pairs.csv"
    raise InputError("it is not evaluated (no evaluation/pairs.csv)", where=folder, do=f"Run evaluate_cf {folder}")


def _read(path):
    """Return {(image, attribute's name, number): {column: number, None where empty, or text}}."""
    from common.formats.tables import read_records

    columns, records = read_records(path)
    if not {"image", "name", "number", "outcome", "flip"} <= set(columns):
        raise InputError("not the pairs of an evaluation", where=path, do="Give a folder of evaluate_cf")
    return {(record["image"], record["name"], record["number"]):
            {name: _value(text) for name, text in record.items() if name not in ("image", "name")}
            for record in records}


def _value(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return text or None


def _note_starts(shared, one, two):
    """Say how many pairs begin from other reconstructions, whose differences are not of the search alone."""
    other = sum(abs((one[key].get("start_score") or 0) - (two[key].get("start_score") or 0)) > SAME for key in shared)
    if other:
        console.say(f"note: {other} of {len(shared)} pairs begin from other reconstructions")


def _differences(keys, one, two):
    """Return {measure: {a, b, difference, low, high, pairs}} of pairs.

    Success counts pairs that were searched in both; everything else those that flipped in both and have the number.
    """
    from common.metrics.counterfactual import mean_and_error

    searched = [key for key in keys if all(each[key]["outcome"] != "already" for each in (one, two))]
    flips = [key for key in searched if all(each[key]["flip"] == 1 for each in (one, two))]
    found = {}
    for column in (name for name in one[keys[0]] if name not in NOT_MEASURED) if keys else ():
        own = [key for key in (searched if column in ("flip", "stored_flip", "evaluations") else flips)
               if all(isinstance(each[key].get(column), float) for each in (one, two))]
        if column.startswith("truth"):
            own = [key for key in own if all(each[key].get("truth_started") == 1 for each in (one, two))]
        if not own:
            continue
        first, second = ([each[key][column] for key in own] for each in (one, two))
        mean, error = mean_and_error([b - a for a, b in zip(first, second)], [key[0] for key in own])
        found[SHARES.get(column, column)] = {
            "a": sum(first) / len(own), "b": sum(second) / len(own), "difference": mean,
            "low": None if error is None else mean - error, "high": None if error is None else mean + error,
            "pairs": len(own)}
    return found


def _write(folder, found):
    from common.formats.tables import write_table

    columns = ("a", "b", "difference", "low", "high", "pairs")
    write_table(folder / "compare.csv", ["attribute", "measure", *columns],
                [[attribute, measure, *(entry[name] for name in columns)]
                 for attribute, own in found.items() for measure, entry in own.items()])
    return folder / "compare.csv"


def show(results):
    """Print the differences over all attributes."""
    rows = [[name, f"{entry['a']:.3g}", f"{entry['b']:.3g}", _interval(entry), str(entry["pairs"])]
            for name, entry in results["attributes"][ALL].items()]
    console.show_table(counted(results["pairs"], "pair"), ["", "A", "B", "B - A (95 %)", "pairs"], rows)


def _interval(entry):
    if entry["low"] is None:
        return f"{entry['difference']:+.3g}"
    return f"{entry['difference']:+.3g} ({entry['low']:+.3g} to {entry['high']:+.3g})"


def cli(words):
    """Run the subcommand on the given words and return its exit status."""
    from common.cli import run

    return run(compare, CompareOptions, PROG, DESCRIPTION, EPILOG, words, "compare",
               place=lambda options: options.output_dir)
