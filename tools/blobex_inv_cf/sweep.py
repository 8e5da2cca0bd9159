"""Tuning: a search for each combination of rate, steps and proximity on a few images; success against nearness."""

import dataclasses
import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import List

from common import console, parallel
from common.options import option
from tools.blobex_inv_cf import findings
from tools.blobex_inv_cf.options import ExplainOptions

PROG = "blobex_inv_cf sweep"
DESCRIPTION = """\
Inverts a few images once and searches with every combination of learning rate, steps and weight of the proximity. One
table and one picture of success against nearness; the recommended combination on top. A stopped run goes on."""
EPILOG = """\
examples:
  blobex_inv_cf sweep --dataset_path val --max_images 8 --learning_rate_cf .04 .08 .16 --n_iters_cf 25 50 100 \\
      --lambda_prox_cf 0 1 3 --output_dir out/sweep"""
OWNS = ("inversion", "run_*", "table.csv", "table.md", "sweep.png")
SLACK = 0.02  # success below the best that is as good
NAMES = ("learning_rate_cf", "n_iters_cf", "lambda_prox_cf")
SHOWN = ("success", "l1", "blobs_changed", "flip_on_real", "evaluations")


@dataclass(kw_only=True)
class SweepOptions(ExplainOptions):
    """Flags of `blobex_inv_cf sweep`: those of a search, three of them with several values."""

    learning_rate_cf: List[float] = option([0.04, 0.08, 0.16], "learning rates of the search", nargs="+", above=0)
    n_iters_cf: List[int] = option([25, 50, 100], "steps of a search at most", nargs="+", low=1)
    lambda_prox_cf: List[float] = option([0.0, 1.0, 3.0], "weights of the distance from the inverted blobs", nargs="+",
                                         low=0)


def combinations(options):
    """Return [(folder's name, {flag: value})] of all combinations."""
    found = []
    for values in itertools.product(*(dict.fromkeys(getattr(options, name)) for name in NAMES)):
        found.append(("run_" + "_".join(map(_exact, values)), dict(zip(NAMES, values))))
    return found


def _exact(value):
    """Return a number as the name of a folder: short where that says all of it."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def main(options):
    """Run `blobex_inv_cf sweep`; results: runs, a list with the values and measures of each combination, the
    recommended one first; recommended, its flags."""
    from common.cli import finish
    from common.device import pick_device
    from common.job import Job
    from tools.blobex_inv_cf.material import Material
    from tools.blobex_inv_cf.presets import filled
    from tools.blobex_inv_cf.run import explain, make_settings, wanted_of

    folder, tried = Path(options.output_dir), combinations(options)
    shared = {item.name: getattr(options, item.name) for item in dataclasses.fields(ExplainOptions)}
    shared |= {"json": False, "overwrite": False}

    def own(name, **values):
        return ExplainOptions(**{**shared, **tried[0][1], **values, "output_dir": str(folder / name)})

    def run(name, **values):
        given = own(name, **values)
        began, outcome = time.monotonic(), explain(given, show_results=None, is_part=True)
        finish(outcome, given, "blobex_inv_cf", time.monotonic() - began)
        return outcome.results

    def work():
        inverted = {}
        if options.real_images and not options.load_inversion:
            run("inversion", inversion_only=True)
            inverted = {"load_inversion": True, "inversions_path": str(folder / "inversion" / "all_inversions.pt")}
        rows = []
        for name, values in tried:
            console.say(f"{len(rows) + 1} of {len(tried)}: " + ", ".join(f"--{key} {values[key]:g}" for key in NAMES))
            rows.append({**values, **run(name, **values, **inverted)})
        return finished(folder, rows) if parallel.is_main() else ({}, [])

    checked = filled(own(tried[0][0]))
    material = Material(checked, pick_device(options.device, parallel.local_rank()))
    wanted_of(checked, material)
    make_settings(checked, material)
    job = Job(folder, PROG, options, derived=material.derived(), inputs=material.inputs(), owns=OWNS, show=show,
              summary=findings.sweep)
    return job.run(work, lambda: (f"would search with {len(tried)} combinations into {folder}", {"runs": len(tried)}),
                   material.device)


def recommended(rows):
    """Return the rows with the recommended one first: the nearest of those whose success is as good as the best."""
    best = max((row["success"] or 0.0) for row in rows)
    good = [row for row in rows if (row["success"] or 0.0) >= best - SLACK]
    first = min(good, key=lambda row: (row["l1"] if row["l1"] is not None else float("inf"), row["evaluations"] or 0))
    return [first, *(row for row in sorted(rows, key=lambda row: (-(row["success"] or 0.0), row["l1"] or 0.0))
                     if row is not first)]


def finished(folder, rows):
    """Write the table and the picture; return (results, files)."""
    from common.files import write_text
    from common.formats.tables import write_table
    from common.images.figures import new_figure, save_figure

    rows = recommended(rows)
    columns = [*NAMES, *SHOWN]
    write_table(folder / "table.csv", columns, [[row.get(name) for name in columns] for row in rows])
    names, cells = table(rows)
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(row) + " |" for row in cells]
    write_text(folder / "table.md", "\n".join(lines) + "\n")
    figure, axes = new_figure()
    for row in rows:
        if row["l1"] is not None:
            axes.plot(row["l1"], row["success"], "o", color="tab:red" if row is rows[0] else "tab:blue")
            axes.annotate(" ".join(f"{row[name]:g}" for name in NAMES), (row["l1"], row["success"]), fontsize=6,
                          xytext=(3, 3), textcoords="offset points")
    axes.set(xlabel="L1 to the reconstruction", ylabel="success", title="rate, steps, proximity; recommended in red")
    save_figure(folder / "sweep.png", figure)
    plain = [{name: row.get(name) for name in columns} for row in rows]
    return ({"runs": plain, "recommended": {name: rows[0][name] for name in NAMES}},
            [folder / name for name in ("table.csv", "table.md", "sweep.png")])


def table(rows):
    """Return (columns, rows) of text, the first row marked."""
    cells = []
    for place, row in enumerate(rows):
        values = ["" if row.get(name) is None else f"{row[name]:.3g}" for name in (*NAMES, *SHOWN)]
        cells.append(["recommended" if place == 0 else "", *values])
    return ["", "rate", "steps", "proximity", "success", "L1", "blobs changed", "flips on real", "evaluations"], cells


def show(results):
    """Print the table."""
    console.show_table("Combinations", *table(results["runs"]))


def cli(words):
    """Run the subcommand on the given words and return its exit status."""
    from common.cli import run

    return run(main, SweepOptions, PROG, DESCRIPTION, EPILOG, words, "sweep", place=lambda options: options.output_dir,
               show=show)
