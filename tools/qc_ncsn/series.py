"""One command on several checkpoints of a work folder (`--checkpoint_idx 60 65 70`): one table, one curve.

Each checkpoint has a folder of its own, by_checkpoint/<number>, laid out like a work folder, where the command runs as
it would there; by_checkpoint/<command> holds the table and the curve.
"""

import math
import time
from dataclasses import replace

from common import console, parallel
from common.cli import Outcome, finish
from common.errors import InputError
from common.job import Job
from common.record import quick_answer, read_record
from tools.qc_ncsn import findings
from tools.qc_ncsn.work_dir import SERIES, WorkDir

OWNS = ["table.csv", "curve.png", "samples.png"]
SAMPLES_SHOWN = 8
# What a command's curve shows: the result, its standard error, and the axis.
CURVES = {
    "nll": [("nll", "nll_se", "bits/dim")],
    "asym": [("asym", "asym_se", "Asym"), ("nasym", "nasym_se", "NAsym")],
    "dsm": [("dsm", "dsm_se", "DSM loss")],
    "sample": [("nfe", None, "network calls")],
    "nfe": [("mean_nfe", None, "network calls")],
    "fidis": [("fid", None, "FID"), ("frechet_distance", None, "Frechet distance"),
              ("inception_score", None, "Inception score")],
    "prdc": [(name, None, name) for name in ("precision", "recall", "density", "coverage")],
    "encode": [],
}


class Series(Job):
    """The job of a series: its parts answer for themselves, and the table is made of their answers each time."""

    def answer(self):
        """Return None: nothing is answered without asking the parts."""
        self.compare()


def several(options):
    """Return whether a command is asked for more than one checkpoint."""
    return len(set(options.checkpoint_idx)) > 1


def check_several(options):
    """Raise InputError where a command on stored samples names a single checkpoint: the samples say which it was."""
    if len(set(options.checkpoint_idx)) == 1:
        number = options.checkpoint_idx[0]
        raise InputError("of one checkpoint the samples in the work folder itself are meant",
                         where=f"--checkpoint_idx {number}",
                         do=f"Leave it out; of a series give --workdir {options.workdir}/{SERIES}/{number}")


def series_folder(options, name):
    """Return the folder of a series' table and curve: by_checkpoint/<name>, with _ode or _exact as of one checkpoint,
    of samples a folder by division."""
    ode = getattr(options, "ode", False) or getattr(options, "method", None) == "ode"
    folder = WorkDir(options.workdir).series / (name + "_ode" * ode + "_exact" * getattr(options, "exact", False))
    return folder / str(options.division_idx) if name == "sample" else folder


def show_any(show):
    """Return a function that shows the results of a series, or those of one checkpoint with `show`."""
    return lambda results: show_series(results) if isinstance(results.get("checkpoint_idx"), list) else show(results)


def run_series(request, command, name, main, place, shared=None):
    """Run a command's `main` on each of --checkpoint_idx; return the Outcome of all.

    name: the command's last word.  place(options) -> folder of one checkpoint's record.  shared: options of a run in
    by_checkpoint itself that comes before the others.
    """
    work, numbers = WorkDir(request.workdir), sorted(set(request.checkpoint_idx))
    if getattr(request, "checkpoint", None):
        raise InputError("contradicts --checkpoint_idx", where="--checkpoint", do="Omit one of them")
    if getattr(request, "read", False) and not request.calculate:
        return _read(series_folder(request, name), numbers)
    from common.files import fingerprint

    paths = [_checkpoint(work, number) for number in numbers]
    parts = [replace(request, workdir=f"{request.workdir}/{work.series.name}/{number}", checkpoint_idx=[])
             for number in numbers]
    before = [] if shared is None else [replace(shared, workdir=f"{request.workdir}/{work.series.name}",
                                                checkpoint_idx=[])]
    prints = [fingerprint(path) for path in paths]
    folder = series_folder(request, name)
    job = Series(folder, command, request, about=prints, owns=OWNS, show=show_series, summary=findings.series(name),
                 content={f"checkpoint {number}": each["sha256"] for number, each in zip(numbers, prints)})

    def work_through(dry=False):
        outcomes = [_part(each, command, main, place) for each in before + parts][len(before):]
        results = {"checkpoint_idx": numbers, **_columns([outcome.results for outcome in outcomes])}
        outputs = [path for outcome in outcomes for path in outcome.outputs]
        if dry or not parallel.is_main():
            return results, outputs
        return results, [*outputs, *_write(folder, name, results, parts)]

    line = f"would put the table of {len(numbers)} checkpoints into {folder}"
    return job.run(work_through, lambda: (line, work_through(dry=True)[0]))


def _checkpoint(work, number):
    """Return the path of a snapshot; InputError that lists those there are."""
    path = work.checkpoint(number)
    if not path.is_file():
        from common.score.models import find_checkpoint  # imports torch, which an answer does without

        find_checkpoint(work, number, else_do="")
    return path


def _part(request, command, main, place):
    """Return the Outcome of one checkpoint, answered by its record or run, with its record written."""
    answer = quick_answer(place(request), command, request) if parallel.is_main() else None
    answer = parallel.gather_objects(answer)[0] if not request.dry_run else answer
    if answer is not None:
        return Outcome(answer["results"], answer["outputs"])
    began = time.monotonic()
    outcome = main(request)
    finish(outcome, request, command, time.monotonic() - began)
    return outcome


def _columns(rows):
    """Return {name: values} of the results that are a number or text, or not known, for every checkpoint."""
    names = [name for name in dict.fromkeys(name for row in rows for name in row)
             if all(isinstance(row.get(name), (int, float, str, type(None))) for row in rows)]
    return {name: [_finite(row.get(name)) for row in rows] for name in names}


def _finite(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(folder, name, results, parts):
    """Write the table, the curve, and of samples the first images of each checkpoint; return the paths."""
    from common.formats.tables import write_table

    names = [column for column in results if isinstance(results[column], list)]
    paths = [folder / "table.csv"]
    write_table(paths[0], names, zip(*(results[column] for column in names)))
    curves = [curve for curve in CURVES[name] if any(value is not None for value in results.get(curve[0]) or ())]
    if curves:
        paths.append(folder / "curve.png")
        _draw(paths[-1], results, curves)
    if name == "sample":
        paths.append(folder / "samples.png")
        _draw_samples(paths[-1], parts, results)
    return paths


def _draw(path, results, curves):
    """Draw each result over the checkpoints' numbers, with its standard errors, one panel for each."""
    from matplotlib.figure import Figure

    from common.images.figures import save_figure

    figure = Figure(figsize=(max(6.0, 3.6 * len(curves)), 3.6), dpi=130, layout="constrained")
    for place, (column, error, label) in enumerate(curves, 1):
        axes = figure.add_subplot(1, len(curves), place)
        known = [row for row, value in enumerate(results[column]) if value is not None]
        errors = None if error is None else [results[error][row] or 0 for row in known]
        axes.errorbar([results["checkpoint_idx"][row] for row in known], [results[column][row] for row in known],
                      errors, marker="o", capsize=3)
        axes.set(xlabel="checkpoint", ylabel=label)
        if len(known) <= 12:
            axes.set_xticks(results["checkpoint_idx"])
        axes.grid(alpha=0.25)
    save_figure(path, figure)


def _draw_samples(path, parts, results):
    """Write a grid of the first samples, the same images in each row, a row for each checkpoint in order."""
    import numpy as np

    from common.files import read_npz
    from common.images.grids import save_grid, viewing_scale

    rows = []
    for part, count in zip(parts, results["files"]):
        if count:
            folder = WorkDir(part.workdir).sampling(results["method"][0] == "ode") / str(part.division_idx)
            rows.append(read_npz(folder / "samples_0.npz", required=("samples",))["samples"][:SAMPLES_SHOWN])
    least = min(map(len, rows), default=0)
    if least:
        pixels = np.concatenate([row[:least] for row in rows])
        save_grid(path, pixels, columns=least, scale=viewing_scale(pixels.shape[1]))


def _read(folder, numbers):
    """Return the Outcome of the stored table of these checkpoints. Raises InputError when there is none."""
    record = read_record(folder / "run.json") if (folder / "run.json").exists() else {}
    if record.get("status") != "done":
        raise InputError("no stored results", where=folder, do="Compute them first (without --read)")
    if record["results"].get("checkpoint_idx") != numbers:
        raise InputError(f"the stored table is of other checkpoints: {record['results'].get('checkpoint_idx')}",
                         where=folder, do="Ask for these, or compute again (without --read)")
    show_series(record["results"])
    return Outcome(record["results"])


def show_series(results):
    """Print the results of several checkpoints as one table."""
    hidden = ("checkpoint", "checkpoint_idx", "files", "images_per_second", "notes")
    shown = [name for name, values in results.items() if name not in hidden and not name.endswith(("_se", "_stat"))
             and not (isinstance(values[0], str) and len(set(values)) == 1)]  # the same text for all says nothing
    rows = []
    for row, number in enumerate(results["checkpoint_idx"]):
        cells = [(results[name][row], results.get(f"{name}_se")) for name in shown]
        rows.append([number, *(_cell(value, error and error[row]) for value, error in cells)])
    console.show_table(f"{len(rows)} checkpoints", ["checkpoint", *shown], rows)


def _cell(value, error):
    if not isinstance(value, float):
        return "" if value is None else value
    return f"{value:.4g}" + (f" +- {error:.1g}" if error else "")
